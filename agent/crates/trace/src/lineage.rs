//! Which request a call belongs to. Invariant: a parent is given only if it is known; what cannot be told is said
//! not to be known, and why.
//!
//! Where one thread or greenlet does one thing at a time, a call belongs to the request that was read there. What
//! reads for an event loop says little: the context of a reader is given up as soon as it need not read, and its
//! address may be a task's while the request is still open. So it is with the context in which a response is sent: a task may
//! have been made for that, at an address where another request's task has called. Which context is which is known where
//! the copies of contexts are seen. There calls of tasks wait until a request's response is sent by the same task, or by
//! the one in which it, or what a thread of a pool runs, was started; and it is known which task was made for what had just
//! been read. What a thread that a request has started calls is the request's if the thread ends with it.

mod ancestry;
mod callers;
mod calls;
mod family;
mod readers;
mod tasks;
mod threads;
mod turns;

use model::{Blur, Identity, SpanId, TraceId};

use crate::place::Thread;
use callers::{Callers, Nearest};
use calls::Question;
use family::Family;
use tasks::Tasks;
pub(crate) use tasks::{Answer, Call, Settled, Waiting};
use threads::{GOES_ON, Origin, Starter};
use turns::{hand, reads_ahead};

/// Said of calls that no open request has claimed.
const UNCLAIMED: &str = "no open request was answered by the task that called";
/// Said of calls of what a request has started and that goes on after it.
const OVER: &str = "the request that its task was started for was over";

const SEVERAL: &str = "several requests are open where it was made";
const LEFT: &str = "the request that is open where it was made may just have been given up";
const NOT_READ: &str = "no request is open on its thread";

/// A request that is being served.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) span_id: SpanId,
    pub(crate) trace_id: TraceId,
    pub(crate) head_sampled: bool,
    pub(crate) start_ns: u64,
}

/// Which request: its start, and its span.
type Request = (u64, u64);

impl Serving {
    fn request(&self) -> Request {
        (self.start_ns, self.span_id.0)
    }
}

/// What the copies of a process's contexts are good for, since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyCounts {
    /// Copies seen, and writes that are sent later.
    pub copies: u64,
    /// Calls whose request, or what made them, is known by them only.
    pub found: u64,
    /// Calls of tasks whose request is not known.
    pub unclaimed: u64,
}

/// What is known of a call's parent when it begins.
#[derive(Debug, Clone)]
pub(crate) enum Kin {
    /// It belongs to this request, which was read by the same thread.
    ByThread(Serving),
    /// It belongs to this request, for which its task was started.
    ByContext(Serving),
    /// The process serves no request that it could belong to.
    Root,
    /// It cannot be told.
    Unknown(&'static str),
    /// It will show when a response is sent.
    Later(Call),
}

/// The requests that are being served, and the calls that wait to know theirs.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    callers: Callers,
    tasks: Tasks,
    /// Those of all that were read ahead of their turn.
    ahead: usize,
}

impl Requests {
    /// A request has begun, read by `caller`.
    pub(crate) fn begin(&mut self, caller: Thread, serving: Serving) {
        let family = self.tasks.family(caller.pid);
        family.begin(serving.clone(), entered(caller.identity));
        if reads_ahead(caller) {
            family.turns.begin(caller.tid);
            self.ahead += 1;
        }
        self.callers.begin(caller, serving);
    }

    /// A request is over. Gives the calls that can belong to none that is left.
    #[must_use]
    pub(crate) fn end(
        &mut self,
        caller: Thread,
        (start_ns, span_id): (u64, SpanId),
        is_answered: bool,
    ) -> Vec<Settled> {
        self.callers.end(caller, span_id);
        self.ahead -= usize::from(reads_ahead(caller));
        if reads_ahead(caller)
            && let Some(family) = self.tasks.find_mut(caller.pid)
        {
            family.turns.end(caller.tid, is_answered);
        }
        self.tasks.end(caller.pid, (start_ns, span_id.0))
    }

    /// Whether requests are open that were read ahead of their turn.
    pub(crate) fn are_read_ahead(&self) -> bool {
        self.ahead > 0
    }

    /// Something was done at a server's connection.
    pub(crate) fn touch(&mut self, thread: Thread, connection: u64, at_ns: u64) {
        if let Some(hand) = hand(thread)
            && let Some(family) = self.tasks.find_mut(thread.pid)
        {
            family.turns.touch(hand, connection, at_ns);
        }
    }

    /// A connection of a process is gone, and with it what was asked there.
    pub(crate) fn leave(&mut self, pid: u32, at_ns: u64) {
        if let Some(family) = self.tasks.find_mut(pid) {
            family.turns.leave(at_ns);
        }
    }

    /// A thread or greenlet answers a request, or goes on to. Gives what stands for it among contexts, if it has worked for
    /// that request, which was read ahead of its turn, since `from_ns`.
    pub(crate) fn in_turn(&mut self, reader: Thread, answerer: Thread, from_ns: u64) -> Option<u64> {
        if self.ahead == 0 {
            return None;
        }
        let by = hand(answerer)?;
        let turns = &mut self.tasks.find_mut(answerer.pid)?.turns;
        turns.answer(hand(reader), by, from_ns).then_some(by.0)
    }

