//! A run of bytes that passed in one direction of a connection, as far as it was copied.

/// One socket call's bytes. The middle may be missing: `head` are the first bytes, `tail` the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// When the call returned, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// Where the chunk begins in its direction. A step from the end of the chunk before is a loss.
    pub position: u64,
    /// How many bytes passed. `head.len() + tail.len() <= len`.
    pub len: u64,
    /// The first bytes.
    pub head: &'a [u8],
    /// The last bytes; empty where `head` reaches the end.
    pub tail: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The part of it from a position of its direction on, with positions counted from there. `None` if it ends
    /// before. A chunk past the position begins with the step there was.
    pub fn since(&self, begin: u64) -> Option<Self> {
        let Some(cut) = begin.checked_sub(self.position) else {
            return Some(Self { position: self.position - begin, ..*self });
        };
        let len = self.len.checked_sub(cut).filter(|len| *len > 0)?;
        let from = |bytes: &'a [u8], skipped: u64| {
            usize::try_from(skipped).map_or(bytes.len(), |n| n.min(bytes.len()))
        };
        let head = &self.head[from(self.head, cut)..];
        let before_tail = self.len.saturating_sub(self.tail.len() as u64);
        let tail = &self.tail[from(self.tail, cut.saturating_sub(before_tail))..];
        // What is left of the tail then stands first.
        let (head, tail) = if tail.len() as u64 == len { (tail, &tail[..0]) } else { (head, tail) };
        Some(Self { at_ns: self.at_ns, position: 0, len, head, tail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_chunk() {
        let chunk = Chunk { at_ns: 1, position: 100, len: 10, head: b"abc", tail: b"ij" };
        for (begin, want) in [
            (90, Some((10, 10, "abc", "ij"))),
            (100, Some((0, 10, "abc", "ij"))),
            (102, Some((0, 8, "c", "ij"))),
            (103, Some((0, 7, "", "ij"))),
            (107, Some((0, 3, "", "ij"))),
            (108, Some((0, 2, "ij", ""))),
            (109, Some((0, 1, "j", ""))),
            (110, None),
            (u64::MAX, None),
        ] {
            let rest = chunk.since(begin);
            let texts = rest.map(|rest| {
                (
                    rest.position,
                    rest.len,
                    str::from_utf8(rest.head).unwrap(),
                    str::from_utf8(rest.tail).unwrap(),
                )
            });
            assert_eq!(texts, want, "{begin}");
        }
    }
}
