//! When a probe that costs something is in a process.
//!
//! Invariant: traffic that does not need it does not pay for it unless the user asks for that, and never more than the
//! guard lets.

use crate::config::When;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// How long hits go uncounted: asking for their number takes a system call.
const UNCOUNTED_NS: u64 = 100_000_000;

/// A probe that is of no use is there for one part in seventeen of the time at last.
const MAX_DOUBLINGS: u32 = 4;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When to be there.
    pub when: When,
    /// After so long without being of use the probe leaves, and after a dear time it stays away so long.
    pub quiet_ns: u64,
    /// More hits in a second are too dear.
    pub max_hits_per_s: u64,
}

impl Terms {
    /// How long the probe stays away that was of no use, so many times in a row: each time for twice as long.
    pub fn rest_ns(&self, times: u32) -> u64 {
        self.quiet_ns.saturating_mul(1 << times.saturating_sub(1).min(MAX_DOUBLINGS))
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put the probe in place.
    Attach,
    /// Take it off: it was of no use for long.
    Quiet,
    /// Take it off: so many hits in a second are too dear.
    Dear {
        /// So many.
        hits_per_s: u64,
    },
}

/// The state of one process.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    terms: Terms,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Away { wanted: bool },
    There { used_ns: u64, looked_ns: u64, counted_ns: u64, hits: u64 },
    Banned { until_ns: u64 },
}

impl Policy {
    /// A process that is just known.
    pub fn new(terms: Terms) -> Self {
        Self { terms, state: State::Away { wanted: terms.when == When::Always } }
    }

    /// A process that is to show first that it needs the probe at all.
    pub fn later(terms: Terms) -> Self {
        Self { terms, state: State::Away { wanted: false } }
    }

    /// Something has happened of which only the probe can tell more.
    pub fn need(&mut self) {
        if let State::Away { wanted } = &mut self.state {
            *wanted |= self.terms.when != When::Off;
        }
    }

    /// The probe was of use, if it was there.
    pub fn use_at(&mut self, now_ns: u64) {
        if let State::There { used_ns, .. } = &mut self.state {
            *used_ns = now_ns;
        }
    }

    /// The probe is to stay away for a while: it was of no use at all, so many times in a row.
    pub fn rest(&mut self, now_ns: u64, times: u32) {
        self.state = State::Banned { until_ns: now_ns.saturating_add(self.terms.rest_ns(times)) };
    }

    /// The probe cannot be put in place.
    pub fn refused(&mut self) {
        self.state = State::Banned { until_ns: u64::MAX };
    }

