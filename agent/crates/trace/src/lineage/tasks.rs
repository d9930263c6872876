//! Calls of tasks wait for the response that their task sends.
//!
//! Invariants: a call belongs to a request only if the request was there before the call and its response was sent,
//! after the call, in the context and by the thread that the call was made in; addresses of contexts are used again, and
//! the time in between tells. What waits is bounded in number and time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{Span, SpanId};
use rustc_hash::FxHashMap;

use super::{Serving, UNCLAIMED};
use crate::app::AppIndex;

/// Most calls that wait.
const MAX_WAITING: usize = 16_384;
/// Most contexts of one process that are remembered, and requests of one context.
const MAX_CONTEXTS: usize = 16_384;
const MAX_ANSWERED: usize = 4;
/// How long answers of a process are not trusted, after one has come in a context that was another request's before.
const LATE_NS: u64 = 600_000_000_000;
/// How long a call waits, and how long it is remembered who answered, for calls that end later.
const WAIT_NS: u64 = 60_000_000_000;

const TOO_MANY: &str = "too many calls waited to know their request";
const TOO_LONG: &str = "its request took too long to answer";
const REUSED: &str = "the task that answered in its context may be a later one";
const SHARED: &str = "several requests are answered in the context of the call";

/// A call that is over and whose request is not known yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) span: Span,
    pub(crate) app: AppIndex,
    pub(crate) context: u64,
    /// When it was over.
    pub(crate) end_ns: u64,
}

/// A response that has begun to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The request.
    pub(crate) serving: Serving,
    /// The thread that sends it. A task stays on its loop's: another thread that runs in a context of the same address
    /// runs in another context.
    pub(crate) tid: u32,
    /// The task cannot have worked for the request before.
    pub(crate) from_ns: u64,
    /// When the response's first byte was sent.
    pub(crate) at_ns: u64,
}

/// What became of a call that waited.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) waiting: Waiting,
    /// The request it belongs to, or why that is not known.
    pub(crate) parent: Result<Serving, &'static str>,
}

/// Every process's calls.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    processes: FxHashMap<u32, Family>,
    /// In all processes.
    waiting: usize,
    last_number: u64,
    swept_ns: u64,
}

/// Start and number of a call.
type Call = (u64, u64);

#[derive(Debug, Default)]
struct Family {
    /// Open requests by their start, and the context each is answered in.
    open: BTreeMap<(u64, u64), Option<u64>>,
    contexts: FxHashMap<u64, Context>,
    /// Contexts of which only the time is kept until which a request was answered in them: those that were answered
    /// while the process made no calls.
    quiet: FxHashMap<u64, u64>,
    waiting: BTreeMap<Call, Waiting>,
    /// When the last call began that is to wait, if that is not long ago.
    called_ns: Option<u64>,
    /// Until when its answers are taken to come in contexts that were made for them.
    late_until_ns: u64,
}

#[derive(Debug, Default)]
struct Context {
    answered: VecDeque<Answered>,
    waiting: BTreeSet<Call>,
    /// Two requests were answered in it at the same time: it tells nothing.
    shared: bool,
}

/// The time in which the context was a request's.
#[derive(Debug)]
struct Answered {
    serving: Serving,
    tid: u32,
    from_ns: u64,
    until_ns: u64,
}

impl Tasks {
    pub(super) fn begin(&mut self, pid: u32, start_ns: u64, span_id: SpanId) {
        self.processes.entry(pid).or_default().open.insert((start_ns, span_id.0), None);
    }

    /// A call has begun that will wait.
    pub(super) fn call(&mut self, pid: u32, start_ns: u64) {
        self.processes.entry(pid).or_default().called_ns = Some(start_ns);
    }

    /// Gives the calls that began before every request that is left.
    pub(super) fn end(&mut self, pid: u32, start_ns: u64, span_id: SpanId) -> Vec<Settled> {
        let Some(family) = self.processes.get_mut(&pid) else { return Vec::new() };
        if let Some(Some(context)) = family.open.remove(&(start_ns, span_id.0)) {
            family.quieten(context);
        }
        let oldest_ns = family.open.first_key_value().map_or(u64::MAX, |((start_ns, _), _)| *start_ns);
        let mut settled = Vec::new();
        while let Some((call, _)) = family.waiting.first_key_value()
            && call.0 < oldest_ns
        {
            let call = *call;
            settled.extend(family.take(call).map(|waiting| Settled { waiting, parent: Err(UNCLAIMED) }));
        }
        self.waiting -= settled.len();
        settled
    }

