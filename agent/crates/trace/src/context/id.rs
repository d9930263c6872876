//! Ids as the formats write them. Invariant: never empty, never all zeros, never longer than its kind may be.

use std::sync::Arc;

use model::TraceId;

/// Longest id that is a word.
const MAX_WORD_CHARS: usize = 50;
/// Longest id of `SkyWalking`: three parts, the first a UUID.
const MAX_DOTTED_CHARS: usize = 128;

/// Digits of a trace's and a span's number, written in full.
pub(super) const TRACE_DIGITS: usize = 32;
pub(super) const SPAN_DIGITS: usize = 16;

/// A hexadecimal number with as many digits as this, in lower case.
pub(super) fn lower_hex(text: &str, digits: usize) -> Option<&str> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(is_digit) && text.bytes().any(|byte| byte != b'0'))
        .then_some(text)
}

/// A hexadecimal number of at most as many digits, in any case: written in full.
pub(super) fn padded_hex(text: &str, digits: usize) -> Option<String> {
    ((1..=digits).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0'))
    .then(|| format!("{:0>digits$}", text.to_ascii_lowercase()))
}

/// Letters and digits.
pub(super) fn word(text: &str) -> Option<&str> {
    is_made_of(text, MAX_WORD_CHARS, b"").then_some(text)
}

/// Letters, digits and what `SkyWalking` puts between them.
pub(super) fn dotted(text: &str) -> Option<&str> {
    is_made_of(text, MAX_DOTTED_CHARS, b".-_").then_some(text)
}

/// `Some(None)`: no parent is named. `None`: one is, but damaged.
#[expect(clippy::option_option, reason = "absent and damaged are different things here")]
pub(super) fn optional_word(text: &str) -> Option<Option<Arc<str>>> {
    if text.is_empty() {
        return Some(None);
    }
    word(text).map(|word| Some(word.into()))
}

pub(super) fn trace(text: &str) -> TraceId {
    TraceId(text.into())
}

fn is_made_of(text: &str, max_chars: usize, between: &[u8]) -> bool {
    (1..=max_chars).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || between.contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric() && byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(lower_hex("0a", 2), Some("0a"));
        for damaged in ["0A", "00", "a", "aaa", "0g", ""] {
            assert_eq!(lower_hex(damaged, 2), None, "{damaged}");
        }
        assert_eq!(padded_hex("Ab", 4).as_deref(), Some("00ab"));
        for damaged in ["", "0", "00000", "aaaaa", "-1", "+1", "0x1"] {
            assert_eq!(padded_hex(damaged, 4), None, "{damaged}");
        }
        assert_eq!(word(&"a".repeat(50)), Some("a".repeat(50).as_str()));
        for damaged in ["", "0", "a b", "a-b", "é", &"a".repeat(51)] {
            assert_eq!(word(damaged), None, "{damaged}");
        }
        assert_eq!(dotted("1.2343.234234234"), Some("1.2343.234234234"));
        for damaged in ["", "...", "0.0.0", "a,b", &"a".repeat(129)] {
            assert_eq!(dotted(damaged), None, "{damaged}");
        }
    }
}
