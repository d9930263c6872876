//! Replies, however deep they are nested. Invariant: a reply is whole when all its elements are, and depth is
//! bounded.

use super::command::{MAX_BULK_BYTES, number};
use crate::database::{Text, TextLane};

const MAX_DEPTH: usize = 32;
const MAX_ELEMENTS: u64 = 1 << 32;
const MAX_KIND_BYTES: usize = 16;
const MAX_ERROR_BYTES: usize = 64;

/// Replies while they are read.
#[derive(Debug, Default)]
pub(super) struct Replies {
    reply: Reply,
    begun: bool,
    open: Vec<Nested>,
    /// The block that comes is an error's text.
    error_block: bool,
}

/// An array, a set, a map that is being read.
#[derive(Debug)]
struct Nested {
    left: u64,
    /// It stands before an element without being one (RESP3 attributes).
    attribute: bool,
}

/// A reply.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// It came unasked, unless it is a confirmation.
    pub(super) pushed: bool,
    is_array: bool,
    /// The first string in it.
    first: Option<Vec<u8>>,
    pub(super) error: Option<String>,
    /// Where it begins and ends in its direction.
    pub(super) position: u64,
    pub(super) end: u64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

impl Replies {
    /// Where the reply that is passing began, and when, if it was asked for.
    pub(super) fn under_way(&self) -> Option<(u64, u64)> {
        (self.begun && !self.reply.pushed).then_some((self.reply.start_ns, self.reply.position))
    }

    /// A line has been read. `Err`: nothing that a server may send.
    pub(super) fn line(&mut self, line: &Text, from: &mut TextLane) -> Result<Option<Reply>, ()> {
        if !self.begun {
            self.begun = true;
            self.reply = Reply { start_ns: line.start_ns, position: line.position, ..Reply::default() };
        }
        self.reply.end = line.position.saturating_add(line.len);
        self.reply.end_ns = line.end_ns;
        let (&mark, text) = line.bytes.split_first().ok_or(())?;
        match mark {
            b'+' | b':' | b',' | b'#' | b'(' | b'_' => Ok(self.element()),
            b'-' => {
                self.error(text);
                Ok(self.element())
            }
            // Null, as RESP2 writes it.
            b'$' | b'*' if text == b"-1" => Ok(self.element()),
            b'$' | b'=' | b'!' => {
                let len = number(&line.bytes, mark).filter(|len| *len <= MAX_BULK_BYTES).ok_or(())?;
                self.error_block = mark == b'!';
                from.expect_block(len + 2, MAX_ERROR_BYTES);
                Ok(None)
            }
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let count = number(&line.bytes, mark).filter(|count| *count <= MAX_ELEMENTS).ok_or(())?;
                self.aggregate(mark, count)
            }
            _ => Err(()),
        }
    }

    fn aggregate(&mut self, mark: u8, count: u64) -> Result<Option<Reply>, ()> {
        let attribute = mark == b'|';
        if self.open.is_empty() && !attribute {
            self.reply.pushed = mark == b'>';
            self.reply.is_array = matches!(mark, b'*' | b'>');
        }
        let left = if matches!(mark, b'%' | b'|') { 2 * count } else { count };
        if left == 0 {
            return Ok(if attribute { None } else { self.element() });
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(());
        }
        self.open.push(Nested { left, attribute });
        Ok(None)
    }

    /// A string has been read.
    pub(super) fn block(&mut self, block: &Text) -> Option<Reply> {
        self.reply.end = block.position.saturating_add(block.len);
        self.reply.end_ns = block.end_ns;
        if std::mem::take(&mut self.error_block) {
            self.error(&block.bytes);
        } else if self.reply.is_array && self.open.len() == 1 && self.reply.first.is_none() {
            let text = block.bytes.strip_suffix(b"\r\n").unwrap_or(&block.bytes);
            self.reply.first = Some(text[..text.len().min(MAX_KIND_BYTES)].to_vec());
        }
        self.element()
    }

    /// An element is whole; and so may be what it stands in.
    fn element(&mut self) -> Option<Reply> {
        while let Some(nested) = self.open.last_mut() {
            nested.left = nested.left.saturating_sub(1);
            if nested.left > 0 {
                return None;
            }
            let attribute = nested.attribute;
            self.open.pop();
            if attribute {
                return None;
            }
        }
        self.begun = false;
        Some(std::mem::take(&mut self.reply))
    }

    /// The word that an error begins with is its kind, if it is in capitals.
    fn error(&mut self, text: &[u8]) {
        let word = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let kind = !word.is_empty() && word.len() <= 32 && word.iter().all(u8::is_ascii_uppercase);
        let kind = if kind { String::from_utf8_lossy(word).into_owned() } else { "ERR".to_owned() };
        self.reply.error.get_or_insert(kind);
    }
}

impl Reply {
    /// It confirms a subscription or its end.
    pub(super) fn is_confirmation(&self) -> bool {
        self.first.as_deref().is_some_and(|first| {
            let kind = first.strip_prefix(b"p").or_else(|| first.strip_prefix(b"s")).unwrap_or(first);
            [&b"subscribe"[..], b"unsubscribe"].contains(&first)
                || [&b"subscribe"[..], b"unsubscribe"].contains(&kind)
        })
    }

    /// A message of a subscription.
    pub(super) fn is_message(&self) -> bool {
        let messages = [&b"message"[..], b"pmessage", b"smessage"];
        self.first.as_deref().is_some_and(|first| messages.contains(&first))
    }
}
