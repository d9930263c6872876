//! The first line of a message, judged byte by byte as it comes: no byte is looked at twice, and bytes that
//! cannot become a start line are refused at the first one that says so.

use model::HttpVersion;

/// Longest method that is taken for one. Registered methods have up to 17 letters.
const MAX_METHOD_BYTES: usize = 64;

const VERSION: &[u8] = b"HTTP/1.";

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The beginning of a start line.
    Pending,
    /// A start line, with its line end.
    Complete,
    /// Not a start line.
    Refused,
}

/// A start line in the making.
#[derive(Debug, Clone)]
pub(super) struct StartLine {
    stage: Stage,
    /// A request's method may be any token; if not, capitals only.
    any_method: bool,
    /// Bytes judged; once complete, the length with the line end.
    pub len: usize,
    /// Request: where the method ends. The target begins one later.
    pub method_end: usize,
    /// Request: where the target ends. Grows while the target does.
    pub target_end: usize,
    /// Response: the status code.
    pub status: u16,
    /// The version; HTTP/1.1 until it is known.
    pub version: HttpVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Method,
    Target,
    RequestVersion(u8),
    RequestEnd,
    StatusVersion(u8),
    Status(u8),
    Reason,
    LineFeed,
    Over(Verdict),
}

impl StartLine {
    /// Of a request (RFC 9112 section 3).
    pub const fn request() -> Self {
        Self::at(Stage::Method)
    }

    /// Of a request in bytes that may be anything: its method is made of capitals, as all registered ones
    /// are, so that a word of a body is less easily taken for one.
    pub const fn likely_request() -> Self {
        Self { any_method: false, ..Self::at(Stage::Method) }
    }

    /// Of a response (RFC 9112 section 4).
    pub const fn status() -> Self {
        Self::at(Stage::StatusVersion(0))
    }

    const fn at(stage: Stage) -> Self {
        Self {
            stage,
            any_method: true,
            len: 0,
            method_end: 0,
            target_end: 0,
            status: 0,
            version: HttpVersion::Http11,
        }
    }

    /// What the bytes so far are.
    pub const fn verdict(&self) -> Verdict {
        match self.stage {
            Stage::Over(verdict) => verdict,
            _ => Verdict::Pending,
        }
    }

    /// A method and the beginning of a target that can only be a path or a URL: enough for a request whose
    /// line was cut off inside a very long target.
    pub fn names_target(&self, line: &[u8]) -> bool {
        let target = line.get(self.method_end + 1..).unwrap_or_default();
        self.stage == Stage::Target && (target.starts_with(b"/") || target.starts_with(b"http"))
    }

    /// Judges the next bytes; stops after the line's end.
    pub fn feed(&mut self, bytes: &[u8]) -> Verdict {
        let mut at = 0;
        while !matches!(self.stage, Stage::Over(_)) {
            let run = self.pass_run(&bytes[at..]);
            self.len += run;
            at += run;
            let Some(&byte) = bytes.get(at) else { break };
            self.stage = self.after(byte);
            self.len += 1;
            at += 1;
        }
        self.verdict()
    }

    /// Passes over what changes nothing, or can be judged at once, and gives how many bytes that is.
    fn pass_run(&mut self, bytes: &[u8]) -> usize {
        match self.stage {
            Stage::Method => {
                let room = MAX_METHOD_BYTES.saturating_sub(self.len);
                bytes.iter().take(room).take_while(|&&byte| self.is_in_method(byte)).count()
            }
            Stage::Target => {
                let visible = bytes.iter().take_while(|&&byte| is_visible(byte)).count();
                self.target_end += visible;
                visible
            }
            Stage::RequestVersion(0) if bytes.starts_with(VERSION) => {
                self.stage = Stage::RequestVersion(VERSION.len() as u8);
                VERSION.len()
            }
            Stage::StatusVersion(0) if bytes.starts_with(VERSION) => {
                self.stage = Stage::StatusVersion(VERSION.len() as u8);
                VERSION.len()
            }
            Stage::Reason => memchr::memchr(b'\n', bytes).unwrap_or(bytes.len()),
            _ => 0,
        }
    }

    fn after(&mut self, byte: u8) -> Stage {
        const REFUSED: Stage = Stage::Over(Verdict::Refused);
        match (self.stage, byte) {
            (Stage::Method, b' ') if self.len > 0 => {
                self.method_end = self.len;
                self.target_end = self.len + 1;
                Stage::Target
            }
            (Stage::Target, b' ') if self.target_end > self.method_end + 1 => Stage::RequestVersion(0),
            (Stage::RequestVersion(at), _) => match VERSION.get(usize::from(at)) {
                Some(&expected) if byte == expected => Stage::RequestVersion(at + 1),
                None if self.minor(byte) => Stage::RequestEnd,
                _ => REFUSED,
            },
            (Stage::RequestEnd, b' ' | b'\t') => Stage::RequestEnd,
            (Stage::StatusVersion(at), _) => match VERSION.get(usize::from(at)) {
                Some(&expected) if byte == expected => Stage::StatusVersion(at + 1),
                None if usize::from(at) == VERSION.len() && self.minor(byte) => Stage::StatusVersion(at + 1),
                None if usize::from(at) > VERSION.len() && byte == b' ' => Stage::Status(0),
                _ => REFUSED,
            },
            (Stage::Status(at), b'0'..=b'9') if at < 3 && (at > 0 || byte != b'0') => {
                self.status = self.status * 10 + u16::from(byte - b'0');
                Stage::Status(at + 1)
            }
            (Stage::RequestEnd | Stage::Status(3), b'\r') => Stage::LineFeed,
            (Stage::RequestEnd | Stage::Status(3) | Stage::Reason | Stage::LineFeed, b'\n') => {
                Stage::Over(Verdict::Complete)
            }
            (Stage::Status(3), b' ') => Stage::Reason,
            _ => REFUSED,
        }
    }

