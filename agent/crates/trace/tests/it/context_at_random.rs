//! Contexts in headers of any content: no panic, bounded values, and what is written well is read as it was meant.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use protocol::http1::Headers;
use trace::context::{Context, Incoming};

const NAMES: [&str; 21] = [
    "traceparent",
    "tracestate",
    "b3",
    "X-B3-TraceId",
    "X-B3-SpanId",
    "X-B3-ParentSpanId",
    "X-B3-Sampled",
    "X-B3-Flags",
    "sw8",
    "sw6",
    "uber-trace-id",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-tags",
    "sentry-trace",
    "Request-Id",
    "Eagleeye-Traceid",
    "TraceId",
    "baggage",
    "X-Request-ID",
];

fn read(fields: &[(&str, &str)]) -> (Option<Incoming>, u64) {
    let headers: Headers = fields.iter().copied().collect();
    let mut damaged = 0;
    let found = Context::of(&headers).incoming(&mut damaged);
    (found, damaged)
}

/// What `(trace, span, flagged)` look like in each format that writes numbers.
fn written((trace, span, flagged): (u128, u64, bool)) -> Vec<Vec<(&'static str, String)>> {
    let flag = u8::from(flagged);
    vec![
        vec![("traceparent", format!("00-{trace:032x}-{span:016x}-0{flag}"))],
        vec![("b3", format!("{trace:032x}-{span:016x}-{flag}"))],
        vec![
            ("X-B3-TraceId", format!("{trace:032x}")),
            ("X-B3-SpanId", format!("{span:016x}")),
            ("X-B3-Sampled", flag.to_string()),
        ],
        vec![("uber-trace-id", format!("{trace:x}:{span:x}:0:{flag}"))],
        vec![
            ("x-datadog-trace-id", (trace as u64).to_string()),
            ("x-datadog-parent-id", span.to_string()),
            ("x-datadog-sampling-priority", flag.to_string()),
            ("x-datadog-tags", format!("_dd.p.tid={:016x}", (trace >> 64) as u64)),
        ],
        vec![("sentry-trace", format!("{trace:032x}-{span:016x}-{flag}"))],
        vec![("TraceId", format!("00-{trace:032x}-{span:016x}-0{flag}"))],
    ]
}

proptest! {
    #[test]
    fn any_headers_give_a_bounded_value(
        fields in proptest::collection::vec((0..NAMES.len(), "\\PC{0,80}|[0-9a-f:.|_=-]{0,70}"), 0..6)
    ) {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (NAMES[*name], value.as_str())).collect();
        let (found, damaged) = read(&fields);
        prop_assert!(damaged <= fields.len() as u64);
        if let Some(found) = found {
            prop_assert!((1..=128).contains(&found.trace_id.0.len()));
            prop_assert!(found.parent.is_none_or(|parent| (1..=140).contains(&parent.len())));
            prop_assert!(found.trace_state.is_none_or(|state| (1..=512).contains(&state.len())));
        }
        let headers: Headers = fields.iter().copied().collect();
        prop_assert!(Context::of(&headers).baggage(&mut 0).len() <= 64);
    }

    #[test]
    fn what_is_written_is_read(trace in 1..=u128::MAX, span in 1..=u64::MAX, flagged: bool) {
        for fields in written((trace, span, flagged)) {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (found, damaged) = read(&fields);
            let found = found.unwrap();
            prop_assert_eq!(&*found.trace_id.0, format!("{trace:032x}"));
            prop_assert_eq!(found.parent.as_deref(), Some(&*format!("{span:016x}")));
            prop_assert_eq!((found.flagged, damaged), (flagged, 0), "{:?}", fields);
        }
    }

    #[test]
    fn skywalking_is_read(
        trace in "[1-9a-z][0-9a-z.-]{0,60}",
        segment in "[1-9a-z][0-9a-z.-]{0,60}",
        span in 0..=i32::MAX,
        texts in proptest::collection::vec("[^\\p{C}]{1,40}", 4),
        flagged: bool,
    ) {
        let [service, instance, endpoint, address] = [0, 1, 2, 3].map(|at| STANDARD.encode(&texts[at]));
        let flag = u8::from(flagged);
        let (b64_trace, b64_segment) = (STANDARD.encode(&trace), STANDARD.encode(&segment));
        let value = format!("{flag}-{b64_trace}-{b64_segment}-{span}-{service}-{instance}-{endpoint}-{address}");
        let (found, damaged) = read(&[("sw8", &value)]);
        let found = found.unwrap();
        prop_assert_eq!((&*found.trace_id.0, found.flagged, damaged), (trace.as_str(), flagged, 0));
        prop_assert_eq!(found.parent.as_deref(), Some(&*format!("{segment}-{span}")));
        let caller: Vec<String> = found.caller.iter().map(|attribute| attribute.value.to_string()).collect();
        prop_assert_eq!(caller, texts);
        // Cut before its last part, it is damaged.
        for end in 0..=value.rfind('-').unwrap() {
            let (found, damaged) = read(&[("sw8", &value[..end])]);
            prop_assert_eq!((found, damaged), (None, 1), "{}", &value[..end]);
        }
    }
}
