//! Messages whose end cannot be counted, because bytes that say where it is were not seen.
//!
//! A blind message ends at the first of these:
//! 1. It has no body (method, status): the first empty line that is seen ends it. By `Framing`.
//! 2. It is chunked, or its coding was not seen, and the last bytes of a call are a last chunk, trailers and
//!    the empty line. By `Framing`.
//! 3. Content-Length was seen, and a call ends past the least the message can have (the bytes of the head
//!    that were seen, the empty line, the body). By `Lost`, for more may follow; it is skipped in silence.
//! 4. A later call begins with a whole start line. By `Lost`, at the last byte before that call.
//! 5. The stream ends. By `Lost`.
//!
//! Where bytes were missed before the call that shows the end (not just not copied), 1 and 2 are by `Lost` too: the end
//! may be another message's.
//!
//! A call that ends with an empty line while the head's end is missing is taken for the end of the head: the
//! body is then framed by the fields that were seen, but rule 4 still holds, for the guess may be wrong.

use super::chunked::{Chunks, ends_with_last_chunk};
use super::empty_line::EmptyLine;

/// Why the end cannot be counted.
#[derive(Debug, Clone)]
pub(super) enum Blind {
    /// The head's end is missing, and no body follows it.
    Head { line: EmptyLine },
    /// The head's end is missing; so many body bytes follow it; the message reaches at least to `floor`.
    Counted { bytes: u64, floor: u64 },
    /// Chunks; the head's end, or a chunk's size, is missing.
    Chunked { head_seen: bool },
    /// The head's end is missing, and no field that frames the message was seen before.
    Unknown,
}

/// What the end of a call says of a blind message.
#[derive(Debug)]
pub(super) enum Sight {
    /// Nothing: it goes on.
    None,
    /// It is over.
    Over,
    /// It is over as far as one can tell.
    Presumed,
    /// The head is over: so many body bytes follow.
    Counted(u64),
    /// The head is over: chunks follow.
    Chunked(Chunks),
}

impl Blind {
    /// Judges the end of a call: its last bytes as far as known, whether they are all of it, and where it ends.
    pub fn at_call_end(&self, last: &[u8], whole: bool, position: u64) -> Sight {
        let empty_line = last.ends_with(b"\r\n\r\n");
        match *self {
            Self::Counted { bytes, .. } if empty_line => Sight::Counted(bytes),
            Self::Counted { floor, .. } if position >= floor => Sight::Presumed,
            Self::Chunked { .. } | Self::Unknown if ends_with_last_chunk(last, whole) => Sight::Over,
            Self::Chunked { head_seen: false } if empty_line => Sight::Chunked(Chunks::new()),
            Self::Head { .. } | Self::Counted { .. } | Self::Chunked { .. } | Self::Unknown => Sight::None,
        }
    }

    /// Whether a new message may begin at this position.
    pub fn may_end_before(&self, position: u64) -> bool {
        !matches!(*self, Self::Counted { floor, .. } if position < floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_the_end_of_a_call() {
        let counted = Blind::Counted { bytes: 7, floor: 100 };
        let chunked = |head_seen| Blind::Chunked { head_seen };
        let head = Blind::Head { line: EmptyLine::Begin };
        let cases: &[(&Blind, &[u8], u64, &str)] = &[
            (&counted, b"x: y\r\n\r\n", 50, "Counted(7)"),
            (&counted, b"text", 99, "None"),
            (&counted, b"text", 100, "Presumed"),
            (&chunked(false), b"x: y\r\n\r\n", 50, "Chunked(Size { value: 0, digits: 0 })"),
            (&chunked(true), b"x: y\r\n\r\n", 50, "None"),
            (&chunked(true), b"\r\n0\r\n\r\n", 50, "Over"),
            (&chunked(false), b"\r\n0\r\n\r\n", 50, "Over"),
            (&Blind::Unknown, b"\r\n0\r\n\r\n", 50, "Over"),
            (&Blind::Unknown, b"x: y\r\n\r\n", 50, "None"),
            (&head, b"\r\n0\r\n\r\n", 50, "None"),
        ];
        for (blind, last, position, expected) in cases {
            let sight = blind.at_call_end(last, false, *position);
            assert_eq!(format!("{sight:?}"), *expected, "{blind:?} {}", last.escape_ascii());
        }
        assert!(!counted.may_end_before(99) && counted.may_end_before(100) && head.may_end_before(0));
    }
}
