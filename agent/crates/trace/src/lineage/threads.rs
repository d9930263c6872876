//! Threads that requests have started.
//!
//! Invariant: what a thread calls is a request's only if the thread was started for that, and if it has ended by the time the
//! request is over, or soon after: a thread of a pool that others use too goes on. What it runs must not say otherwise.

use model::{Blur, Identity};
use rustc_hash::FxHashMap;

use super::ancestry::Step;
use super::calls::{Parent, Question};
use super::family::{Family, Known};
use super::tasks::Settled;
use super::{Request, Serving};
use crate::place::Thread;

/// Most of one process that are remembered, and through how many others one may have been started.
const MAX_THREADS: usize = 4096;
const MAX_THROUGH: usize = 8;
/// How long a thread that was waited for may still be seen: it says that it is through, and then ends.
pub(super) const GRACE_NS: u64 = 100_000_000;

/// Said of calls of a thread that goes on after what it was started for.
const OVER: &str = "the request that its thread was started for was over";
pub(super) const GOES_ON: &str =
    "its thread went on after the request that has started it, and may work for others";

/// For whom a thread was started.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// For this request: it was served, and no other, where the thread was started.
    Request(Serving),
    /// For whom one of these was done: that is not known yet.
    Steps(Vec<Step>, &'static str),
}

/// What has started a thread.
#[derive(Debug, Clone)]
pub(super) struct Starter {
    pub(super) origin: Origin,
    /// A task has started it, or the first of those below: as tasks have pools run what others hand to them, in contexts of theirs.
    pub(super) by_task: bool,
    /// Threads that were themselves started for that, one by the other.
    pub(super) through: Vec<u32>,
}

/// Those of one process.
#[derive(Debug, Default)]
pub(super) struct Threads {
    started: FxHashMap<u32, (u64, Starter)>,
}

impl Threads {
    /// A thread was started. `None`: by nobody of whom it would be worth knowing.
    pub(super) fn start(&mut self, child: u32, at_ns: u64, starter: Option<Starter>) {
        // What had its number before is gone.
        self.started.remove(&child);
        let starter = starter.filter(|starter| starter.through.len() < MAX_THROUGH);
        if let Some(mut starter) = starter.filter(|_| self.started.len() < MAX_THREADS) {
            starter.through.push(child);
            self.started.insert(child, (at_ns, starter));
        }
    }

    /// A thread has ended: those that it has started do not depend on it any more.
    pub(super) fn end(&mut self, tid: u32) {
        self.started.remove(&tid);
        for (_, starter) in self.started.values_mut() {
            starter.through.retain(|other| *other != tid);
        }
    }

    fn find(&self, tid: u32) -> Option<&Starter> {
        self.started.get(&tid).map(|(_, starter)| starter)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.started.is_empty()
    }

    /// Forgets what was started before, for what is over.
    pub(super) fn age(&mut self, until_ns: u64, is_open: impl Fn(Request) -> bool) {
        self.started.retain(|_, (at_ns, starter)| match &starter.origin {
            _ if *at_ns >= until_ns => true,
            Origin::Request(serving) => is_open(serving.request()),
            Origin::Steps(..) => false,
        });
        self.started.shrink_to(2 * self.started.len());
    }
}

impl Family {
    /// What starts a thread where no request was read. `None`: nothing that would tell whose the thread's calls are.
    pub(super) fn starter(&self, thread: Thread, at_ns: u64) -> Option<Starter> {
        let own = self.threads.find(thread.tid);
        let origin = match thread.identity {
            Identity::Task(context) | Identity::Greenlet(context) => {
                match (self.known((context, thread.tid), at_ns), own.filter(|own| !own.by_task)) {
                    (Known::Parent(Ok(serving)), _) => Origin::Request(serving),
                    (_, Some(own)) => return Some(own.clone()),
                    (Known::Parent(Err(_)), None) => return None,
                    (Known::Later(steps, otherwise), None) => Origin::Steps(steps, otherwise),
                }
            }
            Identity::Thread | Identity::Base(_) | Identity::Unknown(Blur::Loop | Blur::Unseen) => {
                return own.cloned();
            }
            Identity::Unknown(_) => return None,
        };
        Some(Starter { origin, by_task: true, through: Vec::new() })
    }

