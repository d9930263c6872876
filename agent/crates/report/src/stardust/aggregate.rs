//! Spans into counts and samples, name by name: the official client's algorithm (`NewLife.Core`'s `DefaultTracer` and
//! `DefaultSpanBuilder`).
//!
//! Invariant: every span that is taken is counted exactly once; only what is kept as a sample depends on limits. Names
//! and bytes of samples in one period are bounded.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::limits::Limits;
use super::sample::Sample;

/// Longer calls are left out, as the official client does.
const MAX_COST_MS: i64 = 3_600_000;
/// What the samples of one process and period may take.
const KEPT_BYTES: usize = 4 << 20;
/// Flagged and slow calls are kept up to this many times the limit.
const FORCED: i32 = 10;

/// The figures of one name in one period, in the server's own terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Builder {
    /// The name.
    pub name: Arc<str>,
    start_time: i64,
    end_time: i64,
    /// Spans, errors included.
    pub total: i32,
    errors: i32,
    cost: i64,
    max_cost: i32,
    min_cost: i32,
    value: i64,
    samples: Vec<Sample>,
    error_samples: Vec<Sample>,
    /// It counts no spans.
    #[serde(skip)]
    is_figure: bool,
}

/// What counts of a span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    /// Start, Unix milliseconds.
    pub start_ms: i64,
    /// End, Unix milliseconds.
    pub end_ms: i64,
    /// Bytes.
    pub value: i64,
    /// It failed.
    pub error: bool,
    /// Its trace is flagged for keeping.
    pub force: bool,
    /// The sampling rules let it be a sample.
    pub sampled: bool,
}

/// The figures of one process in the running period.
#[derive(Debug)]
pub(super) struct Aggregate {
    builders: HashMap<Arc<str>, Builder>,
    started_ms: i64,
    kept_bytes: usize,
    max_names: usize,
}

impl Aggregate {
    /// Nothing counted, at `now_ms`. Names beyond `max_names` in a period are counted under one.
    pub(super) fn new(now_ms: i64, max_names: usize) -> Self {
        Self { builders: HashMap::new(), started_ms: now_ms, kept_bytes: 0, max_names }
    }

    /// Counts a span under `name` and keeps what `sample` makes of it, if it is to be kept. False if the span took too
    /// long to be counted.
    pub(super) fn record(
        &mut self,
        name: &str,
        measure: &Measure,
        limits: &Limits,
        sample: impl FnOnce() -> Sample,
    ) -> bool {
        let cost_ms = measure.end_ms.saturating_sub(measure.start_ms).max(0);
        if cost_ms > MAX_COST_MS {
            return false;
        }
        // The period it ends in counts it, and with it the server's five minutes.
        let start_ms = measure.start_ms.max(self.started_ms).min(measure.end_ms.max(self.started_ms));
        let name = if self.builders.len() < self.max_names || self.builders.contains_key(name) {
            name
        } else {
            overflow(name)
        };
        if !self.builders.contains_key(name) {
            let name: Arc<str> = name.into();
            self.builders.insert(Arc::clone(&name), Builder::new(name, start_ms));
        }
        let Some(builder) = self.builders.get_mut(name) else { return false };
        builder.count(cost_ms, measure);
        let room = self.kept_bytes < KEPT_BYTES;
        if measure.sampled && room && builder.wants(cost_ms, measure, limits) {
            let sample = sample();
            self.kept_bytes += sample.size_bytes();
            let kept = if measure.error { &mut builder.error_samples } else { &mut builder.samples };
            kept.push(sample);
        }
        true
    }

    /// A figure of the process, in milliseconds, that the server is to show as it shows durations.
    pub(super) fn figure(&mut self, name: &str, ms: i64, now_ms: i64) {
        let measure = Measure {
            start_ms: now_ms,
            end_ms: now_ms,
            value: 0,
            error: false,
            force: false,
            sampled: false,
        };
        if !self.builders.contains_key(name) {
            let name: Arc<str> = name.into();
            let builder = Builder { is_figure: true, ..Builder::new(Arc::clone(&name), self.started_ms) };
            self.builders.insert(name, builder);
        }
        if let Some(builder) = self.builders.get_mut(name) {
            builder.count(ms, &measure);
        }
    }

    /// Ends the period at `now_ms`: its figures, by name. A new one begins.
    pub(super) fn take(&mut self, now_ms: i64) -> Vec<Builder> {
        let mut builders: Vec<Builder> = std::mem::take(&mut self.builders).into_values().collect();
        for builder in &mut builders {
            builder.end_time = now_ms.max(builder.start_time);
        }
        builders.sort_by(|a, b| a.name.cmp(&b.name));
        self.started_ms = now_ms;
        self.kept_bytes = 0;
        builders
    }
}

impl Builder {
    fn new(name: Arc<str>, start_time: i64) -> Self {
        Self {
            name,
            start_time,
            end_time: start_time,
            total: 0,
            errors: 0,
            cost: 0,
            max_cost: 0,
            min_cost: -1,
            value: 0,
            samples: Vec::new(),
            error_samples: Vec::new(),
            is_figure: false,
        }
    }

    /// How many spans it counts.
    pub(super) fn spans(&self) -> u64 {
        if self.is_figure { 0 } else { u64::from(self.total.unsigned_abs()) }
    }

    fn count(&mut self, cost_ms: i64, measure: &Measure) {
        self.total = self.total.saturating_add(1);
        self.errors = self.errors.saturating_add(i32::from(measure.error));
        self.cost = self.cost.saturating_add(cost_ms);
        self.value = self.value.saturating_add(measure.value);
        let cost = cost_ms as i32;
        self.max_cost = self.max_cost.max(cost);
        if self.min_cost < 0 || cost < self.min_cost {
            self.min_cost = cost;
        }
    }

    /// Whether the span just counted is kept.
    fn wants(&self, cost_ms: i64, measure: &Measure, limits: &Limits) -> bool {
        let (count, max) =
            if measure.error { (self.errors, limits.max_errors) } else { (self.total, limits.max_samples) };
        let slow = !measure.error && limits.timeout_ms > 0 && cost_ms > limits.timeout_ms;
        count <= max || ((measure.force || slow) && count <= max.saturating_mul(FORCED))
    }

    /// Without samples: what is worth waiting for a server that is away.
    pub(super) fn stripped(self) -> Self {
        Self { samples: Vec::new(), error_samples: Vec::new(), ..self }
    }

    /// Roughly what it takes on the wire.
    pub(super) fn size_bytes(&self) -> usize {
        let samples = self.samples.iter().chain(&self.error_samples);
        256 + self.name.len() + samples.map(Sample::size_bytes).sum::<usize>()
    }
}

/// The name for names that are one too many, of the same kind.
fn overflow(name: &str) -> &'static str {
    if name.starts_with('/') {
        "/{rest}"
    } else if name.starts_with("http") {
        "http://{rest}"
    } else {
        "{rest}"
    }
}

#[cfg(test)]
mod tests;
