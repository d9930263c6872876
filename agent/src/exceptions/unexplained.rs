//! Failures that no exception explains: a service that answers 503 while it starts, or to who asks too often, is well.
//!
//! Invariant: a kind of failure of which the probe has told nothing, several times in a row, keeps it in no process, and
//! brings it again after longer and longer times only.

use rustc_hash::FxHashMap;

use crate::pipeline::Failure;
use crate::policy::Terms;

/// A kind is of this sort once the probe has looked at so many in a row in vain.
const LOOKS: u32 = 3;
/// Most kinds of a process; of the others only the status counts.
const MAX_KINDS: usize = 256;

/// The kinds of failures of a process that were not explained when they came last.
#[derive(Debug, Default)]
pub(super) struct Unexplained {
    kinds: FxHashMap<Failure, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    /// How many in a row were looked at in vain.
    looked_at: u32,
    /// How often the probe has left in spite of it.
    rests: u32,
    /// Until then it does not bring the probe.
    until_ns: u64,
}

impl Unexplained {
    /// An exception explains this one.
    pub(super) fn explained(&mut self, failure: &Failure) {
        self.kinds.remove(&self.key(failure));
    }

    /// Nothing does, while the probe was looking or not. Gives whether the probe is to come, or to stay.
    pub(super) fn calls(&mut self, failure: &Failure, looking: bool, now_ns: u64) -> bool {
        let kind = self.kinds.entry(self.key(failure)).or_default();
        if now_ns < kind.until_ns {
            return false;
        }
        if looking {
            kind.looked_at = kind.looked_at.saturating_add(1);
        }
        kind.looked_at < LOOKS
    }

    /// The probe leaves: what it has looked at in vain does not bring it for a while, longer each time. Then one more look
    /// is enough.
    pub(super) fn rest(&mut self, terms: &Terms, now_ns: u64) {
        for kind in self.kinds.values_mut().filter(|kind| kind.looked_at >= LOOKS) {
            kind.rests = kind.rests.saturating_add(1);
            kind.until_ns = now_ns.saturating_add(terms.rest_ns(kind.rests));
            kind.looked_at = LOOKS - 1;
        }
    }

    fn key(&self, failure: &Failure) -> Failure {
        if self.kinds.len() < MAX_KINDS || self.kinds.contains_key(failure) {
            failure.clone()
        } else {
            Failure { name: "".into(), status: failure.status }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::When;

    const S: u64 = 1_000_000_000;
    const TERMS: Terms = Terms { when: When::Auto, quiet_ns: 600 * S, max_hits_per_s: 1000 };

    fn failure(name: &str, status: u16) -> Failure {
        Failure { name: name.into(), status: Some(status) }
    }

    #[test]
    fn what_is_looked_at_in_vain_keeps_no_probe() {
        let mut kinds = Unexplained::default();
        let (ready, other) = (failure("GET /ready", 503), failure("GET /items", 500));
        assert!(kinds.calls(&ready, false, S) && kinds.calls(&ready, false, S), "nobody has looked");
        assert!(kinds.calls(&ready, true, 2 * S) && kinds.calls(&ready, true, 3 * S));
        assert!(!kinds.calls(&ready, true, 4 * S) && !kinds.calls(&ready, true, 5 * S));
        assert!(kinds.calls(&other, true, 5 * S), "of another route");
        assert!(kinds.calls(&failure("GET /ready", 500), true, 5 * S), "with another status");
        kinds.explained(&ready);
        assert!(kinds.calls(&ready, true, 6 * S), "everything begins anew");
    }

    #[test]
    fn it_brings_the_probe_again_after_longer_times() {
        let (mut kinds, ready) = (Unexplained::default(), failure("GET /ready", 503));
        for _ in 0..LOOKS {
            kinds.calls(&ready, true, 0);
        }
        let mut now_ns = 0;
        for rest_s in [600, 1200, 2400, 4800, 9600, 9600] {
            kinds.rest(&TERMS, now_ns);
            assert!(!kinds.calls(&ready, false, now_ns + rest_s * S - 1), "{rest_s}");
            now_ns += rest_s * S;
            assert!(kinds.calls(&ready, false, now_ns), "{rest_s}");
            assert!(!kinds.calls(&ready, true, now_ns), "{rest_s}: one look is enough");
        }
        kinds.explained(&ready);
        kinds.rest(&TERMS, now_ns);
        assert!(kinds.calls(&ready, false, now_ns));
    }

    #[test]
    fn what_was_not_looked_at_often_enough_does_not_rest() {
        let (mut kinds, ready) = (Unexplained::default(), failure("GET /ready", 503));
        assert!(kinds.calls(&ready, true, 0));
        kinds.rest(&TERMS, 0);
        assert!(kinds.calls(&ready, false, 1));
    }

    #[test]
    fn it_is_bounded() {
        let mut kinds = Unexplained::default();
        for number in 0..2 * MAX_KINDS {
            kinds.calls(&failure(&format!("GET /{number}"), 503), true, 0);
        }
        assert_eq!(kinds.kinds.len(), MAX_KINDS + 1);
        assert!(!kinds.calls(&failure("GET /another", 503), true, 0), "only the status counts");
        assert!(kinds.calls(&failure("GET /another", 500), true, 0));
    }
}
