//! What Stardust's clients read where there is no `traceparent` (`NewLife.Core`, `Log/ISpan.cs`).

use super::fields::{EAGLEEYE_TRACEID, Fields, REQUEST_ID, TRACE_ID};
use super::{Incoming, Reading, id, w3c};

/// `|trace.span_1.`: the hierarchical ids of .NET. The last part names the parent.
pub(super) fn request_id(fields: &Fields<'_>) -> Reading {
    Reading::of(fields.get(REQUEST_ID), |value| {
        let mut parts = value.split(['.', '_']);
        let trace_id = id::word(parts.next()?.trim_start_matches('|'))?;
        let parent = id::optional_word(parts.next_back().unwrap_or(""))?;
        Some(Incoming::new(id::trace(trace_id), parent, false))
    })
}

/// `trace-span`: the ids of Alibaba's `EagleEye`.
pub(super) fn eagleeye(fields: &Fields<'_>) -> Reading {
    Reading::of(fields.get(EAGLEEYE_TRACEID), |value| {
        let mut parts = value.split('-');
        let trace_id = id::word(parts.next()?)?;
        let parent = id::optional_word(parts.next().unwrap_or(""))?;
        Some(Incoming::new(id::trace(trace_id), parent, false))
    })
}

/// A trace's id alone, or the same as `traceparent`.
pub(super) fn trace_id(fields: &Fields<'_>) -> Reading {
    Reading::of(fields.get(TRACE_ID), |value| {
        if value.contains('-') {
            return w3c::read(value);
        }
        Some(Incoming::new(id::trace(id::word(value)?), None, false))
    })
}

#[cfg(test)]
mod tests {
    use crate::context::tests::read;

    #[test]
    fn values() {
        let long = "a".repeat(51);
        for (name, value, want, damaged) in [
            ("Request-Id", "|abc.def_1.", "abc/-/0", 0),
            ("Request-Id", "|abc.def_7", "abc/7/0", 0),
            ("Request-Id", "abc", "abc/-/0", 0),
            ("Request-Id", "", "none", 1),
            ("Request-Id", "|", "none", 1),
            ("Request-Id", "|abc.d-f", "none", 1),
            ("Request-Id", "7b3bf470-9456-11e8-9eb6-529269fb1459", "none", 1),
            ("Eagleeye-Traceid", "abc-def", "abc/def/0", 0),
            ("Eagleeye-Traceid", "abc", "abc/-/0", 0),
            ("Eagleeye-Traceid", "-def", "none", 1),
            ("TraceId", "abc", "abc/-/0", 0),
            ("TraceId", "00-abc-def-01", "abc/def/1", 0),
            ("TraceId", "00-abc", "none", 1),
            ("TraceId", "000", "none", 1),
            ("TraceId", long.as_str(), "none", 1),
        ] {
            assert_eq!(read(&[(name, value)]), (want.to_owned(), damaged), "{name}: {value}");
        }
    }
}
