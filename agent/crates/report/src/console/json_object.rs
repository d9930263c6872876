//! A JSON object written straight into a buffer: several times cheaper than by way of a derived serializer,
//! which looks at every character of every key and formats addresses through `dyn` calls.
//!
//! Invariant: what is written is one valid JSON object, whatever the texts hold; keys given as
//! literals are plain words.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddrV4};

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// An object that is being written. To be closed with [`end`](Self::end).
pub(super) struct Object<'a> {
    buffer: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `buffer`.
    pub(super) fn begin(buffer: &'a mut Vec<u8>) -> Self {
        buffer.push(b'{');
        Self { buffer, empty: true }
    }

    /// Closes it.
    pub(super) fn end(self) {
        self.buffer.push(b'}');
    }

    /// Opens an object that is the value of `key`.
    pub(super) fn object(&mut self, key: &'static str) -> Object<'_> {
        self.key(key);
        Object::begin(self.buffer)
    }

    pub(super) fn null(&mut self, key: &'static str) {
        self.key(key);
        self.buffer.extend_from_slice(b"null");
    }

    pub(super) fn number(&mut self, key: &'static str, number: impl itoa::Integer) {
        self.key(key);
        push_number(self.buffer, number);
    }

    /// `null` if it is no number.
    pub(super) fn float(&mut self, key: &'static str, number: f64) {
        self.key(key);
        serde_json::to_writer(&mut *self.buffer, &number).expect("a number is written to memory");
    }

    pub(super) fn bool(&mut self, key: &'static str, yes: bool) {
        self.key(key);
        self.buffer.extend_from_slice(if yes { b"true" } else { b"false" });
    }

    pub(super) fn optional_number(&mut self, key: &'static str, number: Option<impl itoa::Integer>) {
        match number {
            Some(number) => self.number(key, number),
            None => self.null(key),
        }
    }

    pub(super) fn text(&mut self, key: &'static str, text: &str) {
        self.key(key);
        push_text(self.buffer, text);
    }

    pub(super) fn optional_text(&mut self, key: &'static str, text: Option<&str>) {
        match text {
            Some(text) => self.text(key, text),
            None => self.null(key),
        }
    }

    /// 16 hex digits.
    pub(super) fn hex(&mut self, key: &'static str, number: u64) {
        self.key(key);
        self.buffer.push(b'"');
        let nibbles = (0..16).rev().map(|nibble| (number >> (4 * nibble)) as usize & 15);
        self.buffer.extend(nibbles.map(|nibble| HEX_DIGITS[nibble]));
        self.buffer.push(b'"');
    }

    pub(super) fn ip(&mut self, key: &'static str, ip: IpAddr) {
        self.key(key);
        self.buffer.push(b'"');
        match ip {
            IpAddr::V4(v4) => push_octets(self.buffer, v4.octets()),
            IpAddr::V6(v6) => write!(self.buffer, "{v6}").expect("writing to memory does not fail"),
        }
        self.buffer.push(b'"');
    }

    pub(super) fn ip_and_port(&mut self, key: &'static str, address: SocketAddrV4) {
        self.key(key);
        self.buffer.push(b'"');
        push_octets(self.buffer, address.ip().octets());
        self.buffer.push(b':');
        push_number(self.buffer, address.port());
        self.buffer.push(b'"');
    }

    /// A text whose key is not one of ours.
    pub(super) fn entry(&mut self, key: &str, text: &str) {
        self.separate();
        push_text(self.buffer, key);
        self.buffer.push(b':');
        push_text(self.buffer, text);
    }

    /// Our own keys are plain words: nothing in them is to be escaped. In place, a literal is copied in one or two
    /// moves; called, it costs ten times as much.
    #[expect(clippy::inline_always, reason = "measured: 1,300 instructions for each line")]
    #[inline(always)]
    fn key(&mut self, key: &'static str) {
        self.separate();
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(key.as_bytes());
        self.buffer.extend_from_slice(b"\":");
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.empty) {
            self.buffer.push(b',');
        }
    }
}

fn push_number(buffer: &mut Vec<u8>, number: impl itoa::Integer) {
    buffer.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_octets(buffer: &mut Vec<u8>, octets: [u8; 4]) {
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 {
            buffer.push(b'.');
        }
        push_number(buffer, octet);
    }
}

fn push_text(buffer: &mut Vec<u8>, text: &str) {
    // All bytes are looked at, without a way out in between, so that it is done 16 at a time.
    let escapes = text.bytes().fold(false, |found, byte| found | matches!(byte, 0..b' ' | b'"' | b'\\'));
    if escapes {
        serde_json::to_writer(buffer, text).expect("a text is written to memory");
    } else {
        buffer.push(b'"');
        buffer.extend_from_slice(text.as_bytes());
        buffer.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back() {
        let mut buffer = Vec::new();
        let mut object = Object::begin(&mut buffer);
        object.entry("a\"b", "1\\2\u{7}\u{e9}");
        object.optional_text("none", None);
        object.optional_number("no", None::<u8>);
        object.optional_number("most", Some(u64::MAX));
        object.hex("hex", 0x0123_4567_89ab_cdef);
        object.ip("v4", [10, 0, 200, 3].into());
        object.ip("v6", std::net::Ipv6Addr::LOCALHOST.into());
        object.ip_and_port("end", SocketAddrV4::new([127, 0, 0, 1].into(), 65535));
        object.object("empty").end();
        let mut inner = object.object("inner");
        inner.number("zero", 0_u8);
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
            let text = format!("before{c}behind");
            let mut buffer = Vec::new();
            push_text(&mut buffer, &text);
            assert_eq!(String::from_utf8(buffer).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }
}