    pub(super) fn open_requests(&self, pid: u32) -> usize {
        self.processes.get(&pid).map_or(0, |family| family.open.len())
    }

    /// Whether the process serves a request that began before.
    pub(super) fn may_belong(&self, pid: u32, start_ns: u64) -> bool {
        let oldest = self.processes.get(&pid).and_then(|family| family.open.first_key_value());
        oldest.is_some_and(|((oldest_ns, _), _)| *oldest_ns <= start_ns)
    }

    pub(super) fn answer(&mut self, pid: u32, context: u64, answer: Answer) -> Vec<Settled> {
        let Some(family) = self.processes.get_mut(&pid) else { return Vec::new() };
        if family.contexts.len() >= MAX_CONTEXTS && !family.contexts.contains_key(&context) {
            return Vec::new();
        }
        let Answer { serving, tid, mut from_ns, at_ns } = answer;
        if let Some(answered_in) = family.open.get_mut(&(serving.start_ns, serving.span_id.0)) {
            *answered_in = Some(context);
        }
        let quiet_until_ns = family.quiet.remove(&context).unwrap_or(0);
        let entry = family.contexts.entry(context).or_default();
        let shared = quiet_until_ns > from_ns || entry.answered.iter().any(|other| other.until_ns > from_ns);
        entry.shared |= shared;
        if shared {
            family.late_until_ns = at_ns.saturating_add(LATE_NS);
        }
        if at_ns < family.late_until_ns && !entry.shared {
            from_ns = at_ns;
        }
        if entry.answered.len() >= MAX_ANSWERED {
            entry.answered.pop_front();
        }
        entry.answered.push_back(Answered { serving: serving.clone(), tid, from_ns, until_ns: at_ns });
        // Who called before is not who answers now: the address was another context's.
        let mut settled = family.claim(context, None, (0, from_ns), &Err(REUSED));
        let parent = if family.contexts.get(&context).is_some_and(|entry| entry.shared) {
            Err(SHARED)
        } else {
            Ok(serving)
        };
        settled.extend(family.claim(context, Some(tid), (from_ns, at_ns.saturating_add(1)), &parent));
        self.waiting -= settled.len();
        settled
    }

    pub(super) fn go_on(&mut self, pid: u32, context: u64, span_id: SpanId, at_ns: u64) -> Vec<Settled> {
        let Some(family) = self.processes.get_mut(&pid) else { return Vec::new() };
        let Some(entry) = family.contexts.get_mut(&context) else { return Vec::new() };
        let shared = entry.shared;
        // The last one: before it, the context was others'.
        let Some(answered) = entry.answered.back_mut().filter(|last| last.serving.span_id == span_id) else {
            return Vec::new();
        };
        let (tid, from_ns) = (answered.tid, answered.until_ns);
        answered.until_ns = answered.until_ns.max(at_ns);
        let parent = if shared { Err(SHARED) } else { Ok(answered.serving.clone()) };
        let settled = family.claim(context, Some(tid), (from_ns, at_ns.saturating_add(1)), &parent);
        self.waiting -= settled.len();
        settled
    }

    pub(super) fn settle(&mut self, pid: u32, waiting: Waiting) -> Option<Settled> {
        let start_ns = waiting.span.start_ns;
        let hopeless = !self.may_belong(pid, start_ns);
        let Some(family) = self.processes.get_mut(&pid) else {
            return Some(Settled { waiting, parent: Err(UNCLAIMED) });
        };
        if let Some(entry) = family.contexts.get(&waiting.context) {
            let holds = |answered: &&Answered| {
                answered.tid == waiting.span.tid && (answered.from_ns..=answered.until_ns).contains(&start_ns)
            };
            if let Some(answered) = entry.answered.iter().find(holds) {
                let parent = if entry.shared { Err(SHARED) } else { Ok(answered.serving.clone()) };
                return Some(Settled { waiting, parent });
            }
            if entry.answered.iter().any(|answered| start_ns < answered.from_ns) {
                return Some(Settled { waiting, parent: Err(REUSED) });
            }
        }
        if hopeless {
            return Some(Settled { waiting, parent: Err(UNCLAIMED) });
        }
        if self.waiting >= MAX_WAITING
            || (family.contexts.len() >= MAX_CONTEXTS && !family.contexts.contains_key(&waiting.context))
        {
            return Some(Settled { waiting, parent: Err(TOO_MANY) });
        }
        self.last_number += 1;
        let call = (start_ns, self.last_number);
        family.contexts.entry(waiting.context).or_default().waiting.insert(call);
        family.waiting.insert(call, waiting);
        self.waiting += 1;
        None
    }

