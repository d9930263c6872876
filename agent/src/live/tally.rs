//! What was counted on the whole way, and what of it says that something was not seen.

use std::collections::BTreeMap;

use serde::Serialize;
use trace::Counts;

/// What the whole way from the kernel to the spans counted.
#[derive(Debug, Clone, Serialize)]
pub struct Tally {
    /// The kernel side, by reason.
    pub kernel: BTreeMap<String, u64>,
    /// Program runs that did not happen, by program.
    pub missed: BTreeMap<String, u64>,
    /// Records taken from the ring.
    pub records: u64,
    /// Records that were none.
    pub malformed: u64,
    /// Broken invariants.
    pub faults: u64,
    /// Records of exceptions that were reached too late to be put into words.
    pub late_exceptions: u64,
    /// The tracer.
    pub trace: Counts,
}

impl Tally {
    /// What was not seen, or not whole, with how often.
    pub fn losses(&self) -> Vec<(&str, u64)> {
        let named = [
            ("malformed_records", self.malformed),
            ("faults", self.faults),
            ("late_exceptions", self.late_exceptions),
        ];
        let traced = [
            ("gaps", self.trace.gaps),
            ("gap_bytes", self.trace.gap_bytes),
            ("lost_framings", self.trace.lost_framings),
            ("missed_exceptions", self.trace.missed_exceptions),
            ("unpaired_responses", self.trace.unpaired_responses),
            ("tls_unbound_connections", self.trace.tls_unbound_connections),
            ("tls_unbound_bytes", self.trace.tls_unbound_bytes),
            ("tls_unknown_peer_bytes", self.trace.tls_unknown_peer_bytes),
            ("evicted_connections", self.trace.evicted_connections),
            ("overrun_connections", self.trace.overrun_connections),
            ("overrun_requests", self.trace.overrun_requests),
            ("compressed_databases", self.trace.compressed_databases),
            ("unsupported_databases", self.trace.unsupported_databases),
        ];
        let kernel = self.kernel.iter().map(|(name, count)| (name.as_str(), *count));
        let programs = self.missed.iter().map(|(name, count)| (name.as_str(), *count));
        let all = kernel.chain(programs).chain(named).chain(traced);
        // What is not HTTP is let go on purpose; of exceptions that had to give way those that are missed are counted by the tracer.
        let is_loss = |name: &str| !matches!(name, "ignored_calls" | "exceptions_displaced");
        all.filter(|(name, count)| *count > 0 && is_loss(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(kernel: &[(&str, u64)], missed: &[(&str, u64)], late_exceptions: u64, trace: Counts) -> Tally {
        let named = |counts: &[(&str, u64)]| {
            counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        Tally {
            kernel: named(kernel),
            missed: named(missed),
            records: 9,
            malformed: 0,
            faults: 0,
            late_exceptions,
            trace,
        }
    }

    #[test]
    fn what_was_missed_is_told_with_its_reason_and_nothing_else() {
        let some = Counts { gaps: 2, gap_bytes: 40, missed_exceptions: 1, spans: 7, ..Counts::default() };
        for (tally, want) in [
            (tally(&[], &[], 0, Counts::default()), &[][..]),
            (tally(&[("ring_full", 0), ("ignored_calls", 5)], &[], 0, Counts::default()), &[]),
            (tally(&[("exceptions_displaced", 12)], &[], 0, Counts::default()), &[]),
            (
                tally(&[("exceptions_displaced", 3), ("ring_full", 1)], &[("sock_send", 4)], 5, some),
                &[
                    ("ring_full", 1),
                    ("sock_send", 4),
                    ("late_exceptions", 5),
                    ("gaps", 2),
                    ("gap_bytes", 40),
                    ("missed_exceptions", 1),
                ],
            ),
        ] {
            assert_eq!(tally.losses(), want);
        }
    }
}