    /// Whether the process serves no more than one request.
    pub(crate) fn is_alone(&self, pid: u32) -> bool {
        self.tasks.find(pid).is_none_or(|family| family.open_requests() <= 1)
    }

    /// A context was copied by `maker`, in what it runs.
    pub(crate) fn copied(&mut self, maker: Thread, at_ns: u64, context: u64) {
        let of = match self.callers.nearest(maker, at_ns) {
            Nearest::One(serving) => Some(serving.request()),
            Nearest::None | Nearest::Several => None,
        };
        let parent = match maker.identity {
            Identity::Greenlet(greenlet) => Some(greenlet),
            other => entered(other),
        };
        self.tasks.family(maker.pid).copied((at_ns, maker.tid), context, parent, of);
    }

    /// Copies of a process's contexts are told from some time on, or not any more.
    pub(crate) fn see_copies(&mut self, pid: u32, since_ns: Option<u64>) {
        self.tasks.family(pid).see_copies(since_ns);
    }

    /// Bytes were written for an event loop to send.
    pub(crate) fn count_write(&mut self, pid: u32) {
        if let Some(family) = self.tasks.find_mut(pid) {
            family.counts.copies += 1;
        }
    }

    /// Whether one context was at an address from one time to another, its end included. Who asks has found by this what made a
    /// call.
    pub(crate) fn was_there(&mut self, pid: u32, context: u64, time: (u64, u64)) -> bool {
        self.tasks.find_mut(pid).is_some_and(|family| family.was_there(context, time))
    }

    /// The answer to a call that was made in a context has come in another: what reads it works for nobody.
    pub(crate) fn reads(&mut self, reader: Thread, made_by: Identity) {
        if let (Some(context), Some(made_in)) = (entered(reader.identity), entered(made_by))
            && context != made_in
            && let Some(family) = self.tasks.find_mut(reader.pid)
        {
            family.reads(context);
        }
    }

    /// A thread has started another one.
    pub(crate) fn start_thread(&mut self, starter: Thread, at_ns: u64, child: u32) {
        // Nobody serves anything there.
        let Some(family) = self.tasks.find_mut(starter.pid) else { return };
        let is_doubtful = family.turns.may_be_left(at_ns)
            || (starter.identity == Identity::Thread && family.turns.are_read_by(starter.tid));
        let starter = match self.callers.nearest(starter, at_ns) {
            Nearest::One(serving) => (!is_doubtful).then(|| Starter {
                origin: Origin::Request(serving.clone()),
                by_task: false,
                through: Vec::new(),
            }),
            Nearest::None => family.starter(starter, at_ns),
            Nearest::Several => None,
        };
        family.threads.start(child, at_ns, starter);
    }

    /// A thread is gone. Gives the calls that are known by that.
    #[must_use]
    pub(crate) fn end_thread(&mut self, pid: u32, tid: u32) -> Vec<Settled> {
        self.tasks.find_mut(pid).map(|family| family.end_thread(tid)).unwrap_or_default()
    }

    /// Whether threads may be about to end that requests have started.
    pub(crate) fn wait_for_threads(&self) -> bool {
        self.tasks.wait_for_threads()
    }

