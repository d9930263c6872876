//! Any headers give at most one context, with bounded ids, and the same one when they are read again.

#![no_main]

use protocol::http1::Headers;
use trace::context::Context;

const NAMES: [&str; 16] = [
    "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled",
    "x-b3-flags", "sw8", "sw6", "uber-trace-id", "request-id", "eagleeye-traceid", "traceid", "baggage",
    "x-request-id",
];

// Each line is a header: its first byte chooses the name.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').filter_map(|line| {
        let first = line.chars().next()?;
        Some((NAMES[first as usize % NAMES.len()], &line[first.len_utf8()..]))
    });
    let headers: Headers = lines.collect();
    let context = Context::of(&headers);
    let (mut damaged, mut again) = (0, 0);
    let found = context.incoming(&mut damaged);
    assert_eq!(Context::of(&headers).incoming(&mut again), found);
    assert_eq!(damaged, again);
    assert!(damaged <= headers.iter().count() as u64);
    if let Some(found) = &found {
        assert!((1..=128).contains(&found.trace_id.0.len()));
        assert!(found.trace_id.0.bytes().any(|byte| byte != b'0'));
        assert!(found.parent.as_ref().is_none_or(|parent| (1..=140).contains(&parent.len())));
        assert!(found.trace_state.as_ref().is_none_or(|state| (1..=512).contains(&state.len())));
    }
    let _ = context.outgoing(&mut damaged);
    assert!(context.baggage(&mut damaged).len() <= 64);
    let _ = context.request_id();
});
