//! Spans on the terminal: a live table for people, or JSON lines for programs, and a summary at the end.
//!
//! Invariants: a slow or stuck reader never makes the pipeline wait, only this exporter's own thread; what is counted
//! in the summary does not depend on what was printed; stdout holds nothing but what this module writes.

mod histogram;
mod json_line;
mod json_object;
mod loads;
mod queue;
mod summary;
mod table;
mod text;
mod writer;

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use model::{Books, Load, Process, Span};

use crate::Exporter;
use queue::Queue;
use writer::Writer;

pub use json_line::SCHEMA;

/// How spans look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A live table; the summary follows in the same place.
    Table,
    /// One JSON object a line, as `docs/spans.md` says; the summary goes elsewhere.
    Json,
}

/// What the user decides, and what the terminal is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How spans look.
    pub format: Format,
    /// Whether the table has colours.
    pub color: bool,
    /// The terminal's width in columns, asked again now and then: it may change.
    pub columns: fn() -> u16,
    /// The zone of the times in the table.
    pub time_zone: jiff::tz::TimeZone,
    /// How many spans may wait to be written; the rest are dropped and counted.
    pub queue_spans: usize,
}

/// Where to write.
pub struct Outputs {
    /// Spans, and in table format the summary.
    pub spans: Box<dyn Write + Send>,
    /// The summary in JSON format.
    pub summary: Box<dyn Write + Send>,
}

/// The exporter.
pub struct Console {
    queue: Arc<Queue>,
}

/// The thread behind a [`Console`], to be closed.
#[derive(Debug)]
pub struct Task {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl Settings {
    /// Settings with a queue of 65,536 spans, without colours, times in the system's zone.
    pub fn new(format: Format, columns: fn() -> u16) -> Self {
        Self { format, color: false, columns, time_zone: jiff::tz::TimeZone::system(), queue_spans: 65_536 }
    }
}

/// Starts the writing thread. Fails only if there can be no further thread.
pub fn open(settings: Settings, outputs: Outputs) -> io::Result<(Arc<Console>, Task)> {
    let queue = Arc::new(Queue::new(settings.queue_spans));
    let writer = Writer::new(settings, outputs, Arc::clone(&queue));
    let thread = thread::Builder::new().name("console".into()).spawn(move || writer.run())?;
    Ok((Arc::new(Console { queue: Arc::clone(&queue) }), Task { queue, thread }))
}

impl Console {
    /// Whether the reader of the spans is gone (`| head`): nothing more can be written, so that the probe may stop.
    pub fn output_closed(&self) -> bool {
        self.queue.output_closed()
    }

    /// Until the reader of the spans is gone. One caller waits at a time.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Why the spans cannot be written any more, if it is not that their reader has left: a full disk, most likely.
    pub fn failure(&self) -> Option<String> {
        self.queue.failure()
    }
}

impl Exporter for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn record(&self, span: &Arc<Span>) {
        self.queue.record(span);
    }

    fn flush(&self) {
        self.queue.flush();
    }

    fn process_started(&self, _process: &Arc<Process>) {}

    fn process_load(&self, process: &Arc<Process>, load: &Load) {
        self.queue.load(process, load);
    }

    fn process_exited(&self, _pid: u32) {}

    fn books(&self) -> Books {
        self.queue.books()
    }
}

impl Task {
    /// Writes what waits and the summary, for at most `timeout`; whether all of it was written in time.
    /// What was not is counted as [`Expired`](model::DropReason::Expired), and its thread is left behind.
    pub fn close(self, timeout: Duration) -> bool {
        let written = self.queue.close(Instant::now() + timeout);
        if written && self.thread.join().is_err() {
            tracing::error!("the console's thread has panicked");
        }
        written
    }
}

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;
