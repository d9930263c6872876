//! `traceparent` and `tracestate` (W3C Trace Context, <https://www.w3.org/TR/trace-context-2/>).

use model::TraceId;

use super::fields::{Fields, TRACEPARENT};
use super::id::{self, SPAN_DIGITS, TRACE_DIGITS};
use super::{Incoming, Reading};

/// Most entries of a `tracestate` (section 3.3.1.1), and most bytes that are kept (section 3.3.1.5).
const MAX_ENTRIES: usize = 32;
const MAX_STATE_BYTES: usize = 512;
/// Entries longer than this go first where there are too many bytes (section 3.3.1.5).
const LONG_ENTRY_BYTES: usize = 128;
/// Longest key and value (sections 3.3.1.3.1 and 3.3.1.3.2).
const MAX_KEY_CHARS: usize = 256;
const MAX_VALUE_CHARS: usize = 256;

/// `00-{trace}-{span}-{flags}`: W3C's, where the trace has 32 digits, else Stardust's, whose ids are words and whose
/// flags may have one digit.
pub(super) fn traceparent(fields: &Fields<'_>) -> Reading {
    Reading::of(fields.get(TRACEPARENT), read)
}

/// The value of a `traceparent`.
pub(super) fn read(value: &str) -> Option<Incoming> {
    let mut parts = value.split('-');
    let version = parts.next().filter(|version| is_hex_pair(version) && *version != "ff")?;
    let (trace_id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?);
    // A later version may have more to say (section 4.3).
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let (trace_id, parent) = if trace_id.len() == TRACE_DIGITS {
        is_hex_pair(flags).then_some(())?;
        (id::lower_hex(trace_id, TRACE_DIGITS)?, id::lower_hex(parent, SPAN_DIGITS)?)
    } else {
        (id::word(trace_id)?, id::word(parent)?)
    };
    let is_flags = (1..=2).contains(&flags.len()) && flags.bytes().all(|byte| byte.is_ascii_hexdigit());
    let flags = is_flags.then(|| u8::from_str_radix(flags, 16).ok()).flatten()?;
    // Stardust takes any flag as its wish to keep the trace.
    let flagged = if trace_id.len() == TRACE_DIGITS { flags & 1 == 1 } else { flags > 0 };
    Some(Incoming::new(TraceId(trace_id.into()), Some(parent.into()), flagged))
}

fn is_hex_pair(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The entries of one or several `tracestate` headers, in one. `None`: damaged.
pub(super) fn tracestate<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut entries: Vec<(&str, &str)> = Vec::new();
    for entry in values.flat_map(|value| value.split(',')) {
        let entry = entry.trim_matches([' ', '\t']);
        if entry.is_empty() {
            continue;
        }
        let (key, value) = entry.split_once('=')?;
        if !is_key(key) || !is_value(value) || entries.iter().any(|(other, _)| *other == key) {
            return None;
        }
        entries.push((key, entry));
        if entries.len() > MAX_ENTRIES {
            return None;
        }
    }
    let bytes = |entries: &[(&str, &str)]| entries.iter().map(|(_, entry)| entry.len() + 1).sum::<usize>();
    if bytes(&entries) > MAX_STATE_BYTES + 1 {
        entries.retain(|(_, entry)| entry.len() <= LONG_ENTRY_BYTES);
    }
    while bytes(&entries) > MAX_STATE_BYTES + 1 {
        entries.pop();
    }
    Some(entries.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>().join(","))
}

/// Section 3.3.1.3.1.
fn is_key(key: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=MAX_KEY_CHARS).contains(&key.len())
        && key.bytes().next().is_some_and(is_first)
        && key.bytes().all(|byte| is_first(byte) || b"_-*/@".contains(&byte))
}

/// Section 3.3.1.3.2: what is printable, the last of it no space.
fn is_value(value: &str) -> bool {
    (1..=MAX_VALUE_CHARS).contains(&value.len())
        && value.bytes().all(|byte| (0x20..=0x7e).contains(&byte) && byte != b'=')
        && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::read;

    #[test]
    fn traceparents() {
        let w3c = "4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7";
        let stardust = "ac15452e1649035594650011be21ec/c0a8016430390001";
        for (value, want) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", format!("{w3c}/1")),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", format!("{w3c}/0")),
            // Unknown flags are passed over, those that are known are not (section 3.2.2.5).
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", format!("{w3c}/0")),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", format!("{w3c}/1")),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", format!("{w3c}/1")),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", format!("{w3c}/1")),
            ("00-ac15452e1649035594650011be21ec-c0a8016430390001-01", format!("{stardust}/1")),
            ("00-ac15452e1649035594650011be21ec-c0a8016430390001-2", format!("{stardust}/1")),
            ("00-ac15452e1649035594650011be21ec-c0a8016430390001-0", format!("{stardust}/0")),
        ] {
            assert_eq!(read(&[("TraceParent", value)]), (want, 0), "{value}");
        }
    }

    #[test]
    fn damaged_traceparents() {
        for value in [
            "",
            "garbage",
            "00",
            "00--d1-01",
            "00-abc",
            "00-abc-d1",
            "00-abc-d1-",
            "00-abc-d1-zz",
            "00-abc-d1-+1",
            "00-abc-d1-001",
            "00-a b-c-01",
            "00-abc-0000000000000000-01",
            "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert_eq!(read(&[("traceparent", value)]), ("none".to_owned(), 1), "{value}");
        }
    }

    fn state(values: &[&str]) -> Option<String> {
        tracestate(values.iter().copied())
    }

    #[test]
    fn tracestates() {
        let long_key = "a".repeat(256);
        for (value, want) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            (" foo=1 , \t bar=2 ,, ", "foo=1,bar=2"),
            ("fw529a3039@dt=FfAAAAAAAAA", "fw529a3039@dt=FfAAAAAAAAA"),
            ("0a_-*/=a b", "0a_-*/=a b"),
            ("", ""),
            (&format!("{long_key}=1"), &format!("{long_key}=1")),
        ] {
            assert_eq!(state(&[value]).as_deref(), Some(want));
        }
        assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        let too_long = format!("{}=1", "a".repeat(257));
        for damaged in
            ["foo", "=1", "foo=", "Foo=1", "foo=1,foo=2", "foo=a=b", "foo=\u{e9}", "_a=1", &too_long]
        {
            assert_eq!(state(&[damaged]), None, "{damaged}");
        }
    }

    #[test]
    fn too_much_state_loses_whole_entries() {
        let many: Vec<String> = (0..32).map(|number| format!("k{number}=1")).collect();
        assert_eq!(state(&[&many.join(",")]), Some(many.join(",")));
        assert_eq!(state(&[&many.join(","), "one=more"]), None);
        // The long one goes first, then the last ones.
        let value = "v".repeat(100);
        let entries: Vec<String> = (0..6).map(|number| format!("k{number}={value}")).collect();
        let long = format!("long={}", "v".repeat(200));
        let kept = state(&[&long, &entries.join(",")]).unwrap();
        assert_eq!(kept, entries[..4].join(","));
        assert!(kept.len() <= MAX_STATE_BYTES);
    }
}
