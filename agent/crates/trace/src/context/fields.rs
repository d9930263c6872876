//! The headers of a request that contexts are written in, found in one pass.

use protocol::http1::Headers;

/// The names, each at the place that its constant says.
const NAMES: [&str; 20] = [
    "traceparent",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "sw8",
    "sw6",
    "uber-trace-id",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-tags",
    "sentry-trace",
    "request-id",
    "eagleeye-traceid",
    "traceid",
    "baggage",
    "x-request-id",
];
pub(super) const TRACEPARENT: usize = 0;
pub(super) const B3: usize = 1;
pub(super) const B3_TRACE_ID: usize = 2;
pub(super) const B3_SPAN_ID: usize = 3;
pub(super) const B3_PARENT_SPAN_ID: usize = 4;
pub(super) const B3_SAMPLED: usize = 5;
pub(super) const B3_FLAGS: usize = 6;
pub(super) const SW8: usize = 7;
pub(super) const SW6: usize = 8;
pub(super) const UBER_TRACE_ID: usize = 9;
pub(super) const DATADOG_TRACE_ID: usize = 10;
pub(super) const DATADOG_PARENT_ID: usize = 11;
pub(super) const DATADOG_PRIORITY: usize = 12;
pub(super) const DATADOG_TAGS: usize = 13;
pub(super) const SENTRY_TRACE: usize = 14;
pub(super) const REQUEST_ID: usize = 15;
pub(super) const EAGLEEYE_TRACEID: usize = 16;
pub(super) const TRACE_ID: usize = 17;
pub(super) const BAGGAGE: usize = 18;
pub(super) const X_REQUEST_ID: usize = 19;

/// What stands under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// Nothing.
    Absent,
    /// A value, perhaps more than once.
    One(&'a str),
    /// Several values.
    Differing,
}

/// What stands under each name.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    headers: &'a Headers,
    found: [Field<'a>; NAMES.len()],
}

impl<'a> Fields<'a> {
    pub(super) fn of(headers: &'a Headers) -> Self {
        let mut found = [Field::Absent; NAMES.len()];
        for (name, value) in headers.iter() {
            // Most names begin with other letters.
            let Some(b'b' | b'e' | b'r' | b's' | b't' | b'u' | b'x') =
                name.as_bytes().first().map(u8::to_ascii_lowercase)
            else {
                continue;
            };
            if let Some(place) = NAMES.iter().position(|known| name.eq_ignore_ascii_case(known)) {
                let value = value.trim();
                found[place] = match found[place] {
                    Field::Absent => Field::One(value),
                    Field::One(other) if other == value => Field::One(value),
                    Field::One(_) | Field::Differing => Field::Differing,
                };
            }
        }
        Self { headers, found }
    }

    pub(super) fn get(&self, place: usize) -> Field<'a> {
        self.found[place]
    }

    pub(super) fn headers(&self) -> &'a Headers {
        self.headers
    }

    /// Whether there is nothing that could name a trace.
    pub(super) fn names_no_trace(&self) -> bool {
        self.found[..BAGGAGE].iter().all(|field| *field == Field::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::headers;

    #[test]
    fn every_name_has_its_place() {
        for (place, name) in NAMES.into_iter().enumerate() {
            let headers = headers(&[(&name.to_ascii_uppercase(), "v"), ("Host", "h")]);
            let fields = Fields::of(&headers);
            for other in 0..NAMES.len() {
                let want = if other == place { Field::One("v") } else { Field::Absent };
                assert_eq!(fields.get(other), want, "{name}");
            }
            assert_eq!(fields.names_no_trace(), matches!(place, BAGGAGE | X_REQUEST_ID));
        }
        assert_eq!(NAMES[EAGLEEYE_TRACEID], "eagleeye-traceid");
    }
}
