//! The requests, contexts and calls of one process.
//!
//! Invariants: a call belongs to a request only if it, or the copy of a context that led to it, was made in the context
//! and by the thread that the response is sent in, in the time in which that context was the request's; or if the context
//! was made for the request, by whatever read it, before its response began. Which context was where is known by the
//! copies that were seen, never by an address. What waits is bounded in number and time.

use std::collections::{BTreeMap, VecDeque};

use model::SpanId;
use rustc_hash::FxHashMap;

use super::ancestry::{Ancestry, ContextId, Owner, Step};
use super::calls::{CALL_NS, Calls, Parent, Question, WAIT_NS};
use super::readers::Readers;
use super::tasks::{Answer, Call, Settled, Waiting};
use super::threads::Threads;
use super::turns::{Turns, hand};
use super::{CopyCounts, OVER, Request, Serving, UNCLAIMED};
use crate::place::Thread;

/// Most contexts of one process that are remembered, and requests of one context.
const MAX_CONTEXTS: usize = 16_384;
const MAX_ANSWERED: usize = 4;

const SHARED: &str = "several requests are answered in the context of the call";

#[derive(Debug, Default)]
pub(super) struct Family {
    /// Open requests by their start.
    pub(super) open: BTreeMap<Request, Open>,
    contexts: FxHashMap<ContextId, Context>,
    /// Contexts of which only the time is kept until which a request was answered in them: those that were answered
    /// while the process made no calls.
    quiet: FxHashMap<ContextId, u64>,
    /// Contexts that requests, or answers to calls of other contexts, are read in.
    readers: Readers,
    ancestry: Ancestry,
    /// Since when copies of contexts are told, if they are.
    seen_since_ns: Option<u64>,
    pub(super) calls: Calls,
    /// When the last call began that is to wait, if that is not long ago.
    called_ns: Option<u64>,
    pub(super) counts: CopyCounts,
    pub(super) turns: Turns,
    pub(super) threads: Threads,
}

/// A request that is open.
#[derive(Debug)]
pub(super) struct Open {
    serving: Serving,
    read_in: Option<ContextId>,
    answered_in: Option<ContextId>,
    answered_ns: Option<u64>,
}

#[derive(Debug, Default)]
struct Context {
    answered: VecDeque<Answered>,
    /// Two requests were answered in it at the same time: it tells nothing.
    shared: bool,
}

/// The time in which a context was a request's.
#[derive(Debug)]
struct Answered {
    serving: Serving,
    tid: u32,
    from_ns: u64,
    until_ns: u64,
}

/// What is known of a call when it begins.
pub(super) enum Known {
    Parent(Parent),
    /// What has to be a request's for the call to be one's, and what is to be said if nothing of it is.
    Later(Vec<Step>, &'static str),
}

impl Family {
    pub(super) fn begin(&mut self, serving: Serving, context: Option<u64>) {
        let seen = context.filter(|_| self.ancestry.is_seen());
        let read_in = seen.and_then(|address| self.ancestry.at(address, serving.start_ns));
        let read_in = read_in.filter(|context| self.ancestry.is_sure(*context, serving.start_ns));
        let request = serving.request();
        if let Some(context) = read_in.filter(|_| self.has_room()) {
            self.readers.read(context, request);
        }
        self.open.insert(request, Open { serving, read_in, answered_in: None, answered_ns: None });
    }

    /// Gives the calls that are over and began before every request that is left.
    pub(super) fn end(&mut self, request: Request) -> Vec<Settled> {
        if let Some(open) = self.open.remove(&request) {
            if let Some(context) = open.read_in {
                self.readers.answered(context, request);
            }
            if let Some(context) = open.answered_in {
                self.quieten(context);
                self.retire(context);
            }
        }
        self.calls.give_up_before(self.oldest_ns().unwrap_or(u64::MAX))
    }

    /// When the oldest request began that is open.
    pub(super) fn oldest_ns(&self) -> Option<u64> {
        self.open.first_key_value().map(|((start_ns, _), _)| *start_ns)
    }

    pub(super) fn open_requests(&self) -> usize {
        self.open.len()
    }

    /// Whether a request is open that began before.
    pub(super) fn may_belong(&self, start_ns: u64) -> bool {
        self.oldest_ns().is_some_and(|oldest_ns| oldest_ns <= start_ns)
    }

    /// A context was copied by a thread: in another one that was entered, or for a request if that is known.
    pub(super) fn copied(
        &mut self,
        (at_ns, tid): (u64, u32),
        address: u64,
        parent: Option<u64>,
        of: Option<Request>,
    ) {
        if self.seen_since_ns.is_none_or(|since_ns| at_ns < since_ns) {
            return;
        }
        self.counts.copies += 1;
        if self.ancestry.is_full() {
            self.lose();
        }
        let parent = parent.filter(|parent| *parent != address).map(|parent| self.ancestry.now_at(parent));
        let of_loop = || self.readers.copied_in(parent?).map(|request| Owner { request, of_loop: true });
        let owner = of.map(|request| Owner { request, of_loop: false }).or_else(of_loop);
        let made = parent.map(|context| Step { context, tid, at_ns });
        if let Some(before) = self.ancestry.copied((at_ns, address), made, owner) {
            self.readers.remove(before);
            self.retire(before);
        }
    }