    fn is_in_method(&self, byte: u8) -> bool {
        if self.any_method { is_token(byte) } else { matches!(byte, b'A'..=b'Z' | b'-' | b'_') }
    }

    fn minor(&mut self, digit: u8) -> bool {
        self.version = if digit == b'0' { HttpVersion::Http10 } else { HttpVersion::Http11 };
        matches!(digit, b'0' | b'1')
    }
}

/// What a target is made of, here: all but white space and controls.
const fn is_visible(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

/// RFC 9110 section 5.6.2: the characters of a token.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_request_lines() {
        use Verdict::{Complete, Pending, Refused};
        let cases: &[(&str, Verdict)] = &[
            ("", Pending),
            ("GET", Pending),
            ("GET /a?b=c HTTP/1.", Pending),
            ("GET / HTTP/1.1\r", Pending),
            ("GET / HTTP/1.1\r\n", Complete),
            ("GET / HTTP/1.0\n", Complete),
            ("GET / HTTP/1.1 \t\r\n", Complete),
            ("PURGE! http://h/p HTTP/1.1\r\n", Complete),
            ("CONNECT h:443 HTTP/1.1\r\n", Complete),
            ("OPTIONS * HTTP/1.1\r\n", Complete),
            ("GET /\u{e9} HTTP/1.1\r\n", Complete),
            (" GET / HTTP/1.1\r\n", Refused),
            ("GET  / HTTP/1.1\r\n", Refused),
            ("GET /a b HTTP/1.1\r\n", Refused),
            ("GET /\r\n", Refused),
            ("GET / HTTP/1.2\r\n", Refused),
            ("GET / http/1.1\r\n", Refused),
            ("GET / HTTP/1.1\rX", Refused),
            ("PRI * HTTP/2.0\r\n", Refused),
            ("HTTP/1.1 200 OK\r\n", Refused),
            ("\u{16}\u{3}\u{1}", Refused),
        ];
        for (line, expected) in cases {
            let mut whole = StartLine::request();
            assert_eq!(whole.feed(line.as_bytes()), *expected, "{line:?}");
            let mut pieces = StartLine::request();
            for byte in line.as_bytes() {
                pieces.feed(&[*byte]);
            }
            assert_eq!(pieces.verdict(), *expected, "{line:?} by bytes");
        }
        assert_eq!(StartLine::request().feed("M".repeat(65).as_bytes()), Refused);
        assert_eq!(StartLine::likely_request().feed(b"M-SEARCH * HTTP/1.1\r\n"), Complete);
        assert_eq!(StartLine::likely_request().feed(b"restGET"), Refused);
    }

    #[test]
    fn judges_status_lines() {
        use Verdict::{Complete, Pending, Refused};
        let cases: &[(&str, Verdict, u16)] = &[
            ("HTTP/1.1 200 OK\r\n", Complete, 200),
            ("HTTP/1.0 404 Not Found\n", Complete, 404),
            ("HTTP/1.1 204\r\n", Complete, 204),
            ("HTTP/1.1 999 \r\n", Complete, 999),
            ("HTTP/1.1 20", Pending, 20),
            ("HTTP/1.1 200 caf\u{e9}", Pending, 200),
            ("HTTP/1.1 099 x\r\n", Refused, 0),
            ("HTTP/1.1 2000\r\n", Refused, 200),
            ("HTTP/1.1  200 OK\r\n", Refused, 0),
            ("HTTP/2.0 200 OK\r\n", Refused, 0),
            ("ICY 200 OK\r\n", Refused, 0),
        ];
        for (line, expected, status) in cases {
            let mut judged = StartLine::status();
            assert_eq!((judged.feed(line.as_bytes()), judged.status), (*expected, *status), "{line:?}");
        }
    }

    #[test]
    fn says_where_the_parts_are() {
        let bytes = b"POST /x HTTP/1.0\r\nHost: a\r\n";
        let mut line = StartLine::request();
        line.feed(bytes);
        assert_eq!(
            (&bytes[..line.method_end], &bytes[line.method_end + 1..line.target_end]),
            (&b"POST"[..], &b"/x"[..])
        );
        assert_eq!((line.len, line.version), (18, HttpVersion::Http10));
    }
}
