//! Batches that wait for the server.
//!
//! Invariant: what waits has no samples and is bounded in batches and, over all processes, in names. What is dropped is
//! handed back with its reason.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::aggregate::Builder;
use super::settings::Settings;
use super::text::matches_wildcard;

/// The server keeps data for three days and drops what is older.
const KEPT_MS: i64 = 3 * 24 * 3_600_000;
/// The server takes 30 MB; escaping may swell a text sixfold.
const BATCH_BYTES: usize = 4 << 20;

/// Figures that go out in one report.
#[derive(Debug)]
pub(super) struct Batch {
    /// When the period ended, Unix milliseconds.
    pub taken_ms: i64,
    /// Name by name.
    pub builders: Vec<Builder>,
}

/// The names waiting in all outboxes, against their limit.
#[derive(Debug, Clone)]
pub(super) struct Room {
    used: Arc<AtomicUsize>,
    max: usize,
}

/// The waiting batches of one process, oldest first.
#[derive(Debug)]
pub(super) struct Outbox {
    batches: VecDeque<Batch>,
    max_batches: usize,
    room: Room,
    failures: u32,
    retry_at: Option<Instant>,
    retry_step: Duration,
    retry_max: Duration,
}

impl Batch {
    /// `builders` in as many batches as the server's limit on bodies asks for; at least one.
    pub(super) fn split(builders: Vec<Builder>, taken_ms: i64) -> Vec<Self> {
        let mut batches = vec![Self { taken_ms, builders: Vec::new() }];
        let mut bytes = 0;
        for builder in builders {
            let size = builder.size_bytes();
            if bytes > 0 && bytes + size > BATCH_BYTES {
                batches.push(Self { taken_ms, builders: Vec::new() });
                bytes = 0;
            }
            bytes += size;
            if let Some(last) = batches.last_mut() {
                last.builders.push(builder);
            }
        }
        batches
    }

    /// Spans counted in it.
    pub(super) fn spans(&self) -> u64 {
        self.builders.iter().map(Builder::spans).sum()
    }

    /// Takes out names that match one of `excludes` and gives the number of their spans.
    pub(super) fn exclude(&mut self, excludes: &[String]) -> u64 {
        if excludes.is_empty() {
            return 0;
        }
        let before = self.spans();
        self.builders
            .retain(|builder| !excludes.iter().any(|pattern| matches_wildcard(pattern, &builder.name)));
        before - self.spans()
    }

    fn stripped(self) -> Self {
        let mut builders: Vec<Builder> = self.builders.into_iter().map(Builder::stripped).collect();
        builders.shrink_to_fit();
        Self { builders, ..self }
    }
}

impl Room {
    /// Room for `max` names.
    pub(super) fn new(max: usize) -> Self {
        Self { used: Arc::default(), max }
    }

    fn enter(&self, names: usize) -> bool {
        let fits = |used: usize| used.checked_add(names).filter(|&sum| sum <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn leave(&self, names: usize) {
        self.used.fetch_sub(names, Ordering::Relaxed);
    }
}

impl Outbox {
    /// Empty.
    pub(super) fn new(settings: &Settings, room: Room) -> Self {
        Self {
            batches: VecDeque::new(),
            max_batches: settings.queue_batches,
            room,
            failures: 0,
            retry_at: None,
            retry_step: settings.timing.retry_step,
            retry_max: settings.timing.retry_max,
        }
    }

    /// Keeps `batch` without its samples. When there is no room, gives the number of its spans, which are lost: what
    /// came first stays, as with the official client.
    pub(super) fn push(&mut self, batch: Batch) -> Result<(), u64> {
        let spans = batch.spans();
        if spans == 0 {
            return Ok(());
        }
        if self.batches.len() >= self.max_batches || !self.room.enter(batch.builders.len()) {
            return Err(spans);
        }
        self.batches.push_back(batch.stripped());
        Ok(())
    }

    /// The oldest batch, out of the box.
    pub(super) fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.room.leave(batch.builders.len());
        Some(batch)
    }

    /// Puts `batch` back where [`Outbox::pop`] took it from. Its room may be gone: then as with [`Outbox::push`].
    pub(super) fn put_back(&mut self, batch: Batch) -> Result<(), u64> {
        if !self.room.enter(batch.builders.len()) {
            return Err(batch.spans());
        }
        self.batches.push_front(batch);
        Ok(())
    }

    /// Drops what the server would not keep at `now_ms` and gives the number of spans.
    pub(super) fn expire(&mut self, now_ms: i64) -> u64 {
        let mut spans = 0;
        while self.batches.front().is_some_and(|batch| batch.taken_ms < now_ms - KEPT_MS) {
            spans += self.pop().map_or(0, |batch| batch.spans());
        }
        spans
    }

    /// The server is away: the next try comes later each time.
    pub(super) fn back_off(&mut self, now: Instant) {
        let wait = self.retry_step.saturating_mul(1 << self.failures.min(10)).min(self.retry_max);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    /// The server is there.
    pub(super) fn recovered(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    /// When to try again. `None`: at once.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests;
