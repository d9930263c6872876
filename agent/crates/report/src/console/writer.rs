//! The writing thread: spans to text, text to the output.
//!
//! Invariant: an output that fails is closed for good, and every span is settled as written or lost.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use model::{Books, Span};

use super::queue::{Queue, Work};
use super::summary::Summary;
use super::table::Table;
use super::{Format, Outputs, Settings, json_line};

/// How much text is gathered before it is written.
const CHUNK_BYTES: usize = 64 << 10;
/// How long to wait for an output that does not block (`O_NONBLOCK`) and is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// A list that grew past this in a burst is given back.
const MAX_SPARE_SPANS: usize = 4096;

/// The thread's own.
pub(super) struct Writer {
    outputs: Outputs,
    queue: Arc<Queue>,
    columns: fn() -> u16,
    table: Option<Table>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(settings: Settings, outputs: Outputs, queue: Arc<Queue>) -> Self {
        let columns = settings.columns;
        let table =
            (settings.format == Format::Table).then(|| Table::new(settings.color, settings.time_zone));
        Self { outputs, queue, columns, table, buffer: Vec::new() }
    }

    /// Until the queue is closed.
    pub(super) fn run(mut self) {
        self.start();
        let mut spare = Vec::new();
        loop {
            match self.queue.next(spare) {
                Work::Spans(mut spans) => {
                    self.write_spans(&spans);
                    spans.clear();
                    spare = if spans.capacity() > MAX_SPARE_SPANS { Vec::new() } else { spans };
                }
                Work::Summary(summary, books) => {
                    self.write_summary(&summary, &books);
                    break;
                }
            }
        }
        self.queue.finish();
    }

    /// Shows at once that something is running.
    fn start(&mut self) {
        if let Some(table) = &mut self.table {
            table.resize((self.columns)());
            table.header(&mut self.buffer);
            if let Err(error) = write(&mut *self.outputs.spans, &self.buffer, &self.queue) {
                self.queue.close_output(&error);
            }
            self.buffer.clear();
        }
    }

    fn write_spans(&mut self, spans: &[Arc<Span>]) {
        if let Some(table) = &mut self.table {
            table.resize((self.columns)());
        }
        let mut pending = 0;
        for (index, span) in spans.iter().enumerate() {
            match &mut self.table {
                Some(table) => table.row(span, &mut self.buffer),
                None => json_line::push(span, &mut self.buffer),
            }
            pending += 1;
            if self.buffer.len() < CHUNK_BYTES && index + 1 < spans.len() {
                continue;
            }
            let written = write(&mut *self.outputs.spans, &self.buffer, &self.queue);
            self.buffer.clear();
            if let Err(error) = written {
                self.queue.close_output(&error);
                self.queue.settle(0, pending + spans.len() - index - 1);
                return;
            }
            self.queue.settle(pending, 0);
            pending = 0;
        }
    }

    fn write_summary(&mut self, summary: &Summary, books: &Books) {
        let text = summary.text(books, (self.columns)());
        let output = if self.table.is_some() { &mut self.outputs.spans } else { &mut self.outputs.summary };
        // There is nobody left to tell.
        let _ = write(&mut **output, text.as_bytes(), &self.queue);
    }
}

/// Writes and flushes all of `bytes`; gives up when nobody waits for it any more.
fn write(output: &mut dyn Write, bytes: &[u8], queue: &Queue) -> io::Result<()> {
    let mut rest = bytes;
    loop {
        let result = match output.write(rest) {
            Ok(0) if !rest.is_empty() => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                rest = &rest[written..];
                if rest.is_empty() { output.flush() } else { continue }
            }
            Err(error) => Err(error),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock && !queue.abandoned() => {
                thread::sleep(FULL_PAUSE);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
