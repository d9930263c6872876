//! The chunked coding (RFC 9112 section 7.1): where a body ends, not what it says. Data is skipped by count;
//! lines are bounded, so that bytes that are not chunks are found out soon.

use super::empty_line::EmptyLine;

/// Longest chunk extension, and longest trailer section, that is still taken for one.
const MAX_LINES_BYTES: usize = 64 * 1024;

/// Most digits of a chunk size, leading zeros counted.
const MAX_SIZE_DIGITS: u8 = 32;

/// A chunked body in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the digits of a chunk's size.
    Size { value: u64, digits: u8 },
    /// After the digits, up to the line's end.
    Extension { value: u64, seen: usize },
    /// In the data; more than 0 bytes are left.
    Data(u64),
    /// At the CR after the data.
    Return,
    /// At the LF after the data.
    LineFeed,
    /// In the trailers, or the empty line that stands for them.
    Trailers { line: EmptyLine, seen: usize },
}

/// What came of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// The body goes on.
    More,
    /// It ended after so many of them.
    Over(usize),
    /// They are not chunks.
    Broken,
}

impl Chunks {
    /// Before the first chunk.
    pub const fn new() -> Self {
        Self::Size { value: 0, digits: 0 }
    }

    /// Takes the next bytes; counts the chunks (but the last, which is empty) whose data begins in them.
    pub fn feed(&mut self, bytes: &[u8], begun: &mut u64) -> Fed {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let rest = &bytes[at..];
            let (next, used) = match *self {
                Self::Size { value, digits } => match Self::after_size(value, digits, byte) {
                    Some(next) => (next, 1),
                    None => return Fed::Broken,
                },
                Self::Extension { value, seen } => match memchr::memchr(b'\n', rest) {
                    Some(end) if seen + end <= MAX_LINES_BYTES => (Self::begin(value), end + 1),
                    None if seen + rest.len() <= MAX_LINES_BYTES => {
                        (Self::Extension { value, seen: seen + rest.len() }, rest.len())
                    }
                    _ => return Fed::Broken,
                },
                Self::Data(left) => {
                    let used = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    (Self::data(left - used as u64), used)
                }
                Self::Return if byte == b'\r' => (Self::LineFeed, 1),
                Self::Return | Self::LineFeed if byte == b'\n' => (Self::new(), 1),
                Self::Return | Self::LineFeed => return Fed::Broken,
                Self::Trailers { mut line, seen } => match line.find(rest) {
                    Some(end) if seen + end <= MAX_LINES_BYTES => return Fed::Over(at + end),
                    None if seen + rest.len() <= MAX_LINES_BYTES => {
                        (Self::Trailers { line, seen: seen + rest.len() }, rest.len())
                    }
                    _ => return Fed::Broken,
                },
            };
            *begun += u64::from(matches!(
                (&next, &*self),
                (Self::Data(_), Self::Size { .. } | Self::Extension { .. })
            ));
            *self = next;
            at += used;
        }
        Fed::More
    }

    /// Passes bytes that were not seen. Exact inside data, and over the CRLF after it; `false` if a size line
    /// or trailers may be among them.
    pub fn skip(&mut self, gap: u64) -> bool {
        let (left, line_end) = match *self {
            Self::Data(left) => (left, 2),
            Self::Return => (0, 2),
            Self::LineFeed => (0, 1),
            _ => return gap == 0,
        };
        *self = match gap.checked_sub(left) {
            None => Self::Data(left - gap),
            Some(over) if over > line_end => return false,
            Some(over) => match line_end - over {
                2 => Self::Return,
                1 => Self::LineFeed,
                _ => Self::new(),
            },
        };
        true
    }

    fn after_size(value: u64, digits: u8, byte: u8) -> Option<Self> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            let value = value.checked_mul(16)?.checked_add(u64::from(digit))?;
            return (digits < MAX_SIZE_DIGITS).then_some(Self::Size { value, digits: digits + 1 });
        }
        match byte {
            _ if digits == 0 => None,
            b'\n' => Some(Self::begin(value)),
            b';' | b' ' | b'\t' | b'\r' => Some(Self::Extension { value, seen: 0 }),
            _ => None,
        }
    }

    const fn begin(size: u64) -> Self {
        match size {
            0 => Self::Trailers { line: EmptyLine::Begin, seen: 0 },
            _ => Self::Data(size),
        }
    }

    const fn data(left: u64) -> Self {
        match left {
            0 => Self::Return,
            _ => Self::Data(left),
        }
    }
}

/// Whether these bytes, the last of a call, end a chunked body: a last chunk (zeros, perhaps an extension) at
/// the beginning of a line, trailers that look like fields, an empty line. `whole`: they are the call's first
/// bytes as well, so that their beginning counts as the beginning of a line.
pub(super) fn ends_with_last_chunk(bytes: &[u8], whole: bool) -> bool {
    let Some(mut rest) = bytes.strip_suffix(b"\r\n\r\n") else { return false };
    loop {
        let begin = memchr::memmem::rfind(rest, b"\r\n").map(|at| at + 2);
        let line = &rest[begin.unwrap_or(0)..];
        if begin.is_none() && !whole {
            return false;
        }
        if is_last_chunk(line) {
            return true;
        }
        let field = memchr::memchr(b':', line).is_some_and(|colon| colon > 0);
        match begin {
            Some(begin) if field => rest = &rest[..begin - 2],
            _ => return false,
        }
    }
}

