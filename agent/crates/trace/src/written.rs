//! What was written for an event loop to send later, until it is sent.
//!
//! Invariant: who has written what is sent is told only if nobody else wrote there meanwhile, and if what they wrote before has
//! been sent: what one task does is told in the order in which it was done.

use model::{Blur, Identity};
use rustc_hash::FxHashMap;

use crate::place::Thread;

/// Most streams of one process in which something waits.
const MAX_STREAMS: usize = 1024;
/// A turn of a loop takes no longer: what waited longer was given up with its stream.
const TURN_NS: u64 = 60_000_000_000;

/// What waits in every process.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    processes: FxHashMap<u32, Waiting>,
}

/// What waits in one, by stream.
#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<Write>,
    /// When it was last too much.
    lost_ns: Option<u64>,
}

/// Who has written what waits in a stream, and when they did so first and last.
#[derive(Debug)]
struct Write {
    fd: i32,
    tid: u32,
    by: Identity,
    first_ns: u64,
    last_ns: u64,
}

impl Writes {
    /// A thread has written to a stream.
    pub(crate) fn note(&mut self, by: Thread, at_ns: u64, fd: i32) {
        let Waiting { writes, lost_ns } = self.processes.entry(by.pid).or_default();
        let fresh = Write { fd, tid: by.tid, by: by.identity, first_ns: at_ns, last_ns: at_ns };
        if let Some(write) = writes.iter_mut().find(|write| write.fd == fd) {
            if is_old(write.last_ns, at_ns) {
                *write = fresh;
                return;
            }
            if (write.tid, write.by) != (fresh.tid, fresh.by) {
                write.by = Identity::Unknown(Blur::Deferred);
            }
            write.last_ns = at_ns;
            return;
        }
        if writes.len() >= MAX_STREAMS {
            writes.clear();
            *lost_ns = Some(at_ns);
        }
        writes.push(fresh);
    }

    /// What waited in a stream is sent: who has written it, and when first and last.
    pub(crate) fn take(&mut self, sender: Thread, at_ns: u64, fd: i32) -> Option<(Identity, (u64, u64))> {
        let Waiting { writes, lost_ns } = self.processes.get_mut(&sender.pid)?;
        let sent = writes.swap_remove(writes.iter().position(|write| write.fd == fd)?);
        writes.retain(|write| !is_old(write.last_ns, at_ns));
        *lost_ns = lost_ns.filter(|lost_ns| !is_old(*lost_ns, at_ns));
        let mut in_order = true;
        for earlier in writes.iter_mut().filter(|write| write.by == sent.by && write.first_ns <= sent.last_ns)
        {
            earlier.by = Identity::Unknown(Blur::Deferred);
            in_order = false;
        }
        let is_told =
            in_order && lost_ns.is_none() && sent.tid == sender.tid && !is_old(sent.first_ns, at_ns);
        is_told.then_some((sent.by, (sent.first_ns, sent.last_ns)))
    }

    /// What a process has written is not known any more.
    pub(crate) fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }
}

fn is_old(at_ns: u64, now_ns: u64) -> bool {
    now_ns.saturating_sub(at_ns) >= TURN_NS
}

#[cfg(test)]
mod tests {
    use Identity::Task;
    use model::Timing;

    use super::*;

    const UNKNOWN: Identity = Identity::Unknown(Blur::Deferred);

    fn by(identity: Identity) -> Thread {
        Thread { pid: 1, tid: 2, identity, timing: Timing::default() }
    }

    /// Writes, by whom and where, then sends: who is told for each.
    fn told(writes: &[(Identity, i32)], sends: &[i32]) -> Vec<Option<Identity>> {
        let mut all = Writes::default();
        for (index, (identity, fd)) in writes.iter().enumerate() {
            all.note(by(*identity), 10 + index as u64, *fd);
        }
        sends.iter().map(|fd| all.take(by(UNKNOWN), 100, *fd).map(|(by, _)| by)).collect()
    }

    #[test]
    fn who_has_written_is_told_if_that_is_certain() {
        for (what, writes, sends, expected) in [
            (
                "two tasks, in any order",
                vec![(Task(1), 7), (Task(2), 8)],
                vec![8, 7],
                vec![Some(Task(2)), Some(Task(1))],
            ),
            ("sent twice", vec![(Task(1), 7)], vec![7, 7], vec![Some(Task(1)), None]),
            ("nothing was written", vec![(Task(1), 7)], vec![8], vec![None]),
            ("one task, twice", vec![(Task(1), 7), (Task(1), 7)], vec![7], vec![Some(Task(1))]),
            ("two tasks, one stream", vec![(Task(1), 7), (Task(2), 7)], vec![7], vec![Some(UNKNOWN)]),
            (
                "one task, in order",
                vec![(Task(1), 7), (Task(1), 8)],
                vec![7, 8],
                vec![Some(Task(1)), Some(Task(1))],
            ),
            ("one task, in another", vec![(Task(1), 7), (Task(1), 8)], vec![8, 7], vec![None, Some(UNKNOWN)]),
        ] {
            assert_eq!(told(&writes, &sends), expected, "{what}");
        }
    }

    #[test]
    fn nobody_else_is_told() {
        let mut writes = Writes::default();
        writes.note(by(Task(1)), 10, 7);
        assert_eq!(writes.take(Thread { tid: 3, ..by(UNKNOWN) }, 11, 7), None, "another thread");
        writes.note(by(Task(1)), 10, 7);
        assert_eq!(writes.take(by(UNKNOWN), 10 + TURN_NS, 7), None, "long ago");
        writes.note(by(Task(1)), 10, 7);
        writes.note(by(Task(2)), 10 + TURN_NS, 7);
        assert_eq!(
            writes.take(by(UNKNOWN), 11 + TURN_NS, 7),
            Some((Task(2), (10 + TURN_NS, 10 + TURN_NS))),
            "of a stream before"
        );
        writes.note(by(Task(1)), 10, 7);
        writes.note(by(Task(1)), 12, 7);
        assert_eq!(
            writes.take(by(UNKNOWN), 13, 7),
            Some((Task(1), (10, 12))),
            "it may be another at one address"
        );
        writes.note(by(Task(1)), 10, 7);
        writes.forget(1);
        assert_eq!(writes.take(by(UNKNOWN), 11, 7), None, "forgotten");
        let most = i32::try_from(MAX_STREAMS).unwrap();
        for fd in 0..=most {
            writes.note(by(Task(1)), 10, fd);
        }
        assert_eq!(writes.take(by(UNKNOWN), 11, most), None, "too much at once");
        writes.note(by(Task(1)), 10 + TURN_NS, 7);
        assert!(writes.take(by(UNKNOWN), 10 + TURN_NS, 7).is_some(), "long after");
    }
}
