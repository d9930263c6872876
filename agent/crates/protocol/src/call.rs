//! A chunk as the parser takes it: known bytes, then a hole, then known bytes, beginning where the bytes
//! before it ended. Whatever the chunk claims, the parts add up to its length.

use crate::Chunk;

/// The new part of one socket call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub at_ns: u64,
    /// Where it begins in its direction.
    pub position: u64,
    /// The first bytes.
    pub head: &'a [u8],
    /// How many bytes after them were not copied.
    pub hole: u64,
    /// The last bytes.
    pub tail: &'a [u8],
    /// It begins where the socket call began: nothing was known of it before.
    pub begins: bool,
}

impl<'a> Call<'a> {
    /// What of the chunk lies past `known`; `None` if nothing does.
    pub fn after(known: u64, chunk: &Chunk<'a>) -> Option<Self> {
        let len = chunk.len.min(u64::MAX - chunk.position);
        let (head, rest) = take(chunk.head, len);
        let (tail, hole) = if chunk.tail.len() as u64 <= rest {
            (chunk.tail, rest - chunk.tail.len() as u64)
        } else {
            (&[][..], rest)
        };
        let overlap = known.saturating_sub(chunk.position);
        if overlap >= len {
            return None;
        }
        let (head, overlap) = skip(head, overlap);
        let in_hole = overlap.min(hole);
        let (tail, _) = skip(tail, overlap - in_hole);
        Some(Self {
            at_ns: chunk.at_ns,
            position: chunk.position.max(known),
            head,
            hole: hole - in_hole,
            tail,
            begins: known <= chunk.position,
        })
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.head.len() as u64 + self.hole + self.tail.len() as u64
    }

    /// The known bytes that reach the call's end, and whether they are the call's first bytes as well.
    pub fn ending(&self) -> (&'a [u8], bool) {
        if self.hole > 0 || !self.tail.is_empty() { (self.tail, false) } else { (self.head, self.begins) }
    }
}

/// At most `len` bytes from the beginning, and how much of `len` is left.
fn take(bytes: &[u8], len: u64) -> (&[u8], u64) {
    let taken = usize::try_from(len).map_or(bytes.len(), |len| len.min(bytes.len()));
    (&bytes[..taken], len - taken as u64)
}

/// The bytes without the first `len`, and how much of `len` is left.
fn skip(bytes: &[u8], len: u64) -> (&[u8], u64) {
    let (taken, left) = take(bytes, len);
    (&bytes[taken.len()..], left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk<'a>(position: u64, len: u64, head: &'a [u8], tail: &'a [u8]) -> Chunk<'a> {
        Chunk { at_ns: 1, position, len, head, tail }
    }

    #[test]
    fn skips_what_is_known() {
        let whole = chunk(100, 20, b"abcd", b"xyz");
        let call = |position, head, hole, tail, begins| Call { at_ns: 1, position, head, hole, tail, begins };
        let cases: &[(u64, Option<Call<'_>>)] = &[
            (50, Some(call(100, b"abcd", 13, b"xyz", true))),
            (100, Some(call(100, b"abcd", 13, b"xyz", true))),
            (102, Some(call(102, b"cd", 13, b"xyz", false))),
            (110, Some(call(110, b"", 7, b"xyz", false))),
            (118, Some(call(118, b"", 0, b"yz", false))),
            (120, None),
            (u64::MAX, None),
        ];
        for (known, expected) in cases {
            assert_eq!(Call::after(*known, &whole), *expected, "known up to {known}");
        }
    }

    #[test]
    fn takes_lengths_that_cannot_be() {
        let cases: &[(Chunk<'_>, u64, &str, u64)] = &[
            (chunk(0, 2, b"abcd", b""), 2, "ab", 0),
            (chunk(0, 5, b"abcd", b"xyz"), 5, "abcd", 1),
            (chunk(u64::MAX - 3, 9, b"ab", b""), 3, "ab", 1),
        ];
        for (chunk, len, head, hole) in cases {
            let call = Call::after(0, chunk).unwrap();
            assert_eq!((call.len(), call.head, call.hole), (*len, head.as_bytes(), *hole));
            assert!(call.tail.is_empty());
        }
        assert_eq!(Call::after(0, &chunk(7, 0, b"", b"")), None);
    }
}
