//! The trace a request says it belongs to. Invariant: a header is used whole or not at all; what is damaged is counted
//! and passed over.
//!
//! Of several headers the first sound one in the order of [`SOURCES`] counts; nothing is joined from two of them.

mod b3;
mod baggage;
mod datadog;
mod fields;
mod id;
mod jaeger;
mod sentry;
mod skywalking;
mod stardust;
mod w3c;

use std::sync::Arc;

use model::{Attribute, TraceId};
use protocol::http1::Headers;

use fields::{Field, Fields};

/// What a request's headers say about its trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The trace: as it came, but in full where the format lets zeros be left out.
    pub trace_id: TraceId,
    /// The span that made the request, if it is named.
    pub parent: Option<Arc<str>>,
    /// The trace is to be kept.
    pub flagged: bool,
    /// `tracestate`, beside a `traceparent`: whole entries, 512 bytes of them at most.
    pub trace_state: Option<String>,
    /// What else the header says about who made the request.
    pub caller: Vec<Attribute>,
}

/// What was found under the names that a source reads.
#[derive(Debug, Clone, PartialEq)]
enum Reading {
    /// None of them.
    Absent,
    /// Sound headers that name no trace: they only tell whether to sample.
    Silent,
    /// A header, or several, that cannot be what they should be.
    Damaged,
    /// A trace.
    Named(Incoming),
}

/// What tells a context from other headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// W3C's: its state stands in a header beside it.
    Standard,
    /// A form that nothing but a context has.
    Distinct,
    /// A word, which may be an identifier for another purpose.
    Word,
}

type Read = fn(&Fields<'_>) -> Reading;

/// Every way of writing a context, the one that counts most first: what is standardised, then what has a form that
/// nothing else has, then words. Stardust's own clients ask theirs in this order too.
const SOURCES: [(Form, Read); 11] = [
    (Form::Standard, w3c::traceparent),
    (Form::Distinct, b3::single),
    (Form::Distinct, b3::multi),
    (Form::Distinct, skywalking::sw8),
    (Form::Distinct, skywalking::sw6),
    (Form::Distinct, jaeger::uber_trace_id),
    (Form::Distinct, datadog::read),
    (Form::Distinct, sentry::sentry_trace),
    (Form::Word, stardust::request_id),
    (Form::Word, stardust::eagleeye),
    (Form::Word, stardust::trace_id),
];

/// A request's headers, looked through for contexts. Cheap where there are none.
#[derive(Debug)]
pub struct Context<'a>(Fields<'a>);

impl<'a> Context<'a> {
    /// Finds the headers that may say something.
    pub fn of(headers: &'a Headers) -> Self {
        Self(Fields::of(headers))
    }

    /// The trace a server's request belongs to. Adds the damaged headers it met to `damaged`.
    pub fn incoming(&self, damaged: &mut u64) -> Option<Incoming> {
        self.first(SOURCES.iter(), damaged)
    }

    /// The trace that the watched process itself wrote into a request: headers that are nothing but a context. Others
    /// may be handed on from anywhere.
    pub fn outgoing(&self, damaged: &mut u64) -> Option<Incoming> {
        self.first(SOURCES.iter().filter(|(form, _)| *form != Form::Word), damaged)
    }

    /// Every trace that is named in a form that nothing but a context has.
    pub(crate) fn named(&self) -> impl Iterator<Item = Incoming> {
        let sources = if self.0.names_no_trace() { &[][..] } else { &SOURCES[..] };
        sources.iter().filter(|(form, _)| *form != Form::Word).filter_map(|(_, read)| match read(&self.0) {
            Reading::Named(incoming) => Some(incoming),
            Reading::Absent | Reading::Silent | Reading::Damaged => None,
        })
    }

    /// The entries of `baggage`, as they came.
    pub fn baggage(&self, damaged: &mut u64) -> Vec<&'a str> {
        if self.0.get(fields::BAGGAGE) == Field::Absent {
            return Vec::new();
        }
        let entries = baggage::entries(self.0.headers().all("baggage"));
        *damaged += u64::from(entries.is_none());
        entries.unwrap_or_default()
    }

    /// `X-Request-ID`, if there is one.
    pub fn request_id(&self) -> Option<&'a str> {
        match self.0.get(fields::X_REQUEST_ID) {
            Field::One(id) if !id.is_empty() => Some(id),
            _ => None,
        }
    }

    fn first<'s>(
        &self,
        sources: impl Iterator<Item = &'s (Form, Read)>,
        damaged: &mut u64,
    ) -> Option<Incoming> {
        if self.0.names_no_trace() {
            return None;
        }
        for (form, read) in sources {
            match read(&self.0) {
                Reading::Absent | Reading::Silent => {}
                Reading::Damaged => *damaged += 1,
                Reading::Named(mut incoming) => {
                    if *form == Form::Standard {
                        let state = w3c::tracestate(self.0.headers().all("tracestate"));
                        *damaged += u64::from(state.is_none());
                        incoming.trace_state = state.filter(|state| !state.is_empty());
                    }
                    return Some(incoming);
                }
            }
        }
        None
    }
}

impl Incoming {
    fn new(trace_id: TraceId, parent: Option<Arc<str>>, flagged: bool) -> Self {
        Self { trace_id, parent, flagged, trace_state: None, caller: Vec::new() }
    }
}

