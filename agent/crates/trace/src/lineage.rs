//! Which request a call belongs to. Invariant: a parent is given only if it is known; what cannot be told is said
//! not to be known, and why.
//!
//! Where one thread or greenlet does one thing at a time, a call belongs to the request that was read there. What
//! reads for an event loop says nothing: the context of a reader is given up as soon as it need not read, and its
//! address may be a task's while the request is still open. Calls of tasks wait until a request's response is sent by
//! the same task.

mod callers;
mod tasks;

use model::{Identity, SpanId, TraceId};

use crate::place::Thread;
use callers::{Callers, Nearest};
use tasks::Tasks;
pub(crate) use tasks::{Answer, Settled, Waiting};

/// Said of calls that no open request has claimed.
const UNCLAIMED: &str = "no open request was answered by the task that called";

/// A request that is being served.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) span_id: SpanId,
    pub(crate) trace_id: TraceId,
    pub(crate) head_sampled: bool,
    pub(crate) start_ns: u64,
}

/// What is known of a call's parent when it begins.
#[derive(Debug, Clone)]
pub(crate) enum Kin {
    /// It belongs to this request, which was read by the same thread.
    ByThread(Serving),
    /// The process serves no request that it could belong to.
    Root,
    /// It cannot be told.
    Unknown(&'static str),
    /// It will show when a response is sent in this context.
    Later(u64),
}

/// The requests that are being served, and the calls that wait to know theirs.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    callers: Callers,
    tasks: Tasks,
}

impl Requests {
    /// A request has begun, read by `caller`.
    pub(crate) fn begin(&mut self, caller: Thread, serving: Serving) {
        self.tasks.begin(caller.pid, serving.start_ns, serving.span_id);
        self.callers.begin(caller, serving);
    }

    /// A request is over. Gives the calls that can belong to none that is left.
    #[must_use]
    pub(crate) fn end(&mut self, caller: Thread, start_ns: u64, span_id: SpanId) -> Vec<Settled> {
        self.callers.end(caller, span_id);
        self.tasks.end(caller.pid, start_ns, span_id)
    }

    /// Whether the process serves no more than one request.
    pub(crate) fn is_alone(&self, pid: u32) -> bool {
        self.tasks.open_requests(pid) <= 1
    }

    /// What is known of the parent of a call that begins now.
    pub(crate) fn kin(&mut self, caller: Thread, start_ns: u64) -> Kin {
        let nearest = self.callers.nearest(caller, start_ns);
        match (caller.identity, nearest) {
            (_, Nearest::One(serving)) => Kin::ByThread(serving.clone()),
            // Requests that begin later cannot be its parent.
            _ if !self.tasks.may_belong(caller.pid, start_ns) => Kin::Root,
            (Identity::Unknown(blur), _) => Kin::Unknown(blur.as_str()),
            (Identity::Task(context), Nearest::None) => {
                self.tasks.call(caller.pid, start_ns);
                Kin::Later(context)
            }
            (_, Nearest::Several) => Kin::Unknown("several requests are open where it was made"),
            (Identity::Greenlet(_), Nearest::None) => Kin::Unknown("its greenlet reads no request"),
            (_, Nearest::None) => Kin::Unknown("no request is open on its thread"),
        }
    }

    /// A response has begun to be sent in a context. Gives the calls that waited for it.
    #[must_use]
    pub(crate) fn answer(&mut self, pid: u32, context: u64, answer: Answer) -> Vec<Settled> {
        self.tasks.answer(pid, context, answer)
    }

    /// The same request goes on being answered in the same context.
    #[must_use]
    pub(crate) fn go_on(&mut self, pid: u32, context: u64, span_id: SpanId, at_ns: u64) -> Vec<Settled> {
        self.tasks.go_on(pid, context, span_id, at_ns)
    }

    /// A call that was to be known later is over. `None`: it is kept until it is known.
    pub(crate) fn settle(&mut self, pid: u32, waiting: Waiting) -> Option<Settled> {
        self.tasks.settle(pid, waiting)
    }

    /// Gives up on calls that have waited too long, and forgets what is old.
    #[must_use]
    pub(crate) fn age(&mut self, now_ns: u64) -> Vec<Settled> {
        self.tasks.age(now_ns)
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
