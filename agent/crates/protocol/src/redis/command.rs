//! Commands: arrays of bulk strings, or words in a line. Invariant: of a command's arguments only a few first
//! bytes are kept, only while it is read, and never those of an authentication.

use crate::database::{Text, TextLane};

const MAX_NAME_BYTES: usize = 40;
const MAX_KEY_BYTES: usize = 128;
/// The name, and what may be a key, a subcommand, its argument.
const MAX_KEPT_ARGUMENTS: usize = 3;
/// `proto-max-bulk-len` is 512 MiB unless set otherwise, the number of arguments 1024 * 1024 (Redis 7.0,
/// src/config.c and src/networking.c).
pub(super) const MAX_BULK_BYTES: u64 = 4 << 30;
const MAX_ARGUMENTS: u64 = 1024 * 1024;

/// Commands whose first argument is no key, or whose arguments hold secrets or code.
const KEYLESS: &[&str] = &[
    "ACL",
    "AUTH",
    "CLIENT",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "DEBUG",
    "ECHO",
    "EVAL",
    "EVALSHA",
    "EVALSHA_RO",
    "EVAL_RO",
    "FAILOVER",
    "FCALL",
    "FCALL_RO",
    "FUNCTION",
    "HELLO",
    "INFO",
    "LATENCY",
    "MEMORY",
    "MIGRATE",
    "MODULE",
    "OBJECT",
    "PING",
    "REPLICAOF",
    "SCAN",
    "SCRIPT",
    "SELECT",
    "SLAVEOF",
    "SLOWLOG",
    "SWAPDB",
    "WAIT",
    "XGROUP",
    "XINFO",
];

/// A command that is being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    sent: Sent,
    /// Arguments still to come.
    left: u64,
}

/// A command.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    kept: Vec<Vec<u8>>,
    arguments: u64,
    pub(super) bytes: u64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) position: u64,
}

impl Reading {
    /// A line has been read. `Err`: nothing that a client may send.
    pub(super) fn line(&mut self, line: &Text, from: &mut TextLane) -> Result<Option<Sent>, ()> {
        if self.left > 0 {
            let len = number(&line.bytes, b'$').filter(|len| *len <= MAX_BULK_BYTES).ok_or(())?;
            self.sent.bytes += line.len;
            from.expect_block(len + 2, MAX_KEY_BYTES + 2);
            return Ok(None);
        }
        let begin = Sent {
            bytes: line.len,
            start_ns: line.start_ns,
            end_ns: line.end_ns,
            position: line.position,
            ..Sent::default()
        };
        match line.bytes.first() {
            None => Ok(None),
            Some(b'*') => {
                let count = number(&line.bytes, b'*').filter(|count| *count <= MAX_ARGUMENTS).ok_or(())?;
                self.left = count;
                self.sent = Sent { arguments: count, ..begin };
                Ok(None)
            }
            Some(_) => {
                let words = line.bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                let arguments = words.clone().count() as u64;
                let keep = |word: &[u8]| word[..word.len().min(MAX_KEY_BYTES)].to_vec();
                let kept = words.take(MAX_KEPT_ARGUMENTS).map(keep).collect();
                let sent = Sent { kept, arguments, ..begin };
                if sent.is_named() { Ok(Some(sent)) } else { Err(()) }
            }
        }
    }

    /// An argument has been read.
    pub(super) fn block(&mut self, block: &Text) -> Result<Option<Sent>, ()> {
        self.sent.bytes = self.sent.bytes.saturating_add(block.len);
        self.sent.end_ns = block.end_ns;
        self.left = self.left.saturating_sub(1);
        if self.sent.kept.len() < MAX_KEPT_ARGUMENTS {
            let argument = block.bytes.strip_suffix(b"\r\n").unwrap_or(&block.bytes);
            self.sent.kept.push(argument[..argument.len().min(MAX_KEY_BYTES)].to_vec());
            if self.sent.kept.len() == 1 && !self.sent.is_named() {
                return Err(());
            }
        }
        Ok((self.left == 0).then(|| std::mem::take(&mut self.sent)))
    }

    /// What is known of a command whose rest was lost.
    pub(super) fn cut(self) -> Option<Sent> {
        (self.left > 0 && self.sent.is_named()).then_some(self.sent)
    }
}

impl Sent {
    fn is_named(&self) -> bool {
        self.kept.first().is_some_and(|name| is_name(name))
    }

    /// The command's name, in upper case.
    pub(super) fn name(&self) -> String {
        let name = self.kept.first().map_or(&b""[..], |name| name);
        String::from_utf8_lossy(name).to_ascii_uppercase()
    }