    pub(super) fn age(&mut self, now_ns: u64) -> Vec<Settled> {
        if now_ns.saturating_sub(self.swept_ns) < WAIT_NS / 16 {
            return Vec::new();
        }
        self.swept_ns = now_ns;
        let is_old = |at_ns: u64| now_ns.saturating_sub(at_ns) >= WAIT_NS;
        let mut settled = Vec::new();
        for family in self.processes.values_mut() {
            let old: Vec<Call> = family
                .waiting
                .iter()
                .filter(|(_, waiting)| is_old(waiting.end_ns))
                .map(|(call, _)| *call)
                .collect();
            let old = old.into_iter().filter_map(|call| family.take(call));
            settled.extend(old.map(|waiting| Settled { waiting, parent: Err(TOO_LONG) }));
            let open = &family.open;
            for context in family.contexts.values_mut() {
                context.answered.retain(|answered| {
                    let Serving { start_ns, span_id, .. } = answered.serving;
                    open.contains_key(&(start_ns, span_id.0)) || !is_old(answered.until_ns)
                });
            }
            family.called_ns = family.called_ns.filter(|called_ns| !is_old(*called_ns));
            family.quiet.retain(|_, until_ns| !is_old(*until_ns));
            family.quiet.shrink_to(2 * family.quiet.len());
            family.contexts.retain(|_, context| !context.answered.is_empty() || !context.waiting.is_empty());
            family.contexts.shrink_to(2 * family.contexts.len());
        }
        self.processes.retain(|_, family| {
            !family.open.is_empty()
                || !family.contexts.is_empty()
                || !family.quiet.is_empty()
                || !family.waiting.is_empty()
        });
        self.waiting -= settled.len();
        settled.sort_by_key(|settled| (settled.waiting.span.start_ns, settled.waiting.span.span_id.0));
        settled
    }

    pub(super) fn exit(&mut self, pid: u32) -> Vec<Settled> {
        let Some(family) = self.processes.remove(&pid) else { return Vec::new() };
        self.waiting -= family.waiting.len();
        let waiting = family.waiting.into_values();
        waiting.map(|waiting| Settled { waiting, parent: Err("the process ended") }).collect()
    }

    pub(super) fn drain(&mut self) -> Vec<Settled> {
        let mut pids: Vec<u32> = self.processes.keys().copied().collect();
        pids.sort_unstable();
        let all = pids.into_iter().flat_map(|pid| self.exit(pid));
        all.map(|settled| Settled { parent: Err("the probe stopped"), ..settled }).collect()
    }
}

impl Family {
    /// A request is over that was answered in this context. Without calls that could belong to it, the time is enough.
    fn quieten(&mut self, context: u64) {
        if self.called_ns.is_some() || self.quiet.len() >= MAX_CONTEXTS {
            return;
        }
        let Some(entry) = self.contexts.get(&context) else { return };
        if !entry.shared
            && entry.waiting.is_empty()
            && let (Some(answered), 1) = (entry.answered.front(), entry.answered.len())
        {
            self.quiet.insert(context, answered.until_ns);
            self.contexts.remove(&context);
        }
    }

    /// Takes the calls of a context, of one thread or all, that began in a span of time, its end not included.
    fn claim(
        &mut self,
        context: u64,
        tid: Option<u32>,
        (from_ns, to_ns): (u64, u64),
        parent: &Result<Serving, &'static str>,
    ) -> Vec<Settled> {
        let Some(entry) = self.contexts.get(&context) else { return Vec::new() };
        if from_ns >= to_ns {
            return Vec::new();
        }
        let made_by = |call: &Call| self.waiting.get(call).map(|waiting| waiting.span.tid);
        let calls = entry.waiting.range((from_ns, 0)..(to_ns, 0)).copied();
        let calls: Vec<Call> =
            calls.filter(|call| tid.is_none_or(|tid| made_by(call) == Some(tid))).collect();
        let taken = calls.into_iter().filter_map(|call| self.take(call));
        taken.map(|waiting| Settled { waiting, parent: parent.clone() }).collect()
    }

    fn take(&mut self, call: Call) -> Option<Waiting> {
        let waiting = self.waiting.remove(&call)?;
        if let Some(context) = self.contexts.get_mut(&waiting.context) {
            context.waiting.remove(&call);
            if context.waiting.is_empty() && context.answered.is_empty() {
                self.contexts.remove(&waiting.context);
            }
        }
        Some(waiting)
    }
}
