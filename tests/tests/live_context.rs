//! Traces that come in with requests, in the headers of each family.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tests::client::Request;
use tests::ledger::assert_agree;
use tests::probe::SpanLine;
use tests::server::Server;
use tests::watch::{Watch, can_run};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Header lines, and the trace and parent that they name.
fn families() -> Vec<(String, String, Option<String>)> {
    let in_full = || (TRACE.to_owned(), Some(SPAN.to_owned()));
    let sw8 = "1-VFJBQ0U=-U0VHTUVOVA==-3-c2VydmljZQ==-aW5zdGFuY2U=-L2VuZHBvaW50-aG9zdDo4MA==";
    let sw6 = "1-MS4yLjM=-MS4yLjQ=-5-6-7-IzEwLjAuMC4xOjgw-Iy9h-Iy9i";
    let broken = "traceparent: 00-4bf92f35";
    let own = |trace: &str, parent: Option<&str>| (trace.to_owned(), parent.map(str::to_owned));
    [
        (
            format!("traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=1,b=2\r\nb3: {SPAN}-{SPAN}-1"),
            in_full(),
        ),
        (format!("{broken}\r\nb3: {TRACE}-{SPAN}-1"), in_full()),
        (format!("X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\nX-B3-Sampled: 1"), in_full()),
        (format!("sw8: {sw8}"), own("TRACE", Some("SEGMENT-3"))),
        (format!("sw6: {sw6}"), own("1.2.3", Some("1.2.4-5"))),
        (format!("uber-trace-id: {TRACE}:f067aa0ba902b7:0:1"), in_full()),
        (
            "traceparent: 00-ac15452e1649035594650011be21ec-c0a8016430390001-01".to_owned(),
            own("ac15452e1649035594650011be21ec", Some("c0a8016430390001")),
        ),
        ("Request-Id: |abc.def_7".to_owned(), own("abc", Some("7"))),
        ("Eagleeye-Traceid: abc-def".to_owned(), own("abc", Some("def"))),
        ("TraceId: abc".to_owned(), own("abc", None)),
    ]
    .into_iter()
    .map(|(lines, (trace, parent))| {
        (format!("{lines}\r\nX-Request-ID: r-9\r\nbaggage: user=7\r\n"), trace, parent)
    })
    .collect()
}

#[test]
fn every_family_of_headers_is_continued() {
    if !can_run() {
        return;
    }
    let mut watch =
        Watch::with(Server::gunicorn("flask_app:app", &[]).unwrap(), &["--log-level", "debug"]).unwrap();
    let families = families();
    for (n, (headers, _, _)) in families.iter().enumerate() {
        watch.ask(Request::new("GET", &format!("/fast?n={n}"), headers, b"")).unwrap();
        watch.hang_up();
    }
    watch.probe.wait_for_spans(families.len(), std::time::Duration::from_secs(5));
    let (spans, log) = watch.probe.stop_with_log().unwrap();
    assert_agree(&watch.entries, &spans);
    let of = |n: usize| -> &SpanLine {
        spans.iter().find(|span| span.target.as_deref() == Some(&format!("/fast?n={n}"))).unwrap()
    };
    for (n, (headers, trace, parent)) in families.iter().enumerate() {
        let span = of(n);
        assert_eq!((&span.trace_id, &span.parent_id), (trace, parent), "{headers}");
        assert_eq!(span.parent_kind.is_some(), parent.is_some());
        assert_eq!(span.attributes["baggage"], "user=7");
        assert_eq!(span.attributes["http.request.header.x-request-id"], "r-9");
    }
    assert_eq!(of(0).trace_state.as_deref(), Some("a=1,b=2"));
    assert_eq!(of(3).attributes["skywalking.parent.endpoint"], "/endpoint");
    assert!(log.contains("\"bad_context_headers\":1,"), "{log}");
}
