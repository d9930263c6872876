//! Whether anything is going on, so that an idle probe may sleep.

use crate::pipeline::{Intake, Pipeline};

/// After this long without a record the thread sleeps until the next one.
const IDLE_AFTER_NS: u64 = 200_000_000;

/// Whether anything is going on.
#[derive(Default)]
pub(super) struct Activity {
    records: u64,
    last_ns: u64,
    now_ns: u64,
    is_waiting: bool,
    was_idle: bool,
}

impl Activity {
    /// Whether something came since the last note.
    pub(super) fn has_news(&self, pipeline: &Pipeline) -> bool {
        self.records != records_that_stir(pipeline)
    }

    pub(super) fn note(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        if self.has_news(pipeline) || self.last_ns == 0 {
            self.last_ns = now_ns;
            self.was_idle = false;
        }
        self.records = records_that_stir(pipeline);
        self.now_ns = now_ns;
        self.is_waiting = pipeline.tracer().unclosed().next().is_some();
    }

    /// Nothing came for a while, and nothing has to be looked after.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_waiting && self.now_ns - self.last_ns > IDLE_AFTER_NS
    }

    /// Whether this is the first time since the last record.
    pub(super) fn falls_idle(&mut self) -> bool {
        !std::mem::replace(&mut self.was_idle, true)
    }
}

/// Copies of contexts are of no interest by themselves.
fn records_that_stir(pipeline: &Pipeline) -> u64 {
    let Intake { records, copies, .. } = pipeline.intake();
    records - copies
}