impl Reading {
    /// What `read` makes of a header: nothing means that it is damaged.
    fn of(field: Field<'_>, read: impl FnOnce(&str) -> Option<Incoming>) -> Self {
        match field {
            Field::Absent => Self::Absent,
            Field::Differing => Self::Damaged,
            Field::One(value) => read(value).map_or(Self::Damaged, Self::Named),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::headers;

    /// `trace/parent/flag` or `none`, and how many were damaged.
    pub(super) fn read(fields: &[(&str, &str)]) -> (String, u64) {
        let mut damaged = 0;
        let headers = headers(fields);
        let found = Context::of(&headers).incoming(&mut damaged);
        (found.map_or("none".to_owned(), |found| show(&found)), damaged)
    }

    fn show(found: &Incoming) -> String {
        let parent = found.parent.as_deref().unwrap_or("-");
        format!("{}/{parent}/{}", found.trace_id, u8::from(found.flagged))
    }

    /// One of each, in the order in which they count.
    const ALL: [(&str, &str); 11] = [
        ("traceparent", "00-11111111111111111111111111111111-1111111111111111-00"),
        ("b3", "22222222222222222222222222222222-2222222222222222"),
        ("X-B3-TraceId", "33333333333333333333333333333333"),
        ("sw8", "0-NA==-NC4x-4-cw==-aQ==-ZQ==-YQ=="),
        ("sw6", "0-NS41LjU=-NS41-5-1-2-I2E="),
        ("uber-trace-id", "6:6:0:0"),
        ("x-datadog-trace-id", "10"),
        ("sentry-trace", "cccccccccccccccccccccccccccccccc-cccccccccccccccc"),
        ("Request-Id", "|7.7"),
        ("Eagleeye-Traceid", "8-8"),
        ("TraceId", "9"),
    ];

    #[test]
    fn the_first_sound_one_counts() {
        let long = |digit: &str| digit.repeat(32);
        let want = [
            format!("{}/1111111111111111/0", long("1")),
            format!("{}/2222222222222222/0", long("2")),
            format!("{}/3333333333333333/0", long("3")),
            "4/4.1-4/0".to_owned(),
            "5.5.5/5.5-5/0".to_owned(),
            format!("{:032x}/{:016x}/0", 6, 6),
            format!("{:032x}/-/0", 10),
            format!("{}/cccccccccccccccc/0", long("c")),
            "7/7/0".to_owned(),
            "8/8/0".to_owned(),
            "9/-/0".to_owned(),
        ];
        for (first, want) in want.iter().enumerate() {
            let mut all = ALL.to_vec();
            all.extend((first <= 2).then_some(("X-B3-SpanId", "3333333333333333")));
            // In whatever order they stand.
            let mut fields = all[first..].to_vec();
            assert_eq!(read(&fields), (want.clone(), 0));
            fields.reverse();
            assert_eq!(read(&fields), (want.clone(), 0));
            // Those before it are damaged: each counts, none is used.
            let damaged = all[..first].iter().map(|(name, _)| (*name, "?"));
            let fields: Vec<_> = damaged.chain(all[first..].iter().copied()).collect();
            assert_eq!(read(&fields), (want.clone(), first as u64), "{fields:?}");
        }
        assert_eq!(read(&[("Accept", "*/*")]), ("none".to_owned(), 0));
    }

    #[test]
    fn a_header_that_comes_twice_must_say_the_same() {
        let one = ALL[0];
        let other = ("TraceParent", "00-11111111111111111111111111111111-2222222222222222-00");
        assert_eq!(read(&[one, one]), read(&[one]));
        assert_eq!(read(&[one, other]), ("none".to_owned(), 1));
        assert_eq!(read(&[one, other, ("TraceId", "t")]), ("t/-/0".to_owned(), 1));
    }

    #[test]
    fn only_a_context_of_a_distinct_form_is_the_caller_s_own() {
        for (fields, want) in [(&ALL[..], Some("11111111111111111111111111111111")), (&ALL[8..], None)] {
            let headers = headers(fields);
            let found = Context::of(&headers).outgoing(&mut 0);
            assert_eq!(found.map(|found| found.trace_id.to_string()).as_deref(), want);
        }
    }

    #[test]
    fn tracestate_counts_beside_a_traceparent_only() {
        for (fields, want, damaged) in [
            (vec![ALL[0], ("tracestate", "a=1,b=2"), ("Tracestate", " c=3")], Some("a=1,b=2,c=3"), 0),
            (vec![ALL[0], ("tracestate", "a=1,A=2")], None, 1),
            (vec![ALL[0], ("tracestate", "")], None, 0),
            (vec![ALL[1], ("tracestate", "a=1")], None, 0),
        ] {
            let mut met = 0;
            let headers = headers(&fields);
            let found = Context::of(&headers).incoming(&mut met).unwrap();
            assert_eq!((found.trace_state.as_deref(), met), (want, damaged));
        }
    }

    #[test]
    fn a_request_id_is_no_context() {
        let fields = headers(&[("X-Request-Id", "7b3bf470-9456-11e8-9eb6-529269fb1459")]);
        let context = Context::of(&fields);
        assert_eq!(context.request_id(), Some("7b3bf470-9456-11e8-9eb6-529269fb1459"));
        assert_eq!(context.incoming(&mut 0), None);
        assert_eq!(Context::of(&headers(&[("X-Request-Id", "")])).request_id(), None);
    }
}
