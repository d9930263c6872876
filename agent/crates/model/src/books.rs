//! The books: what was seen is what was reported, sampled out or dropped for a named reason.

use std::collections::BTreeMap;

use serde::Serialize;

/// Why something was not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The name is on the list of excludes.
    Excluded,
    /// The configuration says not to report.
    Disabled,
    /// An exporter's queue was full.
    QueueFull,
    /// The back end refused it.
    Rejected,
    /// The back end stayed away too long.
    Expired,
    /// The reader of the output is gone.
    OutputClosed,
}

impl DropReason {
    /// The word that stands in the output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::Disabled => "disabled",
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::OutputClosed => "output_closed",
        }
    }
}

/// Counts of spans. `seen == reported + sampled_out + Σ dropped` whenever nothing is in flight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Spans that came in.
    pub seen: u64,
    /// Spans that went out.
    pub reported: u64,
    /// Spans counted but not sent as samples.
    pub sampled_out: u64,
    /// Spans that did not go out, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl Books {
    /// Counts `spans` dropped for `reason`.
    pub fn drop_spans(&mut self, reason: DropReason, spans: u64) {
        if spans > 0 {
            *self.dropped.entry(reason).or_default() += spans;
        }
    }

    /// What is neither reported nor accounted for yet.
    pub fn in_flight(&self) -> u64 {
        let gone = self.reported + self.sampled_out + self.dropped.values().sum::<u64>();
        self.seen.saturating_sub(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_balance() {
        let mut books = Books { seen: 10, reported: 6, sampled_out: 1, ..Books::default() };
        books.drop_spans(DropReason::QueueFull, 2);
        books.drop_spans(DropReason::Excluded, 0);
        assert_eq!(books.in_flight(), 1);
        assert_eq!(books.dropped.len(), 1);
    }
}
