//! Stretches of time, united. Invariant: they are in order and do not touch; the oldest of many are kept as a sum only.

use super::Moment;

/// Most stretches that are kept apart. What comes later than the youngest of the others no longer unites with those.
const MAX_APART: usize = 256;

/// A set of moments.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    apart: Vec<(Moment, Moment)>,
    folded_ns: u64,
    folded_ran_ns: u64,
    folded_until_ns: u64,
    /// Of some of what was folded it is not known.
    folded_blindly: bool,
}

/// What of a set lies between two moments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Within {
    pub(super) all_ns: u64,
    /// How long the thread ran in it, that of both moments.
    pub(super) ran_ns: Option<u64>,
}

impl Stretches {
    /// Adds the time between two moments.
    pub(super) fn add(&mut self, mut from: Moment, mut to: Moment) {
        if from.at_ns < self.folded_until_ns {
            from = Moment { at_ns: self.folded_until_ns, ran: None };
        }
        if from.at_ns >= to.at_ns {
            return;
        }
        let first = self.apart.partition_point(|(_, other)| other.at_ns < from.at_ns);
        let behind = self.apart.partition_point(|(other, _)| other.at_ns <= to.at_ns);
        let touched = self.apart.get(first..behind).unwrap_or_default();
        if let (Some((begin, _)), Some((_, end))) = (touched.first(), touched.last()) {
            from = if begin.at_ns <= from.at_ns { *begin } else { from };
            to = if end.at_ns >= to.at_ns { *end } else { to };
        }
        self.apart.splice(first..behind, [(from, to)]);
        if self.apart.len() > MAX_APART {
            for (from, to) in self.apart.drain(..MAX_APART / 2) {
                self.folded_ns += to.at_ns - from.at_ns;
                self.folded_until_ns = to.at_ns;
                match from.ran_until(to) {
                    Some(ran_ns) => self.folded_ran_ns += ran_ns,
                    None => self.folded_blindly = true,
                }
            }
        }
    }

    /// How much of it lies between two moments, which lie around all that was folded.
    pub(super) fn within(&self, from: Moment, to: Moment) -> Within {
        let mut within =
            Within { all_ns: self.folded_ns, ran_ns: (!self.folded_blindly).then_some(self.folded_ran_ns) };
        for (mut begin, mut end) in self.apart.iter().copied() {
            if begin.at_ns < from.at_ns {
                begin = from;
            }
            if end.at_ns > to.at_ns {
                end = to;
            }
            if begin.at_ns < end.at_ns {
                within.all_ns += end.at_ns - begin.at_ns;
                let is_its = begin.ran.map(|(tid, _)| tid) == from.ran.map(|(tid, _)| tid);
                let ran_ns = begin.ran_until(end).filter(|_| is_its);
                within.ran_ns = within.ran_ns.zip(ran_ns).map(|(sum, ran_ns)| sum + ran_ns);
            }
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A thread that runs every second nanosecond.
    fn moment(at_ns: u64) -> Moment {
        Moment { at_ns, ran: Some((1, at_ns / 2)) }
    }

    #[test]
    fn many_in_a_row_are_all_counted() {
        let mut stretches = Stretches::default();
        for number in 0..10_000 {
            stretches.add(moment(10 * number), moment(10 * number + 4));
        }
        let within = stretches.within(moment(0), moment(100_000));
        assert_eq!(within, Within { all_ns: 40_000, ran_ns: Some(20_000) });
        assert!(stretches.apart.len() <= MAX_APART);
    }

    #[test]
    fn what_another_thread_ran_is_not_known() {
        let other = |at_ns| Moment { at_ns, ran: Some((2, at_ns)) };
        for (from, to, ran_ns) in [
            (moment(10), moment(20), Some(5)),
            (other(10), other(20), None),
            (moment(10), other(20), None),
            (moment(10), Moment { at_ns: 20, ran: None }, None),
            (other(100), other(120), Some(0)),
        ] {
            let mut stretches = Stretches::default();
            stretches.add(from, to);
            assert_eq!(stretches.within(moment(0), moment(100)).ran_ns, ran_ns, "{from:?} {to:?}");
        }
    }

    proptest! {
        #[test]
        fn a_moment_counts_once(
            parts in prop::collection::vec((0_u64..200, 0_u64..40), 0..60),
            from_ns in 0_u64..100,
            length in 0_u64..200,
        ) {
            let mut stretches = Stretches::default();
            for (from, length) in &parts {
                stretches.add(moment(*from), moment(from + length));
            }
            let holds = |moment: &u64| parts.iter().any(|(from, length)| (*from..from + length).contains(moment));
            let expected = (from_ns..from_ns + length).filter(holds).count() as u64;
            let within = stretches.within(moment(from_ns), moment(from_ns + length));
            prop_assert_eq!(within.all_ns, expected);
            prop_assert!(within.ran_ns.is_some_and(|ran_ns| ran_ns <= expected));
            prop_assert!(stretches.apart.windows(2).all(|pair| pair[0].1.at_ns < pair[1].0.at_ns));
        }
    }
}
