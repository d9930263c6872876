//! A first guess at what a direction carries, from the first bytes of one call. Keeps nothing.

use super::start_line::{StartLine, Verdict};

/// What the first bytes of a direction look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// A request line, or the beginning of one.
    Request,
    /// A status line, or the beginning of one.
    Response,
    /// Too short to tell.
    TooShort,
    /// Neither.
    Neither,
}

/// Judges the first bytes of a socket call. Strict: a method token, a space, a target, ` HTTP/1.`; as far as
/// the bytes reach. A token alone, without the space after it, is `TooShort`. Empty lines before the message
/// are skipped (RFC 9112 section 2.2).
pub fn detect(bytes: &[u8]) -> Looks {
    let bytes = skip_empty_lines(bytes);
    let mut request = StartLine::request();
    let mut status = StartLine::status();
    match (request.feed(bytes), status.feed(bytes)) {
        (Verdict::Refused, Verdict::Refused) => Looks::Neither,
        (Verdict::Refused, _) => Looks::Response,
        _ if request.method_end == 0 => Looks::TooShort,
        _ => Looks::Request,
    }
}

/// The bytes without the CR and LF before them.
pub(super) fn skip_empty_lines(bytes: &[u8]) -> &[u8] {
    let begin = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    &bytes[begin..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_two_sides_apart() {
        let cases: &[(&[u8], Looks)] = &[
            (b"", Looks::TooShort),
            (b"\r\n", Looks::TooShort),
            (b"H", Looks::TooShort),
            (b"HTTP", Looks::TooShort),
            (b"GET", Looks::TooShort),
            (b"GET ", Looks::Request),
            (b"HTTP /", Looks::Request),
            (b"\r\nGET / HTTP/1.1\r\n", Looks::Request),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody", Looks::Request),
            (b"HTTP/", Looks::Response),
            (b"HTTP/1.1 200 OK\r\n\r\n", Looks::Response),
            (b"HTTP/2 200\r\n", Looks::Neither),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Looks::Neither),
            (b"SSH-2.0-OpenSSH\r\n", Looks::Neither),
            (b"EHLO host\r\n", Looks::Neither),
            (b"*1\r\n$4\r\nPING\r\n", Looks::Neither),
            (b"\x16\x03\x01\x02", Looks::Neither),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Looks::Neither),
        ];
        for (bytes, expected) in cases {
            assert_eq!(detect(bytes), *expected, "{}", bytes.escape_ascii());
        }
    }
}