    /// Copies of contexts are told from some time on, or not any more.
    pub(super) fn see_copies(&mut self, since_ns: Option<u64>) {
        self.seen_since_ns = since_ns;
        self.lose();
    }

    /// Whether it is seen which contexts are copied.
    pub(super) fn sees_copies(&self) -> bool {
        self.ancestry.is_seen()
    }

    /// What is known of copies begins anew.
    fn lose(&mut self) {
        self.ancestry.lose();
        self.readers.clear();
    }

    /// An answer to a call has come in another context than the call was made in: what reads it works for nobody.
    pub(super) fn reads(&mut self, address: u64) {
        if self.ancestry.is_seen() && self.has_room() {
            self.readers.add(self.ancestry.now_at(address));
        }
    }

    /// Whether one context was at an address from one time to another, for all that was seen.
    pub(super) fn was_there(&mut self, address: u64, (from_ns, to_ns): (u64, u64)) -> bool {
        let at = |at_ns| self.ancestry.at(address, at_ns);
        let was_there = self.ancestry.is_seen() && at(from_ns).is_some() && at(from_ns) == at(to_ns);
        self.counts.found += u64::from(was_there && self.called_ns.is_some());
        was_there
    }

    /// Makes room for another reader: without the bounds that readers set nothing is certain.
    fn has_room(&mut self) -> bool {
        let is_full = self.readers.is_full();
        if is_full {
            self.lose();
        }
        !is_full
    }

    /// Whose a call is that begins now, as far as it is known.
    pub(super) fn known(&self, (address, tid): (u64, u32), at_ns: u64) -> Known {
        let Some(context) = self.ancestry.at(address, at_ns) else {
            return Known::Later(Vec::new(), UNCLAIMED);
        };
        let mut steps = Vec::new();
        for step in self.ancestry.steps(Step { context, tid, at_ns }) {
            let context = step.context;
            let owner = self.owner_of(step);
            steps.push(step);
            match owner {
                // It may yet be another's.
                Some(Err(OVER)) => return Known::Later(steps, OVER),
                Some(parent) => return Known::Parent(parent),
                None => {}
            }
            // It is a request's at another time, or for whatever is read: those above it do not matter.
            if self.ancestry.has_served(context) && !self.contexts.contains_key(&context) {
                return Known::Later(steps, OVER);
            }
            if self.contexts.contains_key(&context)
                || self.quiet.contains_key(&context)
                || self.readers.contain(context)
                || self.ancestry.owner(context).is_some()
            {
                break;
            }
        }
        Known::Later(steps, UNCLAIMED)
    }

    /// What a thread does, as if in a context of its own.
    pub(super) fn step(&self, caller: Thread, at_ns: u64) -> Vec<Step> {
        let step = |(address, tid)| Step { context: self.ancestry.now_at(address), tid, at_ns };
        hand(caller).map(step).into_iter().collect()
    }

    /// The request whose a context was at that moment.
    pub(super) fn owner_of(&self, step: Step) -> Option<Parent> {
        let answered = self.contexts.get(&step.context).and_then(|context| {
            let holds = |answered: &&Answered| {
                answered.tid == step.tid && (answered.from_ns..=answered.until_ns).contains(&step.at_ns)
            };
            Some((context.answered.iter().find(holds)?, context.shared))
        });
        match answered {
            Some((_, true)) => return Some(Err(SHARED)),
            Some((Answered { serving, .. }, false)) => {
                let is_open = self.open.contains_key(&serving.request());
                return Some(if is_open { Ok(serving.clone()) } else { Err(OVER) });
            }
            None => {}
        }
        let Owner { request, of_loop } = self.ancestry.owner(step.context)?;
        let Some(open) = self.open.get(&request) else { return Some(Err(OVER)) };
        // What was written for it may wait to be sent, while its task goes on to the next one.
        if of_loop && self.turns.any_ahead() {
            return None;
        }
        let is_early = open.answered_ns.is_none_or(|answered_ns| step.at_ns <= answered_ns);
        is_early.then(|| Ok(open.serving.clone()))
    }

    /// A call has begun that waits.
    pub(super) fn wait(&mut self, call: Call, question: Question) {
        self.called_ns = Some(call.start_ns);
        self.calls.wait(call, question);
    }