    fn is(&self, at: usize, word: &str) -> bool {
        self.kept.get(at).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// It makes the server answer no more, or speak of something else from then on.
    pub(super) fn silences(&self) -> bool {
        (self.is(0, "client") && self.is(1, "reply") && !self.is(2, "on"))
            || ["monitor", "sync", "psync"].iter().any(|name| self.is(0, name))
    }

    /// How many confirmations a subscription has.
    pub(super) fn confirmations(&self) -> Option<u64> {
        let subscribes =
            ["subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"]
                .iter()
                .any(|name| self.is(0, name));
        // Without a channel it is all that there are; at least one confirmation comes.
        subscribes.then(|| self.arguments.saturating_sub(1).max(1))
    }

    /// The database that is to be used from now on.
    pub(super) fn selects(&self) -> Option<String> {
        let index = self.kept.get(1).filter(|_| self.is(0, "select"))?;
        let plain = !index.is_empty() && index.len() <= 8 && index.iter().all(u8::is_ascii_digit);
        plain.then(|| String::from_utf8_lossy(index).into_owned())
    }

    /// The command with its key, and `?` for everything else: `SET user:1 ?`.
    pub(super) fn text(&self) -> String {
        let mut text = self.name();
        let keyless = KEYLESS.binary_search(&text.as_str()).is_ok();
        if let Some(key) = self.kept.get(1).filter(|_| !keyless) {
            text.push(' ');
            text.push_str(&String::from_utf8_lossy(key));
        }
        if self.arguments > if keyless { 1 } else { 2 } {
            text.push_str(" ?");
        }
        text
    }
}

/// The number behind a mark.
pub(super) fn number(line: &[u8], mark: u8) -> Option<u64> {
    let digits = line.strip_prefix(&[mark])?;
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

/// `GET`, `JSON.SET`, `FT._LIST`: no command is called otherwise.
fn is_name(name: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.len() <= MAX_NAME_BYTES
        && name.iter().all(inner)
}

/// Whether bytes begin with a command: an array whose first string is a name, or a `PING` in a line. `None`: they
/// may, once there are more.
pub(crate) fn looks_like_command(bytes: &[u8]) -> Option<bool> {
    const PING: &[u8] = b"PING\r\n";
    if let Some(b'P' | b'p') = bytes.first() {
        let common = bytes.len().min(PING.len());
        let pings = bytes[..common].eq_ignore_ascii_case(&PING[..common]);
        return if pings && common < PING.len() { None } else { Some(pings) };
    }
    let (count, first) = match numbered_line(bytes, b'*') {
        Line::Whole(count, len) => (count, len),
        Line::Begun => return None,
        Line::Other => return Some(false),
    };
    if count == 0 || count > MAX_ARGUMENTS {
        return Some(false);
    }
    let (len, second) = match numbered_line(&bytes[first..], b'$') {
        Line::Whole(len, bytes) => (len, bytes),
        Line::Begun => return None,
        Line::Other => return Some(false),
    };
    let Some(len) = usize::try_from(len).ok().filter(|len| (1..=MAX_NAME_BYTES).contains(len)) else {
        return Some(false);
    };
    let name = &bytes[first + second..];
    if !name.is_empty() && !is_name(&name[..name.len().min(len)]) {
        return Some(false);
    }
    match name.get(len..) {
        Some([b'\r', b'\n', ..]) => Some(true),
        Some([] | [b'\r']) | None => None,
        Some(_) => Some(false),
    }
}

/// What a line with a number is.
enum Line {
    /// The number, and how many bytes the line takes.
    Whole(u64, usize),
    /// More bytes are needed.
    Begun,
    Other,
}

fn numbered_line(bytes: &[u8], mark: u8) -> Line {
    let Some((&first, rest)) = bytes.split_first() else { return Line::Begun };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if first != mark || digits > 10 {
        return Line::Other;
    }
    match rest[digits..] {
        [b'\r', b'\n', ..] => {
            number(&bytes[..=digits], mark).map_or(Line::Other, |value| Line::Whole(value, digits + 3))
        }
        [] | [b'\r'] => Line::Begun,
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyless_are_sorted() {
        assert!(KEYLESS.is_sorted());
    }

    #[test]
    fn what_begins_with_a_command() {
        for (bytes, want) in [
            ("*1\r\n$4\r\nPING\r\n", Some(true)),
            ("*3\r\n$3\r\nSET\r\n$1\r\na\r\n", Some(true)),
            ("*2\r\n$8\r\nJSON.GET\r\n$1", Some(true)),
            ("PING\r\n", Some(true)),
            ("*1\r\n$4\r\nPI", None),
            ("*", None),
            ("*1\r", None),
            ("PIN", None),
            ("", None),
            ("PUT / HTTP/1.1\r\n", Some(false)),
            ("* HTTP", Some(false)),
            ("*1\r\n$4\r\nP NG\r\n", Some(false)),
            ("*1\r\n$4\r\nPINGS\r\n", Some(false)),
            ("*0\r\n$4\r\nPING\r\n", Some(false)),
            ("*1\r\n:4\r\n", Some(false)),
            ("*99999999999\r\n", Some(false)),
            ("GET / HTTP/1.1", Some(false)),
        ] {
            assert_eq!(looks_like_command(bytes.as_bytes()), want, "{bytes:?}");
        }
    }
}
