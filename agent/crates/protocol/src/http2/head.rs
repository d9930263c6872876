//! A header block as a value: the pseudo-header fields (RFC 9113 section 8.3) and the others.

use crate::hpack::Field;
use crate::http1::Headers;

/// Fields and text kept of one block.
const MAX_FIELDS: usize = 256;
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// What a header block says. What is `None` was not sent, or is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// `:method`
    pub method: Option<String>,
    /// `:scheme`
    pub scheme: Option<String>,
    /// `:authority`
    pub authority: Option<String>,
    /// `:path`
    pub path: Option<String>,
    /// `:status`
    pub status: Option<u16>,
    /// `:protocol` (RFC 8441): what an extended CONNECT asks for.
    pub protocol: Option<String>,
    /// The other fields whose name and value are known.
    pub headers: Headers,
    /// Fields of which the name or the value is not known.
    pub unknown: usize,
    /// The block goes on past what was seen or is kept.
    pub truncated: bool,
    text_bytes: usize,
}

impl Head {
    /// Every field that was sent is here.
    pub fn is_whole(&self) -> bool {
        self.unknown == 0 && !self.truncated
    }

    /// A request, by the pseudo-header fields that are known.
    pub fn asks(&self) -> bool {
        self.method.is_some() || self.scheme.is_some() || self.path.is_some() || self.authority.is_some()
    }

    pub(super) fn add(&mut self, field: Field<'_>) {
        let (Some(name), Some(value)) = (field.name, field.value) else {
            self.unknown += 1;
            return;
        };
        self.text_bytes += name.len() + value.len();
        if self.text_bytes > MAX_TEXT_BYTES || self.headers.len() >= MAX_FIELDS {
            self.truncated = true;
            return;
        }
        let text = || Some(String::from_utf8_lossy(value).into_owned());
        match name {
            b":method" => self.method = text(),
            b":scheme" => self.scheme = text(),
            b":authority" => self.authority = text(),
            b":path" => self.path = text(),
            b":protocol" => self.protocol = text(),
            b":status" => self.status = status(value),
            _ => self.headers.push(&String::from_utf8_lossy(name), value),
        }
    }
}

/// Three digits, and nothing else.
fn status(value: &[u8]) -> Option<u16> {
    let digits = value.len() == 3 && value.iter().all(u8::is_ascii_digit);
    digits.then(|| value.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_fits_and_counts_the_rest() {
        let mut head = Head::default();
        let mut add = |name: &[u8], value: Option<&[u8]>| head.add(Field { name: Some(name), value });
        add(b":status", Some(b"0200"));
        add(b":method", Some(b"GET"));
        add(b"x-a", None);
        add(b"x-b", Some(b" 1 "));
        assert_eq!((head.status, head.method.as_deref(), head.unknown), (None, Some("GET"), 1));
        assert_eq!(head.headers.get("x-b"), Some("1"));
        assert!(!head.truncated && !head.is_whole());
        for _ in 0..300 {
            head.add(Field { name: Some(b"x"), value: Some(b"y") });
        }
        assert!(head.truncated);
        assert_eq!(head.headers.len(), MAX_FIELDS);
    }
}