    /// Whose a call of a task or greenlet is, or what would tell: also the thread that it runs on, if a request has started that
    /// for itself.
    pub(super) fn known_on_thread(&self, (context, tid): (u64, u32), at_ns: u64) -> Result<Parent, Question> {
        let (question, is_told) = match self.known((context, tid), at_ns) {
            Known::Parent(Ok(serving)) => return Ok(Ok(serving)),
            Known::Parent(Err(reason)) => (Question::new(Vec::new(), reason), true),
            Known::Later(steps, otherwise) => (Question::new(steps, otherwise), false),
        };
        let is_own = self.threads.find(tid).is_some_and(|starter| !starter.by_task);
        match self.ask_of_thread(tid).filter(|_| is_own) {
            Some(Ok(Question { threads, serving: serving @ Some(_), .. })) => {
                Err(Question { threads, serving, ..question })
            }
            _ if is_told => Ok(Err(question.otherwise)),
            _ => Err(question),
        }
    }

    /// A thread is gone. Gives the calls that are known by that.
    pub(super) fn end_thread(&mut self, tid: u32) -> Vec<Settled> {
        self.threads.end(tid);
        self.calls.end_thread(tid)
    }

    /// What would tell whose a thread's calls are. `None`: nobody has started it for anything that is known of.
    pub(super) fn ask_of_thread(&self, tid: u32) -> Option<Result<Question, &'static str>> {
        let Starter { origin, through, .. } = self.threads.find(tid)?;
        let for_request = |serving: &Serving| {
            let serving = Some(serving.clone())
                .filter(|serving| self.open.contains_key(&serving.request()))
                .ok_or(OVER)?;
            let (threads, serving) = (through.clone(), Some(serving));
            Ok(Question { steps: Vec::new(), threads, serving, otherwise: GOES_ON })
        };
        Some(match origin {
            Origin::Request(serving) => for_request(serving),
            Origin::Steps(steps, otherwise) => match steps.iter().find_map(|step| self.owner_of(*step)) {
                Some(parent) => parent.and_then(|serving| for_request(&serving)),
                None => Ok(Question { threads: through.clone(), ..Question::new(steps.clone(), otherwise) }),
            },
        })
    }

    /// Whether calls are a request's only if threads end.
    pub(super) fn depends_on_threads(&self, request: Request) -> bool {
        self.calls.depend_on_threads(request)
    }

    /// Gives up on a request's calls whose threads have not ended with it.
    pub(super) fn outlive(&mut self, request: Request) -> Vec<Settled> {
        let oldest_ns = self.oldest_ns();
        self.calls.outlive(request, |call| oldest_ns.is_none_or(|oldest_ns| call.start_ns < oldest_ns))
    }
}

#[cfg(test)]
mod tests {
    use model::{SpanId, TraceId};

    use super::*;

    fn starter() -> Starter {
        let (span_id, trace_id) = (SpanId(7), TraceId::from_u128(1));
        let serving = Serving { span_id, trace_id, head_sampled: false, start_ns: 10 };
        Starter { origin: Origin::Request(serving), by_task: false, through: Vec::new() }
    }

    fn through(threads: &Threads, tid: u32) -> Option<&[u32]> {
        threads.find(tid).map(|starter| starter.through.as_slice())
    }

    #[test]
    fn a_thread_is_its_starter_s_through_others() {
        let mut threads = Threads::default();
        threads.start(5, 20, Some(starter()));
        threads.start(6, 30, threads.find(5).cloned());
        threads.start(8, 30, threads.find(99).cloned());
        assert_eq!([5, 6, 8].map(|tid| through(&threads, tid)), [Some(&[5][..]), Some(&[5, 6]), None]);
        threads.start(6, 40, None);
        assert_eq!(through(&threads, 6), None, "the number is another's");
        threads.start(6, 50, threads.find(5).cloned());
        threads.end(5);
        assert_eq!([5, 6].map(|tid| through(&threads, tid)), [None, Some(&[6][..])]);
    }

    #[test]
    fn they_are_bounded() {
        let mut threads = Threads::default();
        for tid in 0..2 * MAX_THREADS as u32 {
            threads.start(tid, 20, Some(starter()));
        }
        assert_eq!(threads.started.len(), MAX_THREADS);
        for tid in 0..20 {
            threads.start(tid + 1, 20, threads.find(tid).cloned());
        }
        assert_eq!([7, 8].map(|tid| through(&threads, tid).map(<[u32]>::len)), [Some(MAX_THROUGH), None]);
        threads.age(21, |_| true);
        assert!(!threads.is_empty());
        threads.age(21, |_| false);
        assert!(threads.is_empty());
    }
}
