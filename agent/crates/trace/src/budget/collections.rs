//! When processes collected garbage.
//!
//! Invariants: what may have been missed is not known; how much is remembered is bounded.

use std::collections::VecDeque;
use std::ops::Range;

use rustc_hash::FxHashMap;

/// Most collections of one process that are remembered.
const MAX_PAUSES: usize = 4096;

/// By process.
#[derive(Debug, Default)]
pub(super) struct Collections {
    processes: FxHashMap<u32, Pauses>,
}

#[derive(Debug)]
struct Pauses {
    /// All that ended later are known.
    since_ns: u64,
    number: Option<u64>,
    /// One after the other.
    past: VecDeque<Pause>,
    total_ns: u64,
}

#[derive(Debug)]
struct Pause {
    time_ns: Range<u64>,
    /// How long those before took together.
    before_ns: u64,
}

impl Collections {
    /// Collections are told from some time on, or not any more.
    pub(super) fn see(&mut self, pid: u32, since_ns: Option<u64>) {
        match since_ns {
            Some(since_ns) => {
                let pauses = Pauses { since_ns, number: None, past: VecDeque::new(), total_ns: 0 };
                self.processes.insert(pid, pauses);
            }
            None => drop(self.processes.remove(&pid)),
        }
    }

    /// One has ended. `number`: counts those of the process.
    pub(super) fn add(&mut self, pid: u32, (begun_ns, ended_ns): (u64, u64), number: u64) {
        let Some(known) = self.processes.get_mut(&pid) else { return };
        if known.number.is_some_and(|last| number != last.wrapping_add(1)) {
            // Some before it were not told.
            known.since_ns = begun_ns;
            known.past.clear();
        }
        known.number = Some(number);
        let begun_ns = begun_ns.max(known.past.back().map_or(0, |last| last.time_ns.end)).min(ended_ns);
        if known.past.len() >= MAX_PAUSES
            && let Some(first) = known.past.pop_front()
        {
            known.since_ns = known.since_ns.max(first.time_ns.end);
        }
        known.past.push_back(Pause { time_ns: begun_ns..ended_ns, before_ns: known.total_ns });
        known.total_ns = known.total_ns.saturating_add(ended_ns - begun_ns);
    }

    /// How long a process collected within some time, as far as that had ended. `None`: not known.
    pub(super) fn within(&self, pid: u32, from_ns: u64, until_ns: u64) -> Option<u64> {
        let known = self.processes.get(&pid).filter(|known| known.since_ns <= from_ns)?;
        let collected_until = |at_ns: u64| {
            let next = known.past.partition_point(|pause| pause.time_ns.end <= at_ns);
            known
                .past
                .get(next)
                .map_or(known.total_ns, |pause| pause.before_ns + at_ns.saturating_sub(pause.time_ns.start))
        };
        Some(collected_until(until_ns).saturating_sub(collected_until(from_ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_into_a_time_is_counted_and_no_more() {
        let mut collections = Collections::default();
        collections.add(1, (5, 7), 1);
        assert_eq!(collections.within(1, 0, 9), None, "they are not seen");
        collections.see(1, Some(10));
        collections.add(1, (12, 15), 4);
        collections.add(1, (20, 30), 5);
        for (from_ns, until_ns, want) in [
            (9, 40, None),
            (10, 40, Some(13)),
            (10, 11, Some(0)),
            (13, 25, Some(7)),
            (15, 20, Some(0)),
            (22, 24, Some(2)),
            (30, 50, Some(0)),
        ] {
            assert_eq!(collections.within(1, from_ns, until_ns), want, "{from_ns} to {until_ns}");
        }
        assert_eq!(collections.within(2, 10, 40), None, "another process");
        // The sixth is missing.
        collections.add(1, (50, 51), 7);
        assert_eq!(collections.within(1, 30, 60), None);
        assert_eq!(collections.within(1, 50, 60), Some(1));
        collections.see(1, None);
        assert_eq!(collections.within(1, 50, 60), None);
    }

    #[test]
    fn what_is_forgotten_is_not_known() {
        let mut collections = Collections::default();
        collections.see(1, Some(0));
        for number in 0..=MAX_PAUSES as u64 {
            collections.add(1, (10 * number + 1, 10 * number + 3), number);
        }
        assert_eq!(collections.within(1, 0, u64::MAX), None);
        assert_eq!(collections.within(1, 3, u64::MAX), Some(2 * MAX_PAUSES as u64));
    }
}
