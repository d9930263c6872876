//! When the probe of exceptions is in a process.
//!
//! Invariant: healthy traffic does not pay for it unless the user asks for that, and never more than the guard lets.

use crate::config::Errors;

const SECOND_NS: u64 = 1_000_000_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When to be there.
    pub errors: Errors,
    /// After so long without a failed request the probe leaves, and after a dear time it stays away so long.
    pub quiet_ns: u64,
    /// More hits in a second are too dear.
    pub max_hits_per_s: u64,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put the probe in place.
    Attach,
    /// Take it off: no request has failed for long.
    Quiet,
    /// Take it off: so many exceptions in a second are too dear.
    Dear {
        /// Frames that exceptions left.
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
    There { failed_ns: u64, looked_ns: u64, hits: u64 },
    Banned { until_ns: u64 },
}

impl Policy {
    /// A process that is just known.
    pub fn new(terms: Terms) -> Self {
        Self { terms, state: State::Away { wanted: terms.errors == Errors::Always } }
    }

    /// A request has failed. `told`: what was raised is known.
    pub fn failed(&mut self, now_ns: u64, told: bool) {
        match &mut self.state {
            State::Away { wanted } => *wanted |= self.terms.errors == Errors::Auto && !told,
            State::There { failed_ns, .. } => *failed_ns = now_ns,
            State::Banned { .. } => {}
        }
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
                self.state = State::There { failed_ns: now_ns, looked_ns: now_ns, hits: hits() };
                Some(Step::Attach)
            }
            State::Banned { until_ns } => {
                if now_ns >= until_ns {
                    *self = Self::new(self.terms);
                }
                None
            }
            State::There { failed_ns, looked_ns, hits: before } => {
                let passed_ns = now_ns.saturating_sub(looked_ns);
                if passed_ns < SECOND_NS {
                    return None;
                }
                let hits = hits();
                let hits_per_s =
                    u128::from(hits.saturating_sub(before)) * u128::from(SECOND_NS) / u128::from(passed_ns);
                let hits_per_s = hits_per_s as u64;
                if hits_per_s > self.terms.max_hits_per_s {
                    self.state = State::Banned { until_ns: now_ns.saturating_add(self.terms.quiet_ns) };
                    return Some(Step::Dear { hits_per_s });
                }
                let quiet_ns = now_ns.saturating_sub(failed_ns);
                if self.terms.errors == Errors::Auto && quiet_ns >= self.terms.quiet_ns {
                    self.state = State::Away { wanted: false };
                    return Some(Step::Quiet);
                }
                self.state = State::There { failed_ns, looked_ns: now_ns, hits };
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_NS;

    fn policy(errors: Errors) -> Policy {
        Policy::new(Terms { errors, quiet_ns: 600 * S, max_hits_per_s: 1000 })
    }

    #[test]
    fn it_comes_with_the_first_failure_that_nothing_else_explains() {
        let mut auto = policy(Errors::Auto);
        assert_eq!(auto.look(S, || 0), None);
        auto.failed(2 * S, true);
        assert_eq!(auto.look(2 * S, || 0), None);
        auto.failed(3 * S, false);
        assert_eq!(auto.look(3 * S, || 0), Some(Step::Attach));
        assert_eq!(auto.look(3 * S, || 0), None);
        let mut off = policy(Errors::Off);
        off.failed(S, false);
        assert_eq!(off.look(2 * S, || 0), None);
        assert_eq!(policy(Errors::Always).look(0, || 0), Some(Step::Attach));
    }

    #[test]
    fn it_leaves_after_a_quiet_time() {
        let mut auto = policy(Errors::Auto);
        auto.failed(0, false);
        assert_eq!(auto.look(0, || 0), Some(Step::Attach));
        auto.failed(300 * S, true);
        assert_eq!(auto.look(899 * S, || 0), None);
        assert_eq!(auto.look(900 * S, || 0), Some(Step::Quiet));
        auto.failed(901 * S, false);
        assert_eq!(auto.look(901 * S, || 0), Some(Step::Attach));
        let mut always = policy(Errors::Always);
        assert_eq!(always.look(0, || 0), Some(Step::Attach));
        assert_eq!(always.look(10_000 * S, || 0), None);
    }

    #[test]
    fn it_is_taken_off_where_it_is_dear() {
        for errors in [Errors::Auto, Errors::Always] {
            let mut policy = policy(errors);
            policy.failed(0, false);
            assert_eq!(policy.look(0, || 0), Some(Step::Attach));
            assert_eq!(policy.look(S, || 1000), None);
            assert_eq!(policy.look(S + S / 2, || 9000), None);
            assert_eq!(policy.look(3 * S, || 5000), Some(Step::Dear { hits_per_s: 2000 }));
            policy.failed(4 * S, false);
            assert_eq!(policy.look(500 * S, || 9000), None);
            // Its time is over: everything begins anew.
            assert_eq!(policy.look(603 * S, || 9000), None);
            policy.failed(604 * S, false);
            assert_eq!(policy.look(604 * S, || 9000), Some(Step::Attach));
        }
    }
}
