//! Where the time of a request that is served goes: into calls that it makes, onto the CPU, elsewhere.
//!
//! Invariants: the parts do not overlap, so that together they never exceed the whole; what is not certain is not said;
//! memory for one request is bounded however many calls it makes.

mod collections;
mod readers;
mod stretches;

use std::collections::BTreeMap;

use model::{Load, ParentKind, Span, SpanId};
use rustc_hash::FxHashMap;

use crate::place::{Thread, UNKNOWN_PARENT};
use collections::Collections;
use readers::Readers;
use stretches::{Stretches, Within};

/// Attributes of a server's span.
const CALLS: &str = "stardust_probe.time.calls_us";
const CALLS_INCOMPLETE: &str = "stardust_probe.time.calls_incomplete";
const CPU: &str = "stardust_probe.time.cpu_us";
const REST: &str = "stardust_probe.time.rest_us";
const COLLECTIONS: &str = "stardust_probe.time.gc_us";

/// Most calls of one request that are open at once and counted.
const MAX_OPEN: usize = 256;
/// Most calls of one process that may wait to know their request.
const MAX_UNCLAIMED: usize = 16_384;

/// A moment, and how long the thread that acted then had run, if that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at_ns: u64,
    /// The thread, and its CPU time, which counts from anywhere and may wrap.
    pub(crate) ran: Option<(u32, u64)>,
}

/// The requests that are being served.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    requests: FxHashMap<SpanId, Request>,
    readers: Readers,
    unclaimed: FxHashMap<u32, Unclaimed>,
    collections: Collections,
    /// What is in hand.
    now: Moment,
}

#[derive(Debug)]
struct Request {
    reader: (u32, u32),
    begin: Moment,
    /// Its number among those that the reader has read; 0: another one was open.
    number: u64,
    /// Calls under way, and when each began.
    open: Vec<(SpanId, Moment)>,
    calls: Stretches,
    /// Some calls could not be kept.
    overflowed: bool,
}

/// Calls of a process that may belong to any of its requests.
#[derive(Debug, Default)]
struct Unclaimed {
    /// When the last one began of which it will never be known.
    unknown_ns: u64,
    /// Start and id of those of which it may become known, where each began, and its end.
    waiting: BTreeMap<(u64, u64), (Moment, Option<Moment>)>,
}

impl Moment {
    /// When a thread made a call.
    pub(crate) fn of(thread: Thread, at_ns: u64) -> Self {
        Self { at_ns, ran: thread.timing.ran_ns.map(|ran_ns| (thread.tid, ran_ns)) }
    }

    /// How long the thread of both has run in between. The clocks that this is taken from may differ by a little.
    fn ran_until(self, later: Self) -> Option<u64> {
        let ((tid, before_ns), (later_tid, after_ns)) = (self.ran?, later.ran?);
        let ran_ns = after_ns.wrapping_sub(before_ns).cast_signed().max(0).unsigned_abs();
        (tid == later_tid).then(|| ran_ns.min(later.at_ns.saturating_sub(self.at_ns)))
    }
}

impl Budgets {
    /// A thread has moved bytes: what ends with them ends now.
    pub(crate) fn take_in_hand(&mut self, thread: Thread, at_ns: u64) {
        self.now = Moment::of(thread, at_ns);
        self.readers.moves(thread, self.now);
    }

    /// A request has begun.
    pub(crate) fn begin(&mut self, thread: Thread, span: &Span) {
        let begin = Moment::of(thread, span.start_ns);
        let request = Request {
            reader: (thread.pid, thread.tid),
            begin,
            number: self.readers.begin(thread, begin),
            open: Vec::new(),
            calls: Stretches::default(),
            overflowed: false,
        };
        self.requests.insert(span.span_id, request);
    }

    /// A call has begun.
    pub(crate) fn call(&mut self, pid: u32, begin: Moment, call: &Span, waits: bool) {
        match request_of(call) {
            Some(request) => {
                let Some(request) = self.requests.get_mut(&request) else { return };
                if request.open.len() < MAX_OPEN {
                    request.open.push((call.span_id, begin));
                } else {
                    request.overflowed = true;
                }
            }
            None if waits => {
                let unclaimed = self.unclaimed.entry(pid).or_default();
                if unclaimed.waiting.len() < MAX_UNCLAIMED {
                    unclaimed.waiting.insert((call.start_ns, call.span_id.0), (begin, None));
                } else {
                    unclaimed.unknown_ns = unclaimed.unknown_ns.max(call.start_ns);
                }
            }
            None if call.attribute(UNKNOWN_PARENT).is_some() => self.is_unknown(pid, call.start_ns),
            None => {}
        }
    }

    /// A call is over.
    pub(crate) fn call_ends(&mut self, pid: u32, call: &Span, end_ns: u64) {
        let end = self.moment(end_ns);
        if let Some(request) = request_of(call) {
            if let Some(request) = self.requests.get_mut(&request)
                && let Some(at) = request.open.iter().position(|(open, _)| *open == call.span_id)
            {
                let (_, begin) = request.open.swap_remove(at);
                request.calls.add(begin, end);
            }
        } else if let Some(unclaimed) = self.unclaimed.get_mut(&pid)
            && let Some((_, over)) = unclaimed.waiting.get_mut(&(call.start_ns, call.span_id.0))
        {
            *over = Some(end);
        }
    }

