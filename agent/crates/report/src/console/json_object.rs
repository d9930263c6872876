//! A JSON object written straight into a buffer: several times cheaper than by way of a derived serializer,
//! which looks at every character of every key and formats addresses through `dyn` calls.
//!
//! Invariant: what is written is one valid JSON object, whatever the texts hold; keys given as
//! literals are plain words.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddrV4};

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A key as it stands in a line: behind a comma, in quotes, before its colon. Made of a literal by `key!`, so that it is written
/// in one move; our own keys are plain words, in which nothing is to be escaped.
#[derive(Clone, Copy)]
pub(super) struct Key(pub(super) &'static str);

/// A literal as a [`Key`].
macro_rules! key {
    ($word:literal) => {
        $crate::console::json_object::Key(concat!(",\"", $word, "\":"))
    };
}
pub(super) use key;

/// An object that is being written. To be closed with [`end`](Self::end).
pub(super) struct Object<'a> {
    buffer: &'a mut Vec<u8>,
    /// Where it begins: its first key's comma stands there until its brace does.
    begin: usize,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `buffer`.
    pub(super) fn begin(buffer: &'a mut Vec<u8>) -> Self {
        let begin = buffer.len();
        Self { buffer, begin }
    }

    /// Closes it.
    pub(super) fn end(self) {
        match self.buffer.get_mut(self.begin) {
            Some(comma) => *comma = b'{',
            None => self.buffer.push(b'{'),
        }
        self.buffer.push(b'}');
    }

    /// Opens an object that is the value of `key`.
    pub(super) fn object(&mut self, key: Key) -> Object<'_> {
        self.raw(key.0);
        Object::begin(self.buffer)
    }

    pub(super) fn null(&mut self, key: Key) {
        self.raw(key.0);
        self.raw("null");
    }

    pub(super) fn number(&mut self, key: Key, number: impl itoa::Integer) {
        self.raw(key.0);
        self.raw(itoa::Buffer::new().format(number));
    }

    pub(super) fn optional_number(&mut self, key: Key, number: Option<impl itoa::Integer>) {
        match number {
            Some(number) => self.number(key, number),
            None => self.null(key),
        }
    }

    pub(super) fn text(&mut self, key: Key, text: &str) {
        self.raw(key.0);
        push_text(self.buffer, text);
    }

    pub(super) fn optional_text(&mut self, key: Key, text: Option<&str>) {
        match text {
            Some(text) => self.text(key, text),
            None => self.null(key),
        }
    }

    /// 16 hex digits.
    pub(super) fn hex(&mut self, key: Key, number: u64) {
        let digits = number
            .to_be_bytes()
            .map(|byte| [HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]]);
        self.raw(key.0);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(digits.as_flattened());
        self.buffer.push(b'"');
    }

    pub(super) fn ip(&mut self, key: Key, ip: IpAddr) {
        self.raw(key.0);
        self.buffer.push(b'"');
        match ip {
            IpAddr::V4(v4) => push_octets(self.buffer, v4.octets()),
            IpAddr::V6(v6) => write!(self.buffer, "{v6}").expect("writing to memory does not fail"),
        }
        self.buffer.push(b'"');
    }

    pub(super) fn ip_and_port(&mut self, key: Key, address: SocketAddrV4) {
        self.raw(key.0);
        self.buffer.push(b'"');
        push_octets(self.buffer, address.ip().octets());
        self.buffer.push(b':');
        self.raw(itoa::Buffer::new().format(address.port()));
        self.buffer.push(b'"');
    }

    /// Opens the value of a key that is not one of ours.
    pub(super) fn entry(&mut self, key: &str) -> Value<'_> {
        self.buffer.push(b',');
        push_text(self.buffer, key);
        self.buffer.push(b':');
        Value(self.buffer)
    }

    fn raw(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }
}

/// Where one value is to be written.
pub(super) struct Value<'a>(&'a mut Vec<u8>);