fn is_last_chunk(line: &[u8]) -> bool {
    let zeros = line.iter().take_while(|&&byte| byte == b'0').count();
    let extension = line[zeros..].trim_ascii_start();
    zeros > 0 && (extension.is_empty() || extension.starts_with(b";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_at_any_cut() {
        let cases: &[(&[u8], Fed)] = &[
            (b"0\r\n\r\n", Fed::Over(5)),
            (b"5\r\nhello\r\n0\r\n\r\nrest", Fed::Over(15)),
            (b"5;a=\"b\"\r\nhello\r\n000;x\r\n\r\n", Fed::Over(25)),
            (b"A \r\n0123456789\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", Fed::Over(33)),
            (b"a\n0123456789\n0\n\n", Fed::Over(16)),
            (b"5\r\nhello\r\n", Fed::More),
            (b"0\r\nX: 1\r\n", Fed::More),
            (b"", Fed::More),
            (b"\r\n", Fed::Broken),
            (b"g\r\n", Fed::Broken),
            (b"5x\r\n", Fed::Broken),
            (b"5\r\nhelloX", Fed::Broken),
            (b"5\r\nhello\rX", Fed::Broken),
            (b"10000000000000000\r\n", Fed::Broken),
            (b"000000000000000000000000000000000\r\n", Fed::Broken),
        ];
        for (bytes, expected) in cases {
            for cut in 0..=bytes.len() {
                let mut chunks = Chunks::new();
                let fed = match chunks.feed(&bytes[..cut], &mut 0) {
                    Fed::More => match chunks.feed(&bytes[cut..], &mut 0) {
                        Fed::Over(end) => Fed::Over(cut + end),
                        other => other,
                    },
                    other => other,
                };
                assert_eq!(fed, *expected, "{} cut at {cut}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn lines_without_end_are_broken() {
        for begin in [&b"5;"[..], b"0\r\nX"] {
            let mut chunks = Chunks::new();
            assert_eq!(chunks.feed(begin, &mut 0), Fed::More);
            assert_eq!(chunks.feed(&vec![b'x'; MAX_LINES_BYTES - 1], &mut 0), Fed::More);
            assert_eq!(chunks.feed(b"xx", &mut 0), Fed::Broken);
        }
    }

    #[test]
    fn gaps_are_exact_in_data_and_over_its_end() {
        let cases: &[(&[u8], u64, bool, Chunks)] = &[
            (b"8\r\n", 8, true, Chunks::Return),
            (b"8\r\n1", 3, true, Chunks::Data(4)),
            (b"8\r\n1", 8, true, Chunks::LineFeed),
            (b"8\r\n1", 9, true, Chunks::new()),
            (b"8\r\n12345678\r", 1, true, Chunks::new()),
            (b"8\r\n12345678", 1, true, Chunks::LineFeed),
            (b"8\r\n12345678\r\n", 0, true, Chunks::new()),
        ];
        for (before, gap, exact, after) in cases {
            let mut chunks = Chunks::new();
            assert_eq!(chunks.feed(before, &mut 0), Fed::More);
            assert_eq!(
                (chunks.skip(*gap), chunks),
                (*exact, after.clone()),
                "{} + {gap}",
                before.escape_ascii()
            );
        }
        for (before, gap) in [(&b"8\r\n1"[..], 10), (b"8", 1), (b"0\r\n", 2), (b"8\r\n12345678\r\n", 1)] {
            let mut chunks = Chunks::new();
            assert_eq!(chunks.feed(before, &mut 0), Fed::More);
            assert!(!chunks.skip(gap), "{} + {gap}", before.escape_ascii());
        }
    }

    #[test]
    fn knows_a_last_chunk_at_the_end_of_a_call() {
        let cases: &[(&[u8], bool, bool)] = &[
            (b"0\r\n\r\n", true, true),
            (b"0\r\n\r\n", false, false),
            (b"lo\r\n0\r\n\r\n", false, true),
            (b"\r\n0\r\n\r\n", false, true),
            (b"\r\n00;ext\r\n\r\n", false, true),
            (b"\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", false, true),
            (b"0\r\nX: 1\r\n\r\n", true, true),
            (b"0\r\nX: 1\r\n\r\n", false, false),
            (b"10\r\n\r\n", true, false),
            (b"\r\nX: 0\r\n\r\n", false, false),
            (b"\r\n0\r\ntext\r\n\r\n", true, false),
            (b"\r\n\r\n", true, false),
            (b"", true, false),
        ];
        for (bytes, whole, expected) in cases {
            assert_eq!(ends_with_last_chunk(bytes, *whole), *expected, "{} {whole}", bytes.escape_ascii());
        }
    }
}
