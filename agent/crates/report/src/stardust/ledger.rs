//! What the pipeline and the sessions share: figures by process, and the books.
//!
//! Invariant: one short lock and no IO, so that taking a span never waits. A span is in the running period of exactly
//! one process, or its fate is in the books.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use model::{Books, DropReason, Load, Process, Span, SpanKind};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::aggregate::{Aggregate, Builder, Measure};
use super::limits::Limits;
use super::name::{HostNames, name_of};
use super::sample::{Sample, millis, value_of};

/// The name under which the server sees how late requests were read by an event loop.
const LOOP_LAG: &str = "loop:lag";

/// Starts of one process that differ by no more are the same start, measured twice.
const SAME_START_MS: i64 = 2000;

/// A process that reports: given to the task when its first span comes in.
#[derive(Debug, Clone)]
pub(super) struct Newcomer {
    /// Its number in the ledger, never used again.
    pub number: u64,
    /// The process.
    pub process: Arc<Process>,
    /// Cancelled when the process is gone.
    pub gone: CancellationToken,
}

/// Figures and books.
#[derive(Debug)]
pub(super) struct Ledger {
    state: Mutex<State>,
    newcomers: UnboundedSender<Newcomer>,
    max_names: usize,
    skip_not_found: bool,
}

#[derive(Debug, Default)]
struct State {
    seats: HashMap<u64, Seat>,
    by_pid: HashMap<u32, u64>,
    next_number: u64,
    limits: HashMap<String, Limits>,
    books: Books,
    closed: bool,
}

#[derive(Debug)]
struct Seat {
    process: Arc<Process>,
    aggregate: Aggregate,
    host_names: HostNames,
    /// Since it was asked for last.
    load: Option<Load>,
    limits: Limits,
    gone: CancellationToken,
}

impl Ledger {
    /// Nothing yet. Processes are announced to `newcomers`; each may have `max_names` names in a period.
    pub(super) fn new(newcomers: UnboundedSender<Newcomer>, max_names: usize, skip_not_found: bool) -> Self {
        Self { state: Mutex::default(), newcomers, max_names, skip_not_found }
    }

    /// Counts `span` and keeps it as a sample if it is to be one.
    pub(super) fn record(&self, span: &Span) {
        let name = name_of(span);
        let measure = Measure {
            start_ms: millis(span.start_unix_ns),
            end_ms: millis(span.end_unix_ns()),
            value: value_of(span),
            error: span.fault.is_some(),
            force: span.head_sampled,
            sampled: span.sampled,
        };
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.books.seen += 1;
        if state.closed {
            state.books.drop_spans(DropReason::Expired, 1);
            return;
        }
        if self.skip_not_found && span.kind == SpanKind::Server && span.status == Some(404) {
            state.books.drop_spans(DropReason::Disabled, 1);
            return;
        }
        let number = self.seat_of(state, &span.process);
        let Some(Seat { aggregate, host_names, limits, .. }) = state.seats.get_mut(&number) else { return };
        let name: Cow<'_, str> = host_names.admit(name);
        if !aggregate.record(&name, &measure, limits, || Sample::new(span, limits)) {
            // The official client leaves out what took more than an hour, for the server cannot show it.
            state.books.drop_spans(DropReason::Rejected, 1);
        }
    }

    /// The seat of `process`, a new one if it has none.
    fn seat_of(&self, state: &mut State, process: &Arc<Process>) -> u64 {
        if let Some(number) = state.by_pid.get(&process.pid)
            && let Some(seat) = state.seats.get(number)
            && is_same(&seat.process, process)
        {
            return *number;
        }
        state.leave(process.pid);
        let number = state.next_number;
        state.next_number += 1;
        let gone = CancellationToken::new();
        let seat = Seat {
            process: Arc::clone(process),
            aggregate: Aggregate::new(now_ms(), self.max_names),
            host_names: HostNames::default(),
            load: None,
            limits: state.limits.get(&process.app_id).copied().unwrap_or_default(),
            gone: gone.clone(),
        };
        state.seats.insert(number, seat);
        state.by_pid.insert(process.pid, number);
        // Without a task the ledger is closed, or about to be, and then settles what is left.
        let _ = self.newcomers.send(Newcomer { number, process: Arc::clone(process), gone });
        number
    }

