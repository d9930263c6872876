//! Requests by the thread or greenlet that read their first byte. Invariant: of several, none is the nearest.

use model::{Identity, SpanId};
use rustc_hash::FxHashMap;

use super::Serving;
use crate::place::Thread;

/// A request, and the context it was read in where threads and greenlets have one; 0: none.
#[derive(Debug)]
struct Read {
    serving: Serving,
    context: u64,
}

/// Requests that are open where a call is made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nearest<'a> {
    None,
    One(&'a Serving),
    Several,
}

/// The requests that are open.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// By process and thread.
    open: FxHashMap<(u32, u32), Vec<Read>>,
}

impl Callers {
    pub(super) fn begin(&mut self, caller: Thread, serving: Serving) {
        if let Some((reader, context)) = reader(caller) {
            self.open.entry(reader).or_default().push(Read { serving, context });
        }
    }

    pub(super) fn end(&mut self, caller: Thread, span_id: SpanId) {
        let Some((reader, _)) = reader(caller) else { return };
        if let Some(open) = self.open.get_mut(&reader) {
            open.retain(|read| read.serving.span_id != span_id);
            if open.is_empty() {
                self.open.remove(&reader);
            }
        }
    }

    /// The request that was read where a call begins.
    pub(super) fn nearest(&self, caller: Thread, start_ns: u64) -> Nearest<'_> {
        let Some((reader, context)) = reader(caller) else { return Nearest::None };
        let Some(open) = self.open.get(&reader) else { return Nearest::None };
        let same = || open.iter().filter(|read| read.context == context);
        let found = match caller.identity {
            // A thread has no context until it needs one; if it has no other request, it was the same.
            Identity::Thread | Identity::Base(_) if same().next().is_none() || context == 0 => {
                match open.as_slice() {
                    [only] if only.context == 0 || context == 0 => Nearest::One(&only.serving),
                    [] | [_] => Nearest::None,
                    [..] => Nearest::Several,
                }
            }
            _ => match (same().next(), same().nth(1)) {
                (None, _) => Nearest::None,
                (Some(only), None) => Nearest::One(&only.serving),
                (Some(_), Some(_)) => Nearest::Several,
            },
        };
        match found {
            Nearest::One(serving) if serving.start_ns > start_ns => Nearest::None,
            found => found,
        }
    }
}

/// The thread that reads, and the context it reads in. `None`: what reads need not be what serves.
fn reader(caller: Thread) -> Option<((u32, u32), u64)> {
    let thread = (caller.pid, caller.tid);
    match caller.identity {
        Identity::Thread => Some((thread, 0)),
        Identity::Base(context) | Identity::Greenlet(context) => Some((thread, context)),
        Identity::Task(_) | Identity::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use Identity::{Base, Greenlet, Task};
    use model::{Blur, TraceId};

    use super::*;

    fn serving(id: u64) -> Serving {
        Serving { span_id: SpanId(id), trace_id: TraceId::from_u128(1), head_sampled: false, start_ns: 10 }
    }

    fn by(identity: Identity) -> Thread {
        Thread { pid: 1, tid: 2, identity, timing: model::Timing::default() }
    }

    fn nearest(callers: &Callers, identity: Identity) -> String {
        match callers.nearest(by(identity), 11) {
            Nearest::None => "none".to_owned(),
            Nearest::One(serving) => serving.span_id.0.to_string(),
            Nearest::Several => "several".to_owned(),
        }
    }

    #[test]
    fn only_one_is_the_nearest() {
        let mut callers = Callers::default();
        assert_eq!(nearest(&callers, Identity::Thread), "none");
        callers.begin(by(Identity::Thread), serving(5));
        assert_eq!(nearest(&callers, Identity::Thread), "5");
        assert!(matches!(callers.nearest(by(Identity::Thread), 9), Nearest::None));
        callers.begin(by(Identity::Thread), serving(6));
        assert_eq!(nearest(&callers, Identity::Thread), "several");
        callers.end(by(Identity::Thread), SpanId(5));
        assert_eq!(nearest(&callers, Identity::Thread), "6");
        callers.end(by(Identity::Thread), SpanId(6));
        assert!(callers.open.is_empty());
    }

    #[test]
    fn a_context_tells_greenlets_and_tasks_apart() {
        for (read, calls) in [
            // A thread gets its context while it serves its first request.
            (vec![Base(0)], vec![(Base(0), "0"), (Base(7), "0"), (Identity::Thread, "0")]),
            (vec![Identity::Thread], vec![(Base(7), "0")]),
            (vec![Base(7)], vec![(Base(7), "0"), (Base(8), "none"), (Identity::Thread, "0")]),
            (vec![Base(7), Base(8)], vec![(Base(7), "0"), (Base(8), "1"), (Base(0), "several")]),
            (
                vec![Greenlet(7), Greenlet(8)],
                vec![(Greenlet(7), "0"), (Greenlet(8), "1"), (Greenlet(9), "none")],
            ),
            (vec![Greenlet(7)], vec![(Greenlet(9), "none"), (Identity::Unknown(Blur::Greenlet), "none")]),
            (vec![Greenlet(7), Greenlet(7)], vec![(Greenlet(7), "several")]),
            (vec![Task(7), Task(8)], vec![(Task(7), "none"), (Base(7), "none")]),
            (vec![Identity::Unknown(Blur::Loop)], vec![(Identity::Unknown(Blur::Loop), "none")]),
        ] {
            let mut callers = Callers::default();
            for (id, identity) in read.iter().enumerate() {
                callers.begin(by(*identity), serving(id as u64));
            }
            for (identity, want) in calls {
                assert_eq!(nearest(&callers, identity), want, "{read:?}, then {identity:?}");
            }
        }
    }
}