    /// A call has been made of which only its span is known.
    pub(crate) fn past_call(&mut self, call: &Span, waits: bool) {
        let pid = call.process.pid;
        self.call(pid, Moment { at_ns: call.start_ns, ran: None }, call, waits);
        self.call_ends(pid, call, call.start_ns.saturating_add(call.duration_ns));
    }

    /// The request of a call that waited has become known, or that it will not be.
    pub(crate) fn settle(&mut self, call: &Span, request: Option<SpanId>) {
        let Some(unclaimed) = self.unclaimed.get_mut(&call.process.pid) else { return };
        let waited = unclaimed.waiting.remove(&(call.start_ns, call.span_id.0));
        match (request, waited) {
            (Some(request), Some((begin, Some(end)))) => {
                if let Some(request) = self.requests.get_mut(&request) {
                    request.calls.add(begin, end);
                }
            }
            (Some(_), _) => {}
            (None, _) => unclaimed.unknown_ns = unclaimed.unknown_ns.max(call.start_ns),
        }
    }

    /// A call turns out not to be certain to belong to the request that it was given to.
    pub(crate) fn disown(&mut self, pid: u32, call: &Span) {
        if let Some(request) = request_of(call).and_then(|request| self.requests.get_mut(&request)) {
            request.open.retain(|(open, _)| *open != call.span_id);
        }
        if let Some(unclaimed) = self.unclaimed.get_mut(&pid) {
            unclaimed.waiting.remove(&(call.start_ns, call.span_id.0));
        }
        self.is_unknown(pid, call.start_ns);
    }

    /// A request is over: says on its span where its time went. What it still waits for then counts up to its end.
    pub(crate) fn end(&mut self, span: &mut Span, end_ns: u64) {
        let Some(mut request) = self.requests.remove(&span.span_id) else { return };
        let end = self.moment(end_ns);
        let is_alone = self.readers.end(request.reader, request.number, end_ns);
        for (_, begin) in std::mem::take(&mut request.open) {
            request.calls.add(begin, end);
        }
        let incomplete = request.overflowed || self.may_lack_calls(request.reader.0, request.begin.at_ns);
        let Within { all_ns: calls_ns, ran_ns: ran_in_calls_ns } = request.calls.within(request.begin, end);
        if !incomplete || calls_ns > 0 {
            span.set(CALLS, calls_ns / 1000);
        }
        if incomplete {
            span.set(CALLS_INCOMPLETE, true);
        }
        if let Some(collected_ns) = self.collections.within(request.reader.0, request.begin.at_ns, end_ns) {
            span.set(COLLECTIONS, collected_ns / 1000);
        }
        let ran_ns = request.begin.ran_until(end).filter(|_| is_alone);
        if let (Some(ran_ns), Some(in_calls_ns)) = (ran_ns, ran_in_calls_ns) {
            let other_ns = end_ns.saturating_sub(request.begin.at_ns).saturating_sub(calls_ns);
            let cpu_ns = ran_ns.saturating_sub(in_calls_ns).min(other_ns);
            span.set(CPU, cpu_ns / 1000);
            if !incomplete {
                span.set(REST, (other_ns - cpu_ns) / 1000);
            }
        }
    }

    /// A process is gone.
    pub(crate) fn exit(&mut self, pid: u32) {
        self.readers.exit(pid);
        self.unclaimed.remove(&pid);
        self.collections.see(pid, None);
    }

    /// A process has collected garbage in this time.
    pub(crate) fn collected(&mut self, pid: u32, time: (u64, u64), number: u64) {
        self.collections.add(pid, time, number);
    }

    /// Collections of a process are told from some time on, or not any more.
    pub(crate) fn see_collections(&mut self, pid: u32, since_ns: Option<u64>) {
        self.collections.see(pid, since_ns);
    }

    /// How busy each process was since this was told last: now and then, or what is left.
    pub(crate) fn loads(&mut self, now_ns: u64, is_last: bool) -> Vec<Load> {
        self.readers.loads(now_ns, is_last)
    }

    /// Whether calls of the process that began since then may belong to any of its requests.
    fn may_lack_calls(&self, pid: u32, since_ns: u64) -> bool {
        self.unclaimed.get(&pid).is_some_and(|unclaimed| {
            unclaimed.unknown_ns >= since_ns || unclaimed.waiting.range((since_ns, 0)..).next().is_some()
        })
    }

    fn is_unknown(&mut self, pid: u32, start_ns: u64) {
        let unclaimed = self.unclaimed.entry(pid).or_default();
        unclaimed.unknown_ns = unclaimed.unknown_ns.max(start_ns);
    }

    fn moment(&self, at_ns: u64) -> Moment {
        if self.now.at_ns == at_ns { self.now } else { Moment { at_ns, ran: None } }
    }
}

/// The request that a call is known to belong to.
fn request_of(call: &Span) -> Option<SpanId> {
    let parent = call.parent.as_ref()?;
    matches!(parent.kind, ParentKind::Thread | ParentKind::Context)
        .then(|| u64::from_str_radix(&parent.span_id, 16).ok().map(SpanId))?
}
