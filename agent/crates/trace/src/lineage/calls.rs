//! The calls of one process that wait to know their request, by what would tell it.
//!
//! Invariant: a call is given out once, when it is over and known to be a request's, or that it will not be known. Where
//! threads have to end for that, it is known when all have.

use std::collections::BTreeSet;

use model::ParentKind;
use rustc_hash::FxHashMap;

use super::ancestry::{ContextId, Step};
use super::tasks::{Call, Settled, Waiting};
use super::threads::GOES_ON;
use super::{Request, Serving};

/// How long a call waits after its end.
pub(super) const WAIT_NS: u64 = 60_000_000_000;
/// How long a call may take and still wait.
pub(super) const CALL_NS: u64 = 600_000_000_000;

const TOO_LONG: &str = "its request took too long to answer";

/// The request that a call belongs to, or why that is not known.
pub(super) type Parent = Result<Serving, &'static str>;

/// What would tell whose a call is.
#[derive(Debug, Clone, Default)]
pub(super) struct Question {
    /// What has to be a request's for the call to be one's.
    pub(super) steps: Vec<Step>,
    /// Threads that have to end with the request: with the one below, or where none is with that of the steps.
    pub(super) threads: Vec<u32>,
    /// The request that it is if the threads end, unless the steps turn out to be another's.
    pub(super) serving: Option<Serving>,
    /// What is said if it stays open.
    pub(super) otherwise: &'static str,
}

