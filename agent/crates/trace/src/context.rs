//! The trace a request says it belongs to. Invariant: an id is taken verbatim or not at all; what is
//! damaged is counted and passed over.

use std::sync::Arc;

use model::TraceId;
use protocol::http1::Headers;

/// Longest id that is taken.
const MAX_ID_CHARS: usize = 50;

/// What a request's headers say about its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incoming {
    /// The trace.
    pub(crate) trace_id: TraceId,
    /// The span that made the request, if it is named.
    pub(crate) parent: Option<Arc<str>>,
    /// The trace is to be kept.
    pub(crate) flagged: bool,
}

type Parse = fn(&str) -> Option<Incoming>;

/// The headers that may name a trace, in the order in which Stardust's own clients ask them.
const SOURCES: [(&str, Parse); 4] = [
    ("traceparent", parse_traceparent),
    ("request-id", parse_request_id),
    ("eagleeye-traceid", parse_eagleeye),
    ("traceid", parse_trace_id),
];

/// The trace a server's request belongs to. Adds the damaged headers it met to `damaged`.
pub(crate) fn incoming(headers: &Headers, damaged: &mut u64) -> Option<Incoming> {
    SOURCES.iter().find_map(|(name, parse)| read(headers, name, *parse, damaged))
}

/// The trace that the watched process itself wrote into a request: only `traceparent` counts.
pub(crate) fn outgoing(headers: &Headers, damaged: &mut u64) -> Option<Incoming> {
    read(headers, "traceparent", parse_traceparent, damaged)
}

fn read(headers: &Headers, name: &str, parse: Parse, damaged: &mut u64) -> Option<Incoming> {
    let found = parse(headers.get(name)?.trim());
    *damaged += u64::from(found.is_none());
    found
}

/// `00-{trace}-{span}-{flags}` (W3C Trace Context), read as leniently as Stardust does: neither version nor
/// lengths are checked, the end may be missing.
fn parse_traceparent(value: &str) -> Option<Incoming> {
    let mut parts = value.split('-').skip(1);
    let trace_id = parse_id(parts.next()?)?;
    let parent = parse_parent(parts.next().unwrap_or(""))?;
    let flags = parts.next().unwrap_or("");
    let flags = flags.get(..2).unwrap_or(flags);
    let flagged = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags > 0);
    Some(Incoming { trace_id, parent, flagged })
}

/// `|trace.span_1.`: the hierarchical ids of .NET. The last part names the parent.
fn parse_request_id(value: &str) -> Option<Incoming> {
    let mut parts = value.split(['.', '_']);
    let trace_id = parse_id(parts.next()?.trim_start_matches('|'))?;
    let parent = parse_parent(parts.next_back().unwrap_or(""))?;
    Some(Incoming { trace_id, parent, flagged: false })
}

/// `trace-span`.
fn parse_eagleeye(value: &str) -> Option<Incoming> {
    let mut parts = value.split('-');
    let trace_id = parse_id(parts.next()?)?;
    let parent = parse_parent(parts.next().unwrap_or(""))?;
    Some(Incoming { trace_id, parent, flagged: false })
}

/// A trace's id alone, or the same as `traceparent`.
fn parse_trace_id(value: &str) -> Option<Incoming> {
    if value.contains('-') {
        return parse_traceparent(value);
    }
    Some(Incoming { trace_id: parse_id(value)?, parent: None, flagged: false })
}

fn parse_id(text: &str) -> Option<TraceId> {
    is_sound(text).then(|| TraceId(text.into()))
}

/// `Some(None)`: no parent is named. `None`: one is, but damaged.
#[expect(clippy::option_option, reason = "absent and damaged are different things here")]
fn parse_parent(text: &str) -> Option<Option<Arc<str>>> {
    if text.is_empty() {
        return Some(None);
    }
    is_sound(text).then(|| Some(text.into()))
}

fn is_sound(id: &str) -> bool {
    (1..=MAX_ID_CHARS).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && id.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::headers;

    /// `trace/parent/flag` or `none`, and how many were damaged.
    fn read_all(fields: &[(&str, &str)]) -> (String, u64) {
        let mut damaged = 0;
        let found = incoming(&headers(fields), &mut damaged).map_or("none".to_owned(), |found| {
            format!(
                "{}/{}/{}",
                found.trace_id,
                found.parent.as_deref().unwrap_or("-"),
                u8::from(found.flagged)
            )
        });
        (found, damaged)
    }

    #[test]
    fn one_header() {
        let long = "a".repeat(51);
        for (name, value, want, damaged) in [
            (
                "traceparent",
                "00-ac15452e1649035594650011be21ec-c0a8016430390001-01",
                "ac15452e1649035594650011be21ec/c0a8016430390001/1",
                0,
            ),
            (
                "TraceParent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
                "4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7/0",
                0,
            ),
            ("traceparent", "00-abc", "abc/-/0", 0),
            ("traceparent", "00-abc-d1-0", "abc/d1/0", 0),
            ("traceparent", "00-abc-d1-1", "abc/d1/1", 0),
            ("traceparent", "00-abc-d1-zz", "abc/d1/0", 0),
            ("traceparent", "", "none", 1),
            ("traceparent", "garbage", "none", 1),
            ("traceparent", "00--d1-01", "none", 1),
            ("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "none", 1),
            ("traceparent", "00-abc-0000000000000000-01", "none", 1),
            ("traceparent", "00-a b-c-01", "none", 1),
            ("traceparent", long.as_str(), "none", 1),
            ("Request-Id", "|abc.def_1.", "abc/-/0", 0),
            ("Request-Id", "|abc.def_7", "abc/7/0", 0),
            ("Request-Id", "abc", "abc/-/0", 0),
            ("Request-Id", "7b3bf470-9456-11e8-9eb6-529269fb1459", "none", 1),
            ("Eagleeye-Traceid", "abc-def", "abc/def/0", 0),
            ("Eagleeye-Traceid", "abc", "abc/-/0", 0),
            ("TraceId", "abc", "abc/-/0", 0),
            ("TraceId", "00-abc-def-01", "abc/def/1", 0),
            ("TraceId", long.as_str(), "none", 1),
        ] {
            assert_eq!(read_all(&[(name, value)]), (want.to_owned(), damaged), "{name}: {value}");
        }
    }

    #[test]
    fn the_first_sound_header_wins() {
        let fields =
            [("TraceId", "t"), ("Eagleeye-Traceid", "e"), ("Request-Id", "r"), ("traceparent", "00-p")];
        assert_eq!(read_all(&fields), ("p/-/0".to_owned(), 0));
        let fields = [("TraceId", "t"), ("Request-Id", "|."), ("traceparent", "0")];
        assert_eq!(read_all(&fields), ("t/-/0".to_owned(), 2));
        assert_eq!(read_all(&[("Accept", "*/*")]), ("none".to_owned(), 0));
    }
}
