//! Calls of tasks wait for the response that their task, or the one that has started it, sends.
//!
//! Invariant: what waits in all processes is bounded.

use std::collections::VecDeque;

use model::{ParentKind, Span};
use rustc_hash::FxHashMap;

use super::ancestry::Step;
use super::calls::{Question, WAIT_NS};
use super::family::Family;
use super::threads::GRACE_NS;
use super::{CopyCounts, Request, Serving, UNCLAIMED};
use crate::app::AppIndex;
use crate::place::Thread;
use crate::sdk::SdkSpan;

/// Most calls that wait.
const MAX_WAITING: usize = 16_384;

const TOO_MANY: &str = "too many calls waited to know their request";

/// A call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Call {
    pub(super) start_ns: u64,
    pub(super) number: u64,
}

/// A call that is over and whose request is not known yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) span: Span,
    pub(crate) app: AppIndex,
    pub(crate) call: Call,
    /// When it was over.
    pub(crate) end_ns: u64,
    /// The span that an SDK in the process makes of it.
    pub(crate) sdk: Option<Box<SdkSpan>>,
}

/// A response that has begun to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The request.
    pub(crate) serving: Serving,
    /// The thread that sends it. A task stays on its loop's: another thread that runs in a context of the same address
    /// runs in another context.
    pub(crate) tid: u32,
    /// A thread or greenlet sends it that has worked for nothing else since `begun_ns`.
    pub(crate) in_turn: bool,
    /// The task cannot have worked for the request before.
    pub(crate) begun_ns: u64,
    /// When the response's first byte was sent.
    pub(crate) at_ns: u64,
}

/// What became of a call that waited.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) waiting: Waiting,
    /// The request it belongs to, or why that is not known.
    pub(crate) parent: Result<Serving, &'static str>,
    /// How it is known.
    pub(crate) kind: ParentKind,
}

/// Every process's calls.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    processes: FxHashMap<u32, Family>,
    last_number: u64,
    swept_ns: u64,
    /// Requests that are over and whose threads go on, and until when that is waited for.
    over: VecDeque<(Option<u64>, u32, Request)>,
}

impl Tasks {
    /// What is known of a process, or nothing yet.
    pub(super) fn family(&mut self, pid: u32) -> &mut Family {
        self.processes.entry(pid).or_default()
    }

    pub(super) fn find(&self, pid: u32) -> Option<&Family> {
        self.processes.get(&pid)
    }

    pub(super) fn find_mut(&mut self, pid: u32) -> Option<&mut Family> {
        self.processes.get_mut(&pid)
    }

    /// Whether a thread has read requests ahead of their turn.
    pub(super) fn reads_ahead(&self, thread: Thread) -> bool {
        self.find(thread.pid).is_some_and(|family| family.turns.are_read_by(thread.tid))
    }

    /// Whether requests of a process that are open may have been left.
    pub(super) fn may_be_left(&self, pid: u32, at_ns: u64) -> bool {
        self.find(pid).is_some_and(|family| family.turns.may_be_left(at_ns))
    }

    /// Whether what did one of these steps may be at work on a request that was read ahead.
    pub(super) fn may_have_turn(&self, pid: u32, steps: &[Step]) -> bool {
        let may_have = |family: &Family| steps.iter().any(|step| family.turns.may_have(step.hand()));
        self.find(pid).is_some_and(may_have)
    }

    /// A call has begun that is to wait until one of these contexts is a request's.
    pub(super) fn wait(&mut self, pid: u32, start_ns: u64, question: Question) -> Result<Call, &'static str> {
        let most = MAX_WAITING / self.processes.len().max(1);
        self.last_number += 1;
        let call = Call { start_ns, number: self.last_number };
        let family = self.family(pid);
        if family.waiting() >= most {
            return Err(TOO_MANY);
        }
        family.wait(call, question);
        Ok(call)
    }

    pub(super) fn settle(&mut self, pid: u32, waiting: Waiting) -> Option<Settled> {
        match self.find_mut(pid) {
            Some(family) => family.settle(waiting),
            None => Some(Settled { waiting, parent: Err(UNCLAIMED), kind: ParentKind::Context }),
        }
    }

    /// A request is over. Gives the calls that can belong to none that is left.
    pub(super) fn end(&mut self, pid: u32, request: Request) -> Vec<Settled> {
        let Some(family) = self.processes.get_mut(&pid) else { return Vec::new() };
        if family.depends_on_threads(request) {
            self.over.push_back((None, pid, request));
        }
        family.end(request)
    }

    /// Whether threads may be about to end.
    pub(super) fn wait_for_threads(&self) -> bool {
        !self.over.is_empty()
    }

    /// Gives up on calls of threads that go on though their requests have been over for a while.
    pub(super) fn outlive(&mut self, now_ns: u64) -> Vec<Settled> {
        let mut settled = Vec::new();
        for (due_ns, ..) in &mut self.over {
            due_ns.get_or_insert(now_ns.saturating_add(GRACE_NS));
        }
        while let Some((_, pid, request)) = self.over.pop_front_if(|(due_ns, ..)| *due_ns <= Some(now_ns)) {
            let family = self.processes.get_mut(&pid);
            settled.extend(family.map(|family| family.outlive(request)).unwrap_or_default());
        }
        settled
    }

    /// Gives up on calls that have waited too long, and forgets what is old.
    pub(super) fn age(&mut self, now_ns: u64) -> Vec<Settled> {
        if now_ns.saturating_sub(self.swept_ns) < WAIT_NS / 16 {
            return Vec::new();
        }
        self.swept_ns = now_ns;
        let mut settled: Vec<Settled> =
            self.processes.values_mut().flat_map(|family| family.age(now_ns)).collect();
        self.processes.retain(|_, family| !family.is_empty());
        settled.sort_by_key(|settled| (settled.waiting.span.start_ns, settled.waiting.span.span_id.0));
        settled
    }

    pub(super) fn exit(&mut self, pid: u32) -> Vec<Settled> {
        self.processes.remove(&pid).map(|family| family.give_up("the process ended")).unwrap_or_default()
    }

    pub(super) fn drain(&mut self) -> Vec<Settled> {
        let mut all: Vec<(u32, Family)> = self.processes.drain().collect();
        all.sort_unstable_by_key(|(pid, _)| *pid);
        all.into_iter().flat_map(|(_, family)| family.give_up("the probe stopped")).collect()
    }

    /// What became of calls since the last time, by process.
    pub(super) fn take_counts(&mut self) -> impl Iterator<Item = (u32, CopyCounts)> {
        let taken = self.processes.iter_mut().map(|(pid, family)| (*pid, std::mem::take(&mut family.counts)));
        taken.filter(|(_, counts)| *counts != CopyCounts::default())
    }
}