    /// Looks what to do. `hits`: of the probe in this process so far.
    pub fn look(&mut self, now_ns: u64, hits: impl Fn() -> u64) -> Option<Step> {
        match self.state {
            State::Away { wanted: false } => None,
            State::Away { wanted: true } => {
                self.state =
                    State::There { used_ns: now_ns, looked_ns: now_ns, counted_ns: now_ns, hits: hits() };
                Some(Step::Attach)
            }
            State::Banned { until_ns } => {
                if now_ns >= until_ns {
                    *self = Self::new(self.terms);
                }
                None
            }
            State::There { counted_ns, .. } if now_ns.saturating_sub(counted_ns) < UNCOUNTED_NS => None,
            State::There { used_ns, looked_ns, hits: before, .. } => {
                let passed_ns = now_ns.saturating_sub(looked_ns);
                let hits = hits();
                let more = hits.saturating_sub(before);
                // What is too much for a second already need not be borne to its end.
                let within_ns = passed_ns.max(SECOND_NS);
                if u128::from(more) * u128::from(SECOND_NS)
                    > u128::from(self.terms.max_hits_per_s) * u128::from(within_ns)
                {
                    let hits_per_s = u128::from(more) * u128::from(SECOND_NS) / u128::from(passed_ns.max(1));
                    self.state = State::Banned { until_ns: now_ns.saturating_add(self.terms.quiet_ns) };
                    return Some(Step::Dear { hits_per_s: hits_per_s.try_into().unwrap_or(u64::MAX) });
                }
                if passed_ns < SECOND_NS {
                    self.state = State::There { used_ns, looked_ns, counted_ns: now_ns, hits: before };
                    return None;
                }
                let quiet_ns = now_ns.saturating_sub(used_ns);
                if self.terms.when == When::Auto && quiet_ns >= self.terms.quiet_ns {
                    self.state = State::Away { wanted: false };
                    return Some(Step::Quiet);
                }
                self.state = State::There { used_ns, looked_ns: now_ns, counted_ns: now_ns, hits };
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_NS;

    fn policy(when: When) -> Policy {
        Policy::new(Terms { when, quiet_ns: 600 * S, max_hits_per_s: 1000 })
    }

    #[test]
    fn it_comes_when_it_is_needed() {
        let mut auto = policy(When::Auto);
        assert_eq!(auto.look(S, || 0), None);
        auto.use_at(2 * S);
        assert_eq!(auto.look(2 * S, || 0), None);
        auto.need();
        assert_eq!(auto.look(3 * S, || 0), Some(Step::Attach));
        assert_eq!(auto.look(3 * S, || 0), None);
        let mut off = policy(When::Off);
        off.need();
        assert_eq!(off.look(2 * S, || 0), None);
        assert_eq!(policy(When::Always).look(0, || 0), Some(Step::Attach));
        let mut later = Policy::later(policy(When::Always).terms);
        assert_eq!(later.look(0, || 0), None);
        later.need();
        assert_eq!(later.look(0, || 0), Some(Step::Attach));
    }

    #[test]
    fn it_leaves_after_a_quiet_time() {
        let mut auto = policy(When::Auto);
        auto.need();
        assert_eq!(auto.look(0, || 0), Some(Step::Attach));
        auto.use_at(300 * S);
        assert_eq!(auto.look(899 * S, || 0), None);
        assert_eq!(auto.look(900 * S, || 0), Some(Step::Quiet));
        auto.need();
        assert_eq!(auto.look(901 * S, || 0), Some(Step::Attach));
        let mut always = policy(When::Always);
        assert_eq!(always.look(0, || 0), Some(Step::Attach));
        assert_eq!(always.look(10_000 * S, || 0), None);
    }

    #[test]
    fn what_was_of_no_use_rests() {
        let mut auto = policy(When::Auto);
        auto.need();
        assert_eq!(auto.look(0, || 0), Some(Step::Attach));
        assert_eq!(auto.look(600 * S, || 0), Some(Step::Quiet));
        auto.rest(600 * S, 1);
        auto.need();
        assert_eq!(auto.look(601 * S, || 0), None);
        assert_eq!(auto.look(1200 * S, || 0), None);
        auto.need();
        assert_eq!(auto.look(1201 * S, || 0), Some(Step::Attach));
    }

    #[test]
    fn what_was_of_no_use_again_and_again_rests_longer() {
        for (times, rest_s) in
            [(0, 600), (1, 600), (2, 1200), (3, 2400), (5, 9600), (6, 9600), (u32::MAX, 9600)]
        {
            let mut auto = policy(When::Auto);
            auto.rest(S, times);
            auto.need();
            assert_eq!(auto.look(rest_s * S, || 0), None, "{times}");
            auto.need();
            assert_eq!(auto.look((rest_s + 1) * S, || 0), None, "{times}: its time is over");
            auto.need();
            assert_eq!(auto.look((rest_s + 1) * S, || 0), Some(Step::Attach), "{times}");
        }
    }

    #[test]
    fn it_does_not_wait_for_the_end_of_a_second_that_is_too_dear_already() {
        let mut policy = policy(When::Always);
        assert_eq!(policy.look(0, || 500), Some(Step::Attach));
        assert_eq!(policy.look(S / 11, || 9999), None, "it was counted a moment ago");
        assert_eq!(policy.look(S / 10, || 1500), None);
        assert_eq!(policy.look(S / 5, || 1501), Some(Step::Dear { hits_per_s: 5005 }));
        assert_eq!(policy.look(S, || 1501), None);
    }

    #[test]
    fn it_is_taken_off_where_it_is_dear() {
        for when in [When::Auto, When::Always] {
            let mut policy = policy(when);
            policy.need();
            assert_eq!(policy.look(0, || 0), Some(Step::Attach));
            assert_eq!(policy.look(S, || 1000), None);
            assert_eq!(policy.look(S + S / 2, || 2000), None);
            assert_eq!(policy.look(3 * S, || 5000), Some(Step::Dear { hits_per_s: 2000 }));
            policy.need();
            assert_eq!(policy.look(500 * S, || 9000), None);
            // Its time is over: everything begins anew.
            assert_eq!(policy.look(603 * S, || 9000), None);
            policy.need();
            assert_eq!(policy.look(604 * S, || 9000), Some(Step::Attach));
        }
    }
}