    /// What is known of the parent of a call that begins now.
    pub(crate) fn kin(&mut self, caller: Thread, start_ns: u64) -> Kin {
        let nearest = self.callers.nearest(caller, start_ns);
        let pid = caller.pid;
        let mut later = None;
        match (caller.identity, nearest) {
            // What does not say what it runs may be at work on all that it has read.
            (Identity::Thread, Nearest::One(_)) if self.tasks.reads_ahead(caller) => {
                return Kin::Unknown(SEVERAL);
            }
            (_, Nearest::One(_)) if self.tasks.may_be_left(pid, start_ns) => return Kin::Unknown(LEFT),
            (_, Nearest::One(serving)) => return Kin::ByThread(serving.clone()),
            // Where there is a loop no thread says what it runs, outside of contexts.
            (
                Identity::Base(_) | Identity::Thread | Identity::Unknown(Blur::Loop | Blur::Unseen),
                Nearest::None,
            ) => {
                let family = self.tasks.find(pid);
                match family.and_then(|family| family.ask_of_thread(caller.tid)) {
                    Some(Ok(question)) if family.is_some_and(|family| family.may_belong(start_ns)) => {
                        return self.wait(pid, start_ns, question);
                    }
                    Some(Err(reason)) => return Kin::Unknown(reason),
                    Some(Ok(_)) | None => {}
                }
                let step = |family: &Family| Question::new(family.step(caller, start_ns), NOT_READ);
                later = family.map(step);
            }
            (Identity::Task(context) | Identity::Greenlet(context), Nearest::None) => {
                let done_ns = caller.timing.written_ns.unwrap_or(start_ns);
                let known = |family: &Family| family.known_on_thread((context, caller.tid), done_ns);
                match self.tasks.find(pid).map(known) {
                    Some(Ok(Ok(serving))) => {
                        self.tasks.family(pid).counts.found += 1;
                        return Kin::ByContext(serving);
                    }
                    Some(Ok(Err(reason))) => return Kin::Unknown(reason),
                    Some(Err(question)) => later = Some(question),
                    None => {}
                }
            }
            _ => {}
        }
        // Requests that begin later cannot be its parent.
        if !self.tasks.find(pid).is_some_and(|family| family.may_belong(start_ns)) {
            return if is_over(later.as_ref()) { Kin::Unknown(OVER) } else { Kin::Root };
        }
        match (caller.identity, nearest, later) {
            (Identity::Unknown(blur), ..) => {
                // Who it was can be seen.
                if matches!(blur, Blur::Deferred | Blur::Unseen) {
                    self.count_unclaimed(pid);
                }
                Kin::Unknown(blur.as_str())
            }
            (Identity::Task(_), Nearest::None, Some(later)) => {
                let is_told = |family: &Family| family.sees_copies() || later.serving.is_some();
                if self.tasks.find(pid).is_some_and(is_told) {
                    return self.wait(pid, start_ns, later);
                }
                self.count_unclaimed(pid);
                Kin::Unknown(Blur::Unseen.as_str())
            }
            (_, Nearest::None, Some(later))
                if later.serving.is_some() || self.tasks.may_have_turn(pid, &later.steps) =>
            {
                self.wait(pid, start_ns, later)
            }
            (_, Nearest::Several, _) => Kin::Unknown(SEVERAL),
            (Identity::Greenlet(_), _, later) if is_over(later.as_ref()) => Kin::Unknown(OVER),
            (Identity::Greenlet(_), ..) => {
                self.count_unclaimed(pid);
                Kin::Unknown("its greenlet reads no request")
            }
            _ => Kin::Unknown(NOT_READ),
        }
    }

    fn wait(&mut self, pid: u32, start_ns: u64, question: Question) -> Kin {
        match self.tasks.wait(pid, start_ns, question) {
            Ok(call) => Kin::Later(call),
            Err(reason) => Kin::Unknown(reason),
        }
    }

    /// A response has begun to be sent in a context. Gives the calls that waited for it.
    #[must_use]
    pub(crate) fn answer(&mut self, pid: u32, context: u64, answer: Answer) -> Vec<Settled> {
        self.tasks.find_mut(pid).map(|family| family.answer(context, answer)).unwrap_or_default()
    }

    /// The same request goes on being answered in the same context.
    #[must_use]
    pub(crate) fn go_on(&mut self, pid: u32, context: u64, span_id: SpanId, at_ns: u64) -> Vec<Settled> {
        self.tasks.find_mut(pid).map(|family| family.go_on(context, span_id, at_ns)).unwrap_or_default()
    }

    /// A call that was to be known later is over. `None`: it is kept until it is known.
    pub(crate) fn settle(&mut self, pid: u32, waiting: Waiting) -> Option<Settled> {
        self.tasks.settle(pid, waiting)
    }

    /// Nobody asks any more whose a call is that was to be known later.
    pub(crate) fn drop_call(&mut self, pid: u32, call: Call) {
        if let Some(family) = self.tasks.find_mut(pid) {
            family.drop_call(call);
        }
    }

    /// A call that has waited turned out to be no request's, as far as is known. Of a thread nothing else would tell more.
    pub(crate) fn miss(&mut self, pid: u32, reason: &'static str) {
        if reason != NOT_READ && reason != GOES_ON {
            self.count_unclaimed(pid);
        }
    }

    /// A call of a task or greenlet is no request's, as far as is known.
    fn count_unclaimed(&mut self, pid: u32) {
        if let Some(family) = self.tasks.find_mut(pid) {
            family.counts.unclaimed += 1;
        }
    }

    /// What copies were good for since the last call, by process.
    pub(crate) fn take_counts(&mut self) -> impl Iterator<Item = (u32, CopyCounts)> {
        self.tasks.take_counts()
    }

    /// Gives up on calls that have waited too long, and forgets what is old.
    #[must_use]
    pub(crate) fn age(&mut self, now_ns: u64) -> Vec<Settled> {
        let mut settled = self.tasks.outlive(now_ns);
        settled.extend(self.tasks.age(now_ns));
        settled
    }

    /// A process is gone: nothing more becomes known of its calls.
    #[must_use]
    pub(crate) fn exit(&mut self, pid: u32) -> Vec<Settled> {
        self.tasks.exit(pid)
    }

    /// Gives out every call that waits.
    #[must_use]
    pub(crate) fn drain(&mut self) -> Vec<Settled> {
        self.tasks.drain()
    }
}

fn is_over(later: Option<&Question>) -> bool {
    later.is_some_and(|question| question.otherwise == OVER)
}

/// The context that was entered, if it is known.
fn entered(identity: Identity) -> Option<u64> {
    match identity {
        Identity::Task(context) => Some(context),
        _ => None,
    }
}
