//! How a body came whose end is not known from the start: in how many chunks, and with what pauses.

/// The chunks of a body in the chunked coding, as its sender cut it; or, of a body that lasts until the close, the
/// socket calls that brought some of it. Of other bodies nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// How many there were.
    pub chunks: u64,
    /// When the first began.
    pub first_ns: u64,
    /// When the last began.
    pub last_ns: u64,
    /// The longest time from the beginning of one to that of the next.
    pub longest_gap_ns: u64,
    /// The chunked coding could not be read to its end: there may be more.
    pub incomplete: bool,
}

impl Flow {
    /// So many have begun in one call.
    pub(super) fn note(&mut self, chunks: u64, at_ns: u64) {
        if chunks == 0 {
            return;
        }
        if self.chunks == 0 {
            self.first_ns = at_ns;
        } else {
            self.longest_gap_ns = self.longest_gap_ns.max(at_ns.saturating_sub(self.last_ns));
        }
        self.chunks += chunks;
        self.last_ns = at_ns;
    }

    /// A call has brought some of a body. Both parts of a call, before and after what was not copied, are one.
    pub(super) fn note_call(&mut self, at_ns: u64) {
        if self.chunks == 0 || self.last_ns != at_ns {
            self.note(1, at_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_between_beginnings() {
        let mut flow = Flow::default();
        for (chunks, at_ns) in [(0, 1), (1, 10), (2, 14), (0, 30), (1, 35), (3, 36)] {
            flow.note(chunks, at_ns);
        }
        let want = Flow { chunks: 7, first_ns: 10, last_ns: 36, longest_gap_ns: 21, incomplete: false };
        assert_eq!(flow, want);
        flow.note_call(36);
        flow.note_call(60);
        assert_eq!((flow.chunks, flow.longest_gap_ns), (8, 24));
    }
}