    pub(super) fn answer(&mut self, address: u64, answer: Answer) -> Vec<Settled> {
        let Answer { serving, tid, in_turn, begun_ns, at_ns } = answer;
        let Some(context) = self.ancestry.at(address, at_ns) else { return Vec::new() };
        if self.contexts.len() >= MAX_CONTEXTS && !self.contexts.contains_key(&context) {
            return Vec::new();
        }
        let mut read_in = None;
        if let Some(open) = self.open.get_mut(&serving.request()) {
            open.answered_in = Some(context);
            open.answered_ns.get_or_insert(at_ns);
            read_in = open.read_in;
        }
        if let Some(context) = read_in {
            self.readers.answered(context, serving.request());
        }
        // Who called there before need not be who answers now: the address may have been another context's.
        if !in_turn && !self.ancestry.is_sure(context, begun_ns) {
            return Vec::new();
        }
        self.ancestry.serves(context);
        let quiet_until_ns = self.quiet.remove(&context).unwrap_or(0);
        let entry = self.contexts.entry(context).or_default();
        entry.shared |=
            quiet_until_ns > begun_ns || entry.answered.iter().any(|other| other.until_ns > begun_ns);
        let parent = if entry.shared { Err(SHARED) } else { Ok(serving.clone()) };
        if entry.answered.len() >= MAX_ANSWERED {
            entry.answered.pop_front();
        }
        entry.answered.push_back(Answered { serving, tid, from_ns: begun_ns, until_ns: at_ns });
        self.claim(context, tid, (begun_ns, at_ns.saturating_add(1)), &parent)
    }

    pub(super) fn go_on(&mut self, address: u64, span_id: SpanId, at_ns: u64) -> Vec<Settled> {
        let context = self.ancestry.now_at(address);
        let Some(entry) = self.contexts.get_mut(&context) else { return Vec::new() };
        let shared = entry.shared;
        // The last one: before it, the context was others'.
        let Some(answered) = entry.answered.back_mut().filter(|last| last.serving.span_id == span_id) else {
            return Vec::new();
        };
        let (tid, from_ns) = (answered.tid, answered.until_ns);
        answered.until_ns = answered.until_ns.max(at_ns);
        let parent = if shared { Err(SHARED) } else { Ok(answered.serving.clone()) };
        self.claim(context, tid, (from_ns, at_ns.saturating_add(1)), &parent)
    }

    /// A call is over. `None`: it is kept until it is known.
    pub(super) fn settle(&mut self, waiting: Waiting) -> Option<Settled> {
        let hopeless = !self.may_belong(waiting.call.start_ns);
        self.calls.settle(waiting, hopeless)
    }

    /// Nobody asks any more whose a call is.
    pub(super) fn drop_call(&mut self, call: Call) {
        self.calls.drop_call(call);
    }

    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
            && self.contexts.is_empty()
            && self.quiet.is_empty()
            && self.calls.len() == 0
            && self.seen_since_ns.is_none()
            && self.turns.is_empty()
            && self.threads.is_empty()
    }

    /// Gives up on calls that have waited too long, and forgets what is old.
    pub(super) fn age(&mut self, now_ns: u64) -> Vec<Settled> {
        let is_old = |at_ns: u64| now_ns.saturating_sub(at_ns) >= WAIT_NS;
        let settled = self.calls.age(now_ns);
        let open = &self.open;
        self.threads.age(now_ns.saturating_sub(CALL_NS), |request| open.contains_key(&request));
        for context in self.contexts.values_mut() {
            let is_open = |answered: &Answered| open.contains_key(&answered.serving.request());
            context.answered.retain(|answered| is_open(answered) || !is_old(answered.until_ns));
        }
        self.called_ns = self.called_ns.filter(|called_ns| !is_old(*called_ns));
        self.quiet.retain(|_, until_ns| !is_old(*until_ns));
        self.quiet.shrink_to(2 * self.quiet.len());
        self.contexts.retain(|_, context| !context.answered.is_empty());
        self.contexts.shrink_to(2 * self.contexts.len());
        let oldest_ns = self.oldest_ns().unwrap_or(now_ns);
        self.ancestry.age(oldest_ns.min(now_ns.saturating_sub(WAIT_NS)));
        settled
    }

    /// Gives out every call that is over, for this reason.
    pub(super) fn give_up(self, reason: &'static str) -> Vec<Settled> {
        self.calls.give_up(reason)
    }

    /// A request is over that was answered in this context. Without calls that could belong to it, the time is enough.
    fn quieten(&mut self, context: ContextId) {
        if self.called_ns.is_some() || self.quiet.len() >= MAX_CONTEXTS {
            return;
        }
        let Some(entry) = self.contexts.get(&context) else { return };
        if !entry.shared
            && !self.calls.ask_for(context)
            && let (Some(answered), 1) = (entry.answered.front(), entry.answered.len())
        {
            self.quiet.insert(context, answered.until_ns);
            self.contexts.remove(&context);
        }
    }

    /// Forgets a context that is gone, unless calls wait for what happened in it or its request is open.
    fn retire(&mut self, context: ContextId) {
        if self.ancestry.is_there(context) {
            return;
        }
        self.quiet.remove(&context);
        let Some(entry) = self.contexts.get(&context) else { return };
        let is_open = |answered: &Answered| self.open.contains_key(&answered.serving.request());
        if !self.calls.ask_for(context) && !entry.answered.iter().any(is_open) {
            self.contexts.remove(&context);
        }
    }

    /// What happened in a context is a request's, or nobody knows whose.
    fn claim(&mut self, context: ContextId, tid: u32, time: (u64, u64), parent: &Parent) -> Vec<Settled> {
        let (settled, claimed) = self.calls.claim(context, tid, time, parent);
        if parent.is_ok() && self.ancestry.is_seen() {
            self.counts.found += claimed;
        }
        settled
    }
}
