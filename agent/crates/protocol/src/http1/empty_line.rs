//! Finds the empty line that ends a head or a trailer section, across any cut. No byte is looked at twice.

/// Where in a line the bytes so far have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmptyLine {
    /// At its first byte.
    Begin,
    /// After a CR that may be all of it.
    Return,
    /// Inside a line that is not empty.
    Within,
}

impl EmptyLine {
    /// Where the empty line ends in the next bytes: the number of bytes up to and with its LF. A bare LF ends
    /// a line too (RFC 9112 section 2.2).
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            *self = match (*self, *bytes.get(at)?) {
                (Self::Begin | Self::Return, b'\n') => return Some(at + 1),
                (Self::Begin, b'\r') => {
                    at += 1;
                    Self::Return
                }
                (Self::Begin | Self::Return, _) => Self::Within,
                (Self::Within, _) => {
                    at += memchr::memchr(b'\n', &bytes[at..])? + 1;
                    Self::Begin
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_at_any_cut() {
        let cases: &[(&[u8], Option<usize>)] = &[
            (b"a: b\r\n\r\nrest", Some(8)),
            (b"a: b\n\nrest", Some(6)),
            (b"a: b\n\r\nrest", Some(7)),
            (b"a\r\n\rb\r\n\r\n", Some(9)),
            (b"a\r\n \r\n\r\n", Some(8)),
            (b"\r\n", Some(2)),
            (b"\n", Some(1)),
            (b"a: b\r\nc: d\r\n", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(EmptyLine::Begin.find(bytes), *expected, "{}", bytes.escape_ascii());
            for cut in 0..=bytes.len() {
                let mut line = EmptyLine::Begin;
                let found =
                    line.find(&bytes[..cut]).or_else(|| line.find(&bytes[cut..]).map(|end| cut + end));
                assert_eq!(found, *expected, "{} cut at {cut}", bytes.escape_ascii());
            }
        }
    }
}