    /// What `process` is may have changed.
    pub(super) fn update(&self, process: &Arc<Process>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(seat) = state.by_pid.get(&process.pid).and_then(|number| state.seats.get_mut(number)) else {
            return;
        };
        if is_same(&seat.process, process) {
            seat.process = Arc::clone(process);
        } else {
            state.leave(process.pid);
        }
    }

    /// How busy a process was that has had spans.
    pub(super) fn load(&self, process: &Arc<Process>, load: &Load) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(seat) = state.by_pid.get(&process.pid).and_then(|number| state.seats.get_mut(number)) else {
            return;
        };
        if is_same(&seat.process, process) {
            seat.load.get_or_insert_default().add(load);
            if let Some(lag_ns) = load.loop_lag_ns {
                seat.aggregate.figure(LOOP_LAG, (lag_ns / 1_000_000).cast_signed(), now_ms());
            }
        }
    }

    /// How busy the process was since this was asked last.
    pub(super) fn take_load(&self, number: u64) -> Option<Load> {
        self.state.lock().seats.get_mut(&number)?.load.take()
    }

    /// The process `pid` is gone; spans of its last moments may still come.
    pub(super) fn exited(&self, pid: u32) {
        let state = self.state.lock();
        if let Some(seat) = state.by_pid.get(&pid).and_then(|number| state.seats.get(number)) {
            seat.gone.cancel();
        }
    }

    /// The process with this number, as last known.
    pub(super) fn process(&self, number: u64) -> Option<Arc<Process>> {
        self.state.lock().seats.get(&number).map(|seat| Arc::clone(&seat.process))
    }

    /// Ends a period: its figures.
    pub(super) fn take(&self, number: u64) -> Vec<Builder> {
        let now_ms = now_ms();
        self.state.lock().seats.get_mut(&number).map_or_else(Vec::new, |seat| seat.aggregate.take(now_ms))
    }

    /// Ends the last period and takes the process off the ledger.
    pub(super) fn remove(&self, number: u64) -> Vec<Builder> {
        let mut state = self.state.lock();
        let Some(mut seat) = state.seats.remove(&number) else { return Vec::new() };
        if state.by_pid.get(&seat.process.pid) == Some(&number) {
            state.by_pid.remove(&seat.process.pid);
        }
        seat.aggregate.take(now_ms())
    }

    /// The limits that hold for `app_id`.
    pub(super) fn limits(&self, app_id: &str) -> Limits {
        self.state.lock().limits.get(app_id).copied().unwrap_or_default()
    }

    /// From now on `limits` hold for `app_id`.
    pub(super) fn set_limits(&self, app_id: &str, limits: Limits) {
        let mut state = self.state.lock();
        for seat in state.seats.values_mut().filter(|seat| seat.process.app_id == app_id) {
            seat.limits = limits;
        }
        state.limits.insert(app_id.to_owned(), limits);
    }

    /// `spans` were accepted by the server.
    pub(super) fn accepted(&self, spans: u64) {
        self.state.lock().books.reported += spans;
    }

    /// `spans` will not be reported.
    pub(super) fn dropped(&self, reason: DropReason, spans: u64) {
        self.state.lock().books.drop_spans(reason, spans);
    }

    /// Nobody reports any more: whatever is left, and whatever comes, has come too late.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.seats.clear();
        state.by_pid.clear();
        let left = state.books.in_flight();
        state.books.drop_spans(DropReason::Expired, left);
    }

    /// What became of the spans.
    pub(super) fn books(&self) -> Books {
        self.state.lock().books.clone()
    }
}

impl State {
    /// The seat of `pid` takes no more spans; its session reports the rest.
    fn leave(&mut self, pid: u32) {
        if let Some(seat) = self.by_pid.remove(&pid).and_then(|number| self.seats.get(&number)) {
            seat.gone.cancel();
        }
    }
}

fn is_same(a: &Arc<Process>, b: &Arc<Process>) -> bool {
    Arc::ptr_eq(a, b) || (a.app_id == b.app_id && (a.start_unix_ms - b.start_unix_ms).abs() <= SAME_START_MS)
}

/// Unix milliseconds.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests;
