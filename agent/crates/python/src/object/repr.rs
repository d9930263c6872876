//! `repr` and `str` of the basic objects, without running code. What only code could tell is named by its type.

use std::fmt::Write as _;

use super::{IS_BYTES, IS_EXCEPTION, IS_INT, IS_LIST, IS_STR, IS_TUPLE, IS_TYPE, ITEMS_MAX, Objects};

/// Containers in containers.
const DEPTH_MAX: u32 = 4;
/// Text of all objects together is not made longer than about this.
pub(crate) const TEXT_CHARS_MAX: usize = 1024;

impl Objects<'_> {
    /// `str(object)`.
    pub(crate) fn str_of(&self, address: u64) -> String {
        match self.str(address, TEXT_CHARS_MAX) {
            Some(text) if text.is_cut => text.text + "\u{2026}",
            Some(text) => text.text,
            None => self.repr(address),
        }
    }

    /// `repr(object)`.
    pub(crate) fn repr(&self, address: u64) -> String {
        let mut out = String::new();
        self.write_repr(address, DEPTH_MAX, &mut out);
        out
    }

    /// `repr` of a tuple of these items, of which there are `size`.
    pub(crate) fn tuple_repr(&self, items: &[u64], size: u64) -> String {
        let mut out = String::new();
        self.write_items(items, size, ('(', ')'), DEPTH_MAX, &mut out);
        out
    }

    fn write_repr(&self, address: u64, depth: u32, out: &mut String) {
        if depth == 0 || out.len() > TEXT_CHARS_MAX || self.write_known(address, depth, out).is_none() {
            let name = self.type_of(address).and_then(|kind| self.type_name(kind));
            let name = name.map_or_else(|| "unknown".to_owned(), |name| name.full());
            // Writing into a String cannot fail.
            let _ = write!(out, "<{name} object>");
        }
    }

    /// `None`, and nothing written: the object is of no type that is known here.
    fn write_known(&self, address: u64, depth: u32, out: &mut String) -> Option<()> {
        let kind = self.type_of(address)?;
        let flags = self.flags_of_type(kind)?;
        if flags & IS_STR != 0 {
            let text = self.str(address, TEXT_CHARS_MAX)?;
            quote(&text.text, out);
            out.push_str(if text.is_cut { "\u{2026}" } else { "" });
        } else if flags & IS_INT != 0 {
            let number = self.int(address)?;
            match (self.type_name(kind)?.qualname.as_str(), number.as_str()) {
                ("bool", "0") => out.push_str("False"),
                ("bool", _) => out.push_str("True"),
                ("int", _) => out.push_str(&number),
                // An enum's member and its like: their own code says what they look like.
                _ => return None,
            }
        } else if flags & IS_TUPLE != 0 {
            let (items, size) = self.tuple(address)?;
            self.write_items(&items, size, ('(', ')'), depth, out);
        } else if flags & IS_LIST != 0 {
            let size = self.word(address, self.layout.object.size)?;
            let items = match size {
                0 => Vec::new(),
                _ => self.pointers(self.pointer(address, self.layout.object.list_items)?, size)?,
            };
            self.write_items(&items, size, ('[', ']'), depth, out);
        } else if flags & IS_BYTES != 0 {
            quote_bytes(&self.bytes(address, TEXT_CHARS_MAX)?, out);
        } else if flags & IS_TYPE != 0 {
            let _ = write!(out, "<class '{}'>", self.type_name(address)?.full());
        } else if flags & IS_EXCEPTION != 0 {
            let name = self.type_name(kind)?;
            let (items, size) = self.tuple(self.pointer(address, self.layout.exception.args)?)?;
            out.push_str(name.last());
            match items.as_slice() {
                [only] if size == 1 => {
                    out.push('(');
                    self.write_repr(*only, depth - 1, out);
                    out.push(')');
                }
                _ => self.write_items(&items, size, ('(', ')'), depth, out),
            }
        } else {
            match self.type_name(kind)?.full().as_str() {
                "NoneType" => out.push_str("None"),
                "ellipsis" => out.push_str("Ellipsis"),
                "float" => out.push_str(&self.float(address)?),
                _ => return None,
            }
        }
        Some(())
    }

    fn write_items(&self, items: &[u64], size: u64, around: (char, char), depth: u32, out: &mut String) {
        out.push(around.0);
        for (index, item) in items.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { "" });
            self.write_repr(*item, depth - 1, out);
        }
        if size > ITEMS_MAX as u64 {
            out.push_str(", \u{2026}");
        }
        out.push_str(if size == 1 && around.0 == '(' { "," } else { "" });
        out.push(around.1);
    }
}

/// `repr` of a text (Objects/unicodeobject.c, `unicode_repr`). Which characters are printable is asked of Rust's
/// tables, which may be of another edition of Unicode.
pub(crate) fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let _ = match c {
            '\\' if is_surrogate_escape(rest.clone()) => write!(out, "\\"),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            c if c == mark => write!(out, "\\{c}"),
            c if (c < ' ' || c == '\x7f') || ('\u{80}'..='\u{a0}').contains(&c) || c == '\u{ad}' => {
                write!(out, "\\x{:02x}", c as u32)
            }
            '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}' => {
                write!(out, "\\u{:04x}", c as u32)
            }
            c => write!(out, "{c}"),
        };
    }
    out.push(mark);
}

/// What [`crate::text`] wrote for a lone surrogate is what `repr` writes for it.
fn is_surrogate_escape(mut rest: impl Iterator<Item = char>) -> bool {
    rest.next() == Some('u')
        && rest.next() == Some('d')
        && rest.next().is_some_and(|c| matches!(c, '8'..='9' | 'a'..='f'))
        && rest.by_ref().take(2).filter(char::is_ascii_hexdigit).count() == 2
}

fn quote_bytes(bytes: &[u8], out: &mut String) {
    let mark = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    out.push('b');
    out.push(mark);
    for byte in bytes {
        let _ = match *byte {
            b'\\' => write!(out, "\\\\"),
            b'\n' => write!(out, "\\n"),
            b'\r' => write!(out, "\\r"),
            b'\t' => write!(out, "\\t"),
            byte if char::from(byte) == mark => write!(out, "\\{mark}"),
            b' '..=b'~' => write!(out, "{}", char::from(*byte)),
            byte => write!(out, "\\x{byte:02x}"),
        };
    }
    out.push(mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_python_does() {
        for (text, want) in [
            ("plain", "'plain'"),
            ("it's", "\"it's\""),
            ("both ' and \"", "'both \\' and \"'"),
            ("a\\b\n\t\x1b", "'a\\\\b\\n\\t\\x1b'"),
            ("\u{661f}\u{e9}", "'\u{661f}\u{e9}'"),
            ("\u{a0}\u{200b}", "'\\xa0\\u200b'"),
            ("\\udc80", "'\\udc80'"),
            ("\\users", "'\\\\users'"),
        ] {
            let mut out = String::new();
            quote(text, &mut out);
            assert_eq!(out, want);
        }
        let mut out = String::new();
        quote_bytes(b"a'\x00\xff\\", &mut out);
        assert_eq!(out, "b\"a'\\x00\\xff\\\\\"");
    }
}