impl Value<'_> {
    pub(super) fn text(self, text: &str) {
        push_text(self.0, text);
    }

    pub(super) fn number(self, number: impl itoa::Integer) {
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// `null` if it is no number.
    pub(super) fn float(self, number: f64) {
        serde_json::to_writer(self.0, &number).expect("a number is written to memory");
    }

    pub(super) fn bool(self, yes: bool) {
        self.0.extend_from_slice(if yes { b"true" } else { b"false" });
    }
}

/// As long as the longest: three digits each, and a dot.
const OCTETS_BYTES: usize = 4 * 4;

fn push_octets(buffer: &mut Vec<u8>, octets: [u8; 4]) {
    let mut text = [b'.'; OCTETS_BYTES];
    let mut end = 0;
    for octet in octets {
        for (least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                text[end] = b'0' + octet / unit % 10;
                end += 1;
            }
        }
        text[end] = b'.';
        end += 1;
    }
    buffer.extend_from_slice(&text[..end - 1]);
}

fn push_text(buffer: &mut Vec<u8>, text: &str) {
    if has_escapes(text.as_bytes()) {
        serde_json::to_writer(buffer, text).expect("a text is written to memory");
    } else {
        buffer.push(b'"');
        buffer.extend_from_slice(text.as_bytes());
        buffer.push(b'"');
    }
}

/// Whether something in it is to be escaped, or, seldom, may be.
fn has_escapes(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    let mut last = [b' '; size_of::<u64>()];
    match text.last_chunk() {
        // Some of its bytes a second time.
        Some(chunk) => last = *chunk,
        None => last[..rest.len()].copy_from_slice(rest),
    }
    // All bytes are looked at, without a way out in between.
    words.iter().chain([&last]).fold(0, |found, word| found | escapes(u64::from_ne_bytes(*word))) != 0
}

/// Not 0 if one of a word's bytes is to be escaped: a quote, a backslash, below a space. A byte is less than another one
/// if to take that off borrows from its own highest bit, or from a byte that is less.
const fn escapes(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const fn less(word: u64, byte: u8) -> u64 {
        word.wrapping_sub(ONES * byte as u64) & !word
    }
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    (less(word, b' ') | less(quotes, 1) | less(backslashes, 1)) & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back() {
        let mut buffer = Vec::new();
        let mut object = Object::begin(&mut buffer);
        object.entry("a\"b").text("1\\2\u{7}\u{e9}");
        object.optional_text(key!("none"), None);
        object.optional_number(key!("no"), None::<u8>);
        object.optional_number(key!("most"), Some(u64::MAX));
        object.hex(key!("hex"), 0x0123_4567_89ab_cdef);
        object.ip(key!("v4"), [10, 0, 200, 3].into());
        object.ip(key!("v6"), std::net::Ipv6Addr::LOCALHOST.into());
        object.ip_and_port(key!("end"), SocketAddrV4::new([127, 0, 0, 1].into(), 65535));
        object.object(key!("empty")).end();
        let mut inner = object.object(key!("inner"));
        inner.number(key!("zero"), 0_u8);
        inner.end();
        object.end();
        let expected = concat!(
            r#"{"a\"b":"1\\2\u0007é","none":null,"no":null,"most":18446744073709551615,"#,
            r#""hex":"0123456789abcdef","v4":"10.0.200.3","v6":"::1","end":"127.0.0.1:65535","#,
            r#""empty":{},"inner":{"zero":0}}"#
        );
        assert_eq!(String::from_utf8(buffer).unwrap(), expected);
    }

    #[test]
    fn every_character_is_written_as_serde_json_writes_it() {
        for c in (0..0x180).filter_map(char::from_u32) {
            for (before, behind) in [(0, 0), (0, 7), (3, 0), (3, 4), (7, 0), (0, 8), (8, 0), (9, 3), (6, 17)]
            {
                let text = format!("{:b<before$}{c}{:h<behind$}", "", "");
                let mut buffer = Vec::new();
                push_text(&mut buffer, &text);
                assert_eq!(String::from_utf8(buffer).unwrap(), serde_json::to_string(&text).unwrap());
                assert!(c < ' ' || c == '"' || c == '\\' || !has_escapes(text.as_bytes()), "{text}");
            }
        }
    }
}
