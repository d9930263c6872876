//! When losses are told while the probe runs: what is lost for the first time at once, more of the same more and more seldom.

use std::collections::BTreeSet;

/// After telling, until more of the same is told. Each time it is twice as long.
const FIRST_PAUSE_NS: u64 = 60_000_000_000;
const LONGEST_PAUSE_NS: u64 = 3_600_000_000_000;

/// What was told of so far.
#[derive(Debug)]
pub(super) struct Losses {
    kinds: BTreeSet<String>,
    text: String,
    next_ns: u64,
    pause_ns: u64,
}

impl Default for Losses {
    fn default() -> Self {
        Self { kinds: BTreeSet::new(), text: String::new(), next_ns: 0, pause_ns: FIRST_PAUSE_NS }
    }
}

impl Losses {
    /// What there is to say now of all that was lost since the beginning, if anything. At the end everything is.
    pub(super) fn news(&mut self, losses: &[(&str, u64)], now_ns: u64, is_last: bool) -> Option<String> {
        let text = said(losses);
        if text == self.text {
            return None;
        }
        let known = self.kinds.len();
        self.kinds.extend(losses.iter().map(|(name, _)| (*name).to_owned()));
        if self.kinds.len() == known && now_ns < self.next_ns && !is_last {
            return None;
        }
        self.next_ns = now_ns + self.pause_ns;
        self.pause_ns = LONGEST_PAUSE_NS.min(2 * self.pause_ns);
        self.text.clone_from(&text);
        Some(text)
    }
}

/// Each with how often: `ring_full 12, gaps 3`.
pub fn said(losses: &[(&str, u64)]) -> String {
    losses.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn new_kinds_are_told_at_once_and_more_of_them_more_seldom() {
        let mut losses = Losses::default();
        let mut news = |at_s: u64, lost: &[(&str, u64)], is_last| losses.news(lost, at_s * S, is_last);
        assert_eq!(news(10, &[], false), None);
        assert_eq!(news(20, &[("ring_full", 1)], false).as_deref(), Some("ring_full 1"));
        assert_eq!(news(79, &[("ring_full", 7)], false), None);
        assert_eq!(news(80, &[("ring_full", 7)], false).as_deref(), Some("ring_full 7"));
        assert_eq!(news(200, &[("ring_full", 7)], false), None, "nothing more was lost");
        // Two minutes later at the earliest, but for what was not lost before.
        assert_eq!(news(190, &[("ring_full", 8)], false), None);
        assert_eq!(
            news(191, &[("ring_full", 8), ("gaps", 1)], false).as_deref(),
            Some("ring_full 8, gaps 1")
        );
        assert_eq!(news(430, &[("ring_full", 9), ("gaps", 1)], false), None);
        assert_eq!(
            news(431, &[("ring_full", 9), ("gaps", 1)], false).as_deref(),
            Some("ring_full 9, gaps 1")
        );
        assert_eq!(news(432, &[("ring_full", 9), ("gaps", 2)], true).as_deref(), Some("ring_full 9, gaps 2"));
        assert_eq!(news(433, &[("ring_full", 9), ("gaps", 2)], true), None);
    }

    #[test]
    fn what_goes_on_is_told_once_an_hour_at_least() {
        let mut losses = Losses::default();
        let told = (0..24 * 360).filter(|n| losses.news(&[("gaps", *n + 1)], n * 10 * S, false).is_some());
        // After 0, 1, 3, 7, 15, 31 and 63 minutes, and then each hour.
        assert_eq!(told.count(), 7 + 22);
    }
}
