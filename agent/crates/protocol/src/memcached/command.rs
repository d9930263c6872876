//! Command lines, and the lines that answer them. Invariant: a line is a command only if all of it has the form
//! that doc/protocol.txt gives.

use crate::database::{Looks, Text};

const MAX_KEY_BYTES: usize = 250;
const MAX_DATA_BYTES: u64 = 1 << 31;

/// What a command does. The names are those of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Gets,
    Gat,
    Gats,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Incr,
    Decr,
    Delete,
    Touch,
    Stats,
    Version,
    Verbosity,
    FlushAll,
    Quit,
    Watch,
    MetaGet,
    MetaSet,
    MetaDelete,
    MetaArithmetic,
    MetaDebug,
    MetaNoop,
}

use Verb::{
    Add, Append, Cas, Decr, Delete, FlushAll, Gat, Gats, Get, Gets, Incr, MetaArithmetic, MetaDebug,
    MetaDelete, MetaGet, MetaNoop, MetaSet, Prepend, Quit, Replace, Set, Stats, Touch, Verbosity, Version,
    Watch,
};

const VERBS: [Verb; 26] = [
    Get,
    Gets,
    Gat,
    Gats,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Incr,
    Decr,
    Delete,
    Touch,
    Stats,
    Version,
    Verbosity,
    FlushAll,
    Quit,
    Watch,
    MetaGet,
    MetaSet,
    MetaDelete,
    MetaArithmetic,
    MetaDebug,
    MetaNoop,
];

/// How a command is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// One line.
    Line,
    /// Values or statistics up to `END`.
    Values,
    /// One line, or a value.
    Meta,
    /// `MN`
    Noop,
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asks {
    pub(super) verb: Verb,
    key: Option<Vec<u8>>,
    /// So many bytes of data follow, and a line's end.
    pub(super) data_bytes: Option<u64>,
    /// It is not answered.
    pub(super) silent: bool,
    /// It is answered only sometimes.
    pub(super) quiet: bool,
    pub(super) bytes: u64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) position: u64,
}

impl Verb {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Get => "get",
            Gets => "gets",
            Gat => "gat",
            Gats => "gats",
            Set => "set",
            Add => "add",
            Replace => "replace",
            Append => "append",
            Prepend => "prepend",
            Cas => "cas",
            Incr => "incr",
            Decr => "decr",
            Delete => "delete",
            Touch => "touch",
            Stats => "stats",
            Version => "version",
            Verbosity => "verbosity",
            FlushAll => "flush_all",
            Quit => "quit",
            Watch => "watch",
            MetaGet => "mg",
            MetaSet => "ms",
            MetaDelete => "md",
            MetaArithmetic => "ma",
            MetaDebug => "me",
            MetaNoop => "mn",
        }
    }

    pub(super) const fn takes_many_keys(self) -> bool {
        matches!(self, Get | Gets | Gat | Gats)
    }
}

impl Asks {
    pub(super) fn read(line: &Text) -> Option<Self> {
        let mut words = line.bytes.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let name = words.next()?;
        let verb = VERBS.into_iter().find(|verb| verb.as_str().as_bytes() == name)?;
        let words: Vec<&[u8]> = words.take(512).collect();
        let mut asks = Self {
            verb,
            key: None,
            data_bytes: None,
            silent: false,
            quiet: false,
            bytes: line.len,
            start_ns: line.start_ns,
            end_ns: line.end_ns,
            position: line.position,
        };
        let key_at = usize::from(matches!(verb, Gat | Gats));
        let keyed = !matches!(verb, Stats | Version | Verbosity | FlushAll | Quit | Watch | MetaNoop);
        if keyed {
            let key = words.get(key_at).filter(|key| is_key(key))?;
            asks.key = Some(key.to_vec());
        }
        let number_at = |at: usize| words.get(at).and_then(|word| number(word));
        match verb {
            Set | Add | Replace | Append | Prepend | Cas => {
                let fixed = if verb == Cas { 5 } else { 4 };
                asks.data_bytes = Some(number_at(3).filter(|bytes| *bytes <= MAX_DATA_BYTES)?);
                number_at(1)?;
                signed(words.get(2)?)?;
                asks.silent = noreply(&words, fixed)?;
            }
            Incr | Decr | Touch => {
                signed(words.get(1)?)?;
                asks.silent = noreply(&words, 2)?;
            }
            // An old form has a time, which must be 0.
            Delete => asks.silent = words.last() == Some(&&b"noreply"[..]) && words.len() > 1,
            Gat | Gats => {
                signed(words.first()?)?;
            }
            FlushAll | Verbosity => asks.silent = words.last() == Some(&&b"noreply"[..]),
            MetaSet => asks.data_bytes = Some(number_at(1).filter(|bytes| *bytes <= MAX_DATA_BYTES)?),
            Version | Quit | MetaNoop if !words.is_empty() => return None,
            _ => {}
        }
        if matches!(verb, MetaGet | MetaSet | MetaDelete | MetaArithmetic) {
            let flags = words.get(if verb == MetaSet { 2 } else { 1 }..).unwrap_or_default();
            asks.quiet = flags.contains(&&b"q"[..]);
        }
        Some(asks)
    }

