//! Small things done to text from the wire. Invariant: linear in the input, any input gives a value.

use std::borrow::Cow;

/// At most `max_chars` characters of `text`.
pub(crate) fn cut(text: &str, max_chars: usize) -> &str {
    if text.len() <= max_chars {
        return text;
    }
    text.char_indices().nth(max_chars).map_or(text, |(at, _)| &text[..at])
}

/// Replaces `%XX`; what is not a valid escape stays as it is, bytes that are not UTF-8 become U+FFFD.
pub(crate) fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| Some((hex_value(*bytes.get(at + 1)?)?, hex_value(*bytes.get(at + 2)?)?)))
            .flatten();
        if let Some((high, low)) = escape {
            decoded.push(high << 4 | low);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_is_valid() {
        for (raw, want) in [
            ("plain", "plain"),
            ("a%20b", "a b"),
            ("%7Euser", "~user"),
            ("50%", "50%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(percent_decode(raw), want, "{raw}");
        }
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc");
        assert_eq!(cut("äöüß", 3), "äöü");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
