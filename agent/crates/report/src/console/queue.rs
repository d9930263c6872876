//! Between the pipeline and the writing thread: a bounded queue, the summary and the books.
//!
//! Invariant: `record` holds the lock for a push and a count only, and never waits for the writer's output.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use model::{Books, DropReason, Load, Process, Span};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::summary::Summary;

/// So many are written before the queue is flushed.
const BATCH_SPANS: usize = 2048;

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    to_writer: Condvar,
    to_closer: Condvar,
    /// Outside the lock, so that it can be polled.
    output_closed: AtomicBool,
    to_owner: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Arc<Span>>,
    /// What waits is to be written.
    is_due: bool,
    summary: Summary,
    books: Books,
    phase: Phase,
    /// Why the output cannot be written, if it is not that its reader has left.
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Write the rest, then the summary.
    Closing,
    /// All is written.
    Finished,
    /// Nobody waits for the writer any more, and the books are settled.
    Abandoned,
}

/// What the writer has to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Write these.
    Spans(Vec<Arc<Span>>),
    /// There will be no more.
    Summary(Summary, Books),
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            to_writer: Condvar::new(),
            to_closer: Condvar::new(),
            output_closed: AtomicBool::new(false),
            to_owner: Notify::new(),
            capacity,
        }
    }

    pub(super) fn output_closed(&self) -> bool {
        self.output_closed.load(Ordering::Relaxed)
    }

    /// Until the output takes no more. One caller waits at a time.
    pub(super) async fn closed(&self) {
        while !self.output_closed() {
            self.to_owner.notified().await;
        }
    }

    fn take_no_more(&self) {
        self.output_closed.store(true, Ordering::Relaxed);
        self.to_owner.notify_one();
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }

    pub(super) fn books(&self) -> Books {
        self.state.lock().books.clone()
    }

    pub(super) fn record(&self, span: &Arc<Span>) {
        let mut state = self.state.lock();
        state.books.seen += 1;
        state.summary.count(span);
        if !span.sampled {
            state.books.sampled_out += 1;
        } else if state.phase != Phase::Open || self.output_closed() {
            state.books.drop_spans(DropReason::OutputClosed, 1);
        } else if state.waiting.len() >= self.capacity {
            state.books.drop_spans(DropReason::QueueFull, 1);
        } else {
            state.waiting.push(Arc::clone(span));
            if state.waiting.len() == BATCH_SPANS.min(self.capacity) {
                state.is_due = true;
                self.to_writer.notify_one();
            }
        }
    }

    /// Has the writer write what waits: once for many spans, as waking it costs as much as one.
    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() && !std::mem::replace(&mut state.is_due, true) {
            self.to_writer.notify_one();
        }
    }

    pub(super) fn load(&self, process: &Process, load: &Load) {
        self.state.lock().summary.load(process, load);
    }

    /// Waits for work. `spare`: an empty list to fill next.
    pub(super) fn next(&self, spare: Vec<Arc<Span>>) -> Work {
        let mut state = self.state.lock();
        while (!state.is_due || state.waiting.is_empty()) && state.phase == Phase::Open {
            self.to_writer.wait(&mut state);
        }
        state.is_due = false;
        if state.waiting.is_empty() {
            return Work::Summary(std::mem::take(&mut state.summary), state.books.clone());
        }
        Work::Spans(std::mem::replace(&mut state.waiting, spare))
    }

    /// `written` spans went out, `lost` did not because the reader is gone.
    pub(super) fn settle(&self, written: usize, lost: usize) {
        let mut state = self.state.lock();
        if lost > 0 {
            self.take_no_more();
        }
        if state.phase == Phase::Abandoned {
            return;
        }
        state.books.reported += written as u64;
        let lost = lost + if self.output_closed() { state.waiting.drain(..).count() } else { 0 };
        state.books.drop_spans(DropReason::OutputClosed, lost as u64);
    }

    /// The output takes no more. That its reader has left is the reader's choice; anything else is a failure.
    pub(super) fn close_output(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.state.lock().failure.get_or_insert_with(|| error.to_string());
        }
        self.take_no_more();
        self.settle(0, 0);
    }

    /// Nobody waits for what is still to be written.
    pub(super) fn abandoned(&self) -> bool {
        self.state.lock().phase == Phase::Abandoned
    }

    pub(super) fn finish(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Closing {
            state.phase = Phase::Finished;
        }
        self.to_closer.notify_all();
    }

    /// Lets the writer finish until `deadline`; whether it did.
    pub(super) fn close(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        state.phase = Phase::Closing;
        self.to_writer.notify_one();
        while state.phase == Phase::Closing {
            if self.to_closer.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        if state.phase == Phase::Finished {
            return true;
        }
        state.phase = Phase::Abandoned;
        state.waiting = Vec::new();
        let lost = state.books.in_flight();
        state.books.drop_spans(DropReason::Expired, lost);
        false
    }
}