    pub(super) fn answer(&self) -> Answer {
        match self.verb {
            Get | Gets | Gat | Gats | Stats => Answer::Values,
            MetaNoop => Answer::Noop,
            MetaGet | MetaSet | MetaDelete | MetaArithmetic | MetaDebug => Answer::Meta,
            _ => Answer::Line,
        }
    }

    /// The command with its first key: `set user:1 ?`.
    pub(super) fn text(&self) -> String {
        match &self.key {
            Some(key) if self.data_bytes.is_some() => {
                format!("{} {} ?", self.verb.as_str(), String::from_utf8_lossy(key))
            }
            Some(key) => format!("{} {}", self.verb.as_str(), String::from_utf8_lossy(key)),
            None => self.verb.as_str().to_owned(),
        }
    }
}

/// Whether `noreply` stands behind so many words; `None` if something else does.
fn noreply(words: &[&[u8]], fixed: usize) -> Option<bool> {
    match words.get(fixed..)? {
        [] => Some(false),
        [b"noreply"] => Some(true),
        _ => None,
    }
}

fn is_key(word: &[u8]) -> bool {
    word.len() <= MAX_KEY_BYTES && word.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 19 || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')))
}

fn signed(word: &[u8]) -> Option<u64> {
    number(word.strip_prefix(b"-").unwrap_or(word))
}

/// How many bytes of a value follow a line.
pub(super) fn value_bytes(line: &[u8]) -> Option<u64> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').take(6).collect();
    let bytes = match words[..] {
        [b"VALUE", _, _, bytes] | [b"VALUE", _, _, bytes, _] | [b"VA", bytes, ..] => number(bytes),
        _ => None,
    };
    bytes.filter(|bytes| *bytes <= MAX_DATA_BYTES)
}

/// The kind of an error's line.
pub(super) fn error_code(line: &[u8]) -> Option<&'static str> {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].into_iter().find(|code| code.as_bytes() == word)
}

/// Whether a client's call of `len` bytes begins with a command. Most commands are one only if the answer is one
/// too.
pub(crate) fn looks_like_command(bytes: &[u8], len: u64) -> Looks {
    if is_binary(bytes, len) {
        return Looks::Surely;
    }
    let Some(end) = memchr::memmem::find(&bytes[..bytes.len().min(2048)], b"\r\n") else {
        return Looks::Other;
    };
    let line = Text {
        bytes: bytes[..end].to_vec(),
        len: end as u64 + 2,
        start_ns: 0,
        end_ns: 0,
        position: 0,
        unseen_end: false,
    };
    match Asks::read(&line) {
        Some(asks) if asks.data_bytes.is_some() && asks.verb != MetaSet => Looks::Surely,
        Some(_) if memchr::memmem::find(&line.bytes, b" HTTP/").is_none() => Looks::Perhaps,
        _ => Looks::Other,
    }
}

/// A request of the binary protocol (memcached 1.6, doc/protocol-binary.txt): magic, code, lengths that fit each
/// other and the call.
pub(super) fn is_binary(bytes: &[u8], len: u64) -> bool {
    let [0x80, code, k1, k2, extras, 0, _, _, b1, b2, b3, b4, ..] = *bytes else { return false };
    let key = u32::from(u16::from_be_bytes([k1, k2]));
    let body = u32::from_be_bytes([b1, b2, b3, b4]);
    // A call may hold a header and only the beginning of the value it sets.
    let fits = u64::from(body) + 24 <= len || code == 1;
    bytes.len() >= 24 && code <= 0x48 && key <= 250 && extras <= 20 && body >= key + u32::from(extras) && fits
}

/// Whether a server's call begins with an answer.
pub(crate) fn looks_like_answer(bytes: &[u8]) -> bool {
    let Some(end) = memchr::memmem::find(&bytes[..bytes.len().min(2048)], b"\r\n") else { return false };
    let line = &bytes[..end];
    let plain: [&[u8]; 14] = [
        b"END",
        b"STORED",
        b"NOT_STORED",
        b"EXISTS",
        b"NOT_FOUND",
        b"DELETED",
        b"TOUCHED",
        b"OK",
        b"ERROR",
        b"HD",
        b"EN",
        b"NF",
        b"NS",
        b"MN",
    ];
    let begins: [&[u8]; 6] = [b"VERSION ", b"STAT ", b"CLIENT_ERROR ", b"SERVER_ERROR ", b"HD ", b"ME "];
    value_bytes(line).is_some()
        || plain.contains(&line)
        || begins.iter().any(|word| line.starts_with(word))
        || number(line).is_some()
}
