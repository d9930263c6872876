//! A head in the making: its bytes are gathered, bounded, until its end is found.

use super::empty_line::EmptyLine;
use super::start_line::{StartLine, Verdict};
use super::{Headers, fields};

/// Longest head that is kept. What is longer is read as far as that, as if its end had not been copied.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What has been seen of a head.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub start: StartLine,
    pub line: EmptyLine,
    seen: usize,
}

/// What came of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// The head goes on.
    More,
    /// It ended after so many of them.
    Over(usize),
    /// It would grow too long; so many of them still fit.
    Full(usize),
    /// It does not begin with a start line.
    Refused,
}

/// A head whose end is still to come.
#[derive(Debug)]
pub(super) struct Gathering {
    pub scan: Scan,
    pub bytes: Vec<u8>,
    /// Where its first byte stands.
    pub position: u64,
    /// When its first byte passed.
    pub start_ns: u64,
    /// It begins where a message must begin; if not, it is only taken for one as long as it looks so.
    pub sure: bool,
}

/// A head as far as it was seen: whole, or cut off.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawHead<'a> {
    pub start: &'a StartLine,
    pub bytes: &'a [u8],
    pub truncated: bool,
}

impl Scan {
    pub const fn new(start: StartLine) -> Self {
        Self { start, line: EmptyLine::Begin, seen: 0 }
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Scanned {
        let fitting = bytes.len().min(MAX_HEAD_BYTES - self.seen);
        let mut rest = &bytes[..fitting];
        if self.start.verdict() == Verdict::Pending {
            let before = self.start.len;
            if self.start.feed(rest) == Verdict::Refused {
                return Scanned::Refused;
            }
            rest = &rest[self.start.len - before..];
        }
        self.seen += fitting;
        if let Some(end) = self.line.find(rest) {
            return Scanned::Over(fitting - rest.len() + end);
        }
        if fitting < bytes.len() { Scanned::Full(fitting) } else { Scanned::More }
    }
}

impl RawHead<'_> {
    /// The start line's pieces, as text.
    pub fn text(&self, begin: usize, end: usize) -> String {
        String::from_utf8_lossy(self.bytes.get(begin..end).unwrap_or_default()).into_owned()
    }

    /// The fields, and whether some are missing.
    pub fn headers(&self) -> (Headers, bool) {
        let block = self.bytes.get(self.start.len..).unwrap_or_default();
        let (headers, all) = if self.truncated { fields::scan(block) } else { fields::read(block) };
        (headers, self.truncated || !all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_up_to_the_end_at_any_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 0..head.len() - 4 {
            let mut scan = Scan::new(StartLine::request());
            assert_eq!(scan.feed(&head[..cut]), Scanned::More);
            assert_eq!(scan.feed(&head[cut..]), Scanned::Over(head.len() - 4 - cut), "cut at {cut}");
        }
    }

    #[test]
    fn a_head_is_bounded() {
        let mut scan = Scan::new(StartLine::request());
        assert_eq!(scan.feed(b"GET / HTTP/1.1\r\nX: "), Scanned::More);
        assert_eq!(scan.feed(&vec![b'x'; MAX_HEAD_BYTES]), Scanned::Full(MAX_HEAD_BYTES - 19));
        let mut scan = Scan::new(StartLine::request());
        assert_eq!(scan.feed(b"\x16\x03"), Scanned::Refused);
    }
}