impl Question {
    pub(super) fn new(steps: Vec<Step>, otherwise: &'static str) -> Self {
        Self { steps, otherwise, ..Self::default() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    pending: FxHashMap<Call, Pending>,
    /// Those of them that are over.
    over: BTreeSet<Call>,
    /// What happened in each context, of all of them: when and on which thread.
    steps: FxHashMap<ContextId, BTreeSet<(u64, u32, Call)>>,
    /// Those that wait for a thread's end, and the requests that they are then.
    threads: FxHashMap<u32, BTreeSet<Call>>,
    serving: FxHashMap<Request, BTreeSet<Call>>,
}

/// A call that waits.
#[derive(Debug)]
struct Pending {
    steps: Vec<Step>,
    /// Those that have not ended yet.
    threads: Vec<u32>,
    /// The request that it is if they end.
    serving: Option<Serving>,
    /// By how it is known that it is that one's.
    kind: ParentKind,
    /// What is said if no request claims it.
    otherwise: &'static str,
    /// Known, while the call goes on.
    parent: Option<(Parent, ParentKind)>,
    over: Option<Waiting>,
}

impl Calls {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether a context may tell of a call.
    pub(super) fn ask_for(&self, context: ContextId) -> bool {
        self.steps.contains_key(&context)
    }

    /// A call has begun that waits.
    pub(super) fn wait(&mut self, call: Call, question: Question) {
        let Question { steps, threads, serving, otherwise } = question;
        for step in &steps {
            self.steps.entry(step.context).or_default().insert((step.at_ns, step.tid, call));
        }
        for tid in &threads {
            self.threads.entry(*tid).or_default().insert(call);
        }
        if let Some(serving) = &serving {
            self.serving.entry(serving.request()).or_default().insert(call);
        }
        let kind = if serving.is_some() { ParentKind::Thread } else { ParentKind::Context };
        let pending = Pending { steps, threads, serving, kind, otherwise, parent: None, over: None };
        self.pending.insert(call, pending);
    }

    /// A call is over, and hopeless if no request is left that it could belong to. `None`: it is kept until it is known.
    pub(super) fn settle(&mut self, waiting: Waiting, hopeless: bool) -> Option<Settled> {
        let call = waiting.call;
        let Some(pending) = self.pending.get_mut(&call) else {
            return Some(Settled { waiting, parent: Err(TOO_LONG), kind: ParentKind::Context });
        };
        pending.over = Some(waiting);
        self.over.insert(call);
        match pending.parent.take() {
            Some((parent, kind)) => self.resolve(call, parent, kind),
            None if hopeless && pending.serving.is_none() => {
                let otherwise = pending.otherwise;
                self.resolve(call, Err(otherwise), ParentKind::Context)
            }
            None => None,
        }
    }

    /// A thread has ended. Gives the calls that are known by that.
    pub(super) fn end_thread(&mut self, tid: u32) -> Vec<Settled> {
        let calls = self.threads.remove(&tid).unwrap_or_default();
        let known = |call: Call| {
            let pending = self.pending.get_mut(&call)?;
            pending.threads.retain(|other| *other != tid);
            let serving = pending.serving.as_ref().filter(|_| pending.threads.is_empty())?;
            let (parent, kind) = (Ok(serving.clone()), pending.kind);
            self.resolve(call, parent, kind)
        };
        calls.into_iter().filter_map(known).collect()
    }

    /// Whether calls are a request's only if threads end.
    pub(super) fn depend_on_threads(&self, request: Request) -> bool {
        self.serving.contains_key(&request)
    }

    /// Gives up on a request's calls whose threads have not ended with it: on those that only these tell of, and those that no
    /// request is left for (`hopeless`).
    pub(super) fn outlive(&mut self, request: Request, hopeless: impl Fn(&Call) -> bool) -> Vec<Settled> {
        let calls = self.serving.remove(&request).unwrap_or_default();
        let give_up = |call| {
            let pending = self.pending.get_mut(&call)?;
            pending.serving = None;
            if pending.kind == ParentKind::Context || pending.steps.is_empty() {
                return self.resolve(call, Err(GOES_ON), ParentKind::Thread);
            }
            let (threads, otherwise) = (std::mem::take(&mut pending.threads), pending.otherwise);
            let is_lost = pending.over.is_some() && hopeless(&call);
            self.unlink(call, &[], &threads);
            is_lost.then(|| self.resolve(call, Err(otherwise), ParentKind::Context)).flatten()
        };
        calls.into_iter().filter_map(give_up).collect()
    }

    /// Nobody asks any more whose a call is.
    pub(super) fn drop_call(&mut self, call: Call) {
        self.over.remove(&call);
        if let Some(pending) = self.pending.remove(&call) {
            self.unlink(call, &pending.steps, &pending.threads);
            self.unserve(call, pending.serving.as_ref());
        }
    }

    /// Says whose the calls are for which a thread did something in a context in a span of time, its end not included. Gives
    /// those that are over, and how many there are in all.
    pub(super) fn claim(
        &mut self,
        context: ContextId,
        tid: u32,
        (from_ns, to_ns): (u64, u64),
        parent: &Parent,
    ) -> (Vec<Settled>, u64) {
        let Some(steps) = self.steps.get(&context).filter(|_| from_ns < to_ns) else {
            return (Vec::new(), 0);
        };
        let first = Call { start_ns: 0, number: 0 };
        let steps = steps.range((from_ns, 0, first)..(to_ns, 0, first));
        let calls: Vec<Call> = steps.filter(|(_, by, _)| *by == tid).map(|(_, _, call)| *call).collect();
        let claimed = calls.len() as u64;
        (calls.into_iter().filter_map(|call| self.claim_one(call, parent.clone())).collect(), claimed)
    }

    /// What has happened where a call was made is a request's, or nobody knows whose.
    fn claim_one(&mut self, call: Call, parent: Parent) -> Option<Settled> {
        let pending = self.pending.get_mut(&call)?;
        let needs_threads = pending.kind == ParentKind::Context && !pending.threads.is_empty();
        match parent {
            Ok(serving) if needs_threads => {
                let request = pending.serving.get_or_insert(serving).request();
                self.serving.entry(request).or_default().insert(call);
                None
            }
            // The thread may tell.
            Err(_) if pending.serving.is_some() => None,
            parent => self.resolve(call, parent, ParentKind::Context),
        }
    }

    /// Gives up on calls that are over and began before.
    pub(super) fn give_up_before(&mut self, start_ns: u64) -> Vec<Settled> {
        let hopeless = self.over.range(..Call { start_ns, number: 0 });
        let otherwise = |call: &Call| {
            let pending = self.pending.get(call).filter(|pending| pending.serving.is_none())?;
            Some((*call, pending.otherwise))
        };
        let hopeless: Vec<(Call, &str)> = hopeless.filter_map(otherwise).collect();
        let give_up = |(call, reason)| self.resolve(call, Err(reason), ParentKind::Context);
        hopeless.into_iter().filter_map(give_up).collect()
    }

    /// Gives up on calls that have waited too long.
    pub(super) fn age(&mut self, now_ns: u64) -> Vec<Settled> {
        let waits_long = |call: &&Call| {
            let waiting = self.pending.get(call).and_then(|pending| pending.over.as_ref());
            waiting.is_some_and(|waiting| now_ns.saturating_sub(waiting.end_ns) >= WAIT_NS)
        };
        let old: Vec<Call> = self.over.iter().filter(waits_long).copied().collect();
        let takes_long =
            |call: &&Call| now_ns.saturating_sub(call.start_ns) >= CALL_NS && !self.over.contains(call);
        let endless: Vec<Call> = self.pending.keys().filter(takes_long).copied().collect();
        for call in endless {
            self.drop_call(call);
        }
        self.steps.shrink_to(2 * self.steps.len());
        old.into_iter().filter_map(|call| self.resolve(call, Err(TOO_LONG), ParentKind::Context)).collect()
    }

    /// Gives out every call that is over, for this reason.
    pub(super) fn give_up(mut self, reason: &'static str) -> Vec<Settled> {
        let over = std::mem::take(&mut self.over);
        over.into_iter().filter_map(|call| self.resolve(call, Err(reason), ParentKind::Context)).collect()
    }

    /// It is known whose a call is, or that it will not be. `None`: the call goes on.
    fn resolve(&mut self, call: Call, parent: Parent, kind: ParentKind) -> Option<Settled> {
        let pending = self.pending.get_mut(&call)?;
        let (steps, threads) = (std::mem::take(&mut pending.steps), std::mem::take(&mut pending.threads));
        let serving = pending.serving.take();
        let settled = if let Some(waiting) = pending.over.take() {
            self.pending.remove(&call);
            self.over.remove(&call);
            Some(Settled { waiting, parent, kind })
        } else {
            pending.parent.get_or_insert((parent, kind));
            None
        };
        self.unlink(call, &steps, &threads);
        self.unserve(call, serving.as_ref());
        settled
    }

    fn unserve(&mut self, call: Call, serving: Option<&Serving>) {
        let request = serving.map(Serving::request);
        if let Some(request) = request
            && let Some(of_request) = self.serving.get_mut(&request)
        {
            of_request.remove(&call);
            if of_request.is_empty() {
                self.serving.remove(&request);
            }
        }
    }

    fn unlink(&mut self, call: Call, steps: &[Step], threads: &[u32]) {
        for tid in threads {
            if let Some(of_thread) = self.threads.get_mut(tid) {
                of_thread.remove(&call);
                if of_thread.is_empty() {
                    self.threads.remove(tid);
                }
            }
        }
        for step in steps {
            if let Some(of_context) = self.steps.get_mut(&step.context) {
                of_context.remove(&(step.at_ns, step.tid, call));
                if of_context.is_empty() {
                    self.steps.remove(&step.context);
                }
            }
        }
    }
}
