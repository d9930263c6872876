//! Real tracing SDKs in the watched process: what they trace is linked to, or left to them, and never told twice.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::lineage::SEES;
use tests::probe::{Probe, SpanLine};
use tests::server::Server;
use tests::venv::Venv;
use tests::watch::can_run;

const LIMIT: Duration = Duration::from_secs(10);
const REQUESTS: usize = 12;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Watches an app that calls another, both of them, and gives the spans of requests and calls.
fn drive(sdk: &str, framework: &str, headers: &str, arguments: &[&str], want: usize) -> Vec<SpanLine> {
    let leaf = Server::plain().unwrap();
    let venv = if sdk == "skywalking" { Venv::with_skywalking() } else { Venv::open() };
    let app = Server::script_in(&venv.unwrap(), "sdk_app.py", &[sdk, framework]).unwrap();
    app.workers().unwrap();
    let arguments: Vec<&str> = ["--log-level", "debug"].iter().chain(arguments).copied().collect();
    // Calls of tasks are known from then on.
    let seen = [("STARDUST_PROBE_PYTHON_LINEAGE", "always")];
    let probe = Probe::attach_in(&[app.pid(), leaf.pid()], &arguments, &seen).unwrap();
    probe.wait_until_followed(&app.workers().unwrap(), LIMIT).unwrap();
    if framework == "fastapi" {
        assert!(probe.wait_for_log(SEES, LIMIT), "{}", probe.log());
    }
    for n in 0..REQUESTS {
        let target = format!("/call?n={n}&url={}/items/{n}", leaf.endpoint.url());
        let mut connection = Connection::open(&app.endpoint).unwrap();
        let entry = connection.exchange(Request::new("GET", &target, headers, b"")).unwrap();
        assert_eq!(entry.status, Some(200));
    }
    probe.wait_for_spans(want, LIMIT);
    let (spans, log) = probe.stop_with_log().unwrap();
    assert!(log.contains("left_to_sdk"), "{log}");
    // What an SDK sends to its own back end is none of the app's requests.
    let is_ours = |span: &SpanLine| {
        let target = span.target.as_deref().unwrap_or_default();
        target.starts_with("/call?") || target.starts_with("/items/")
    };
    spans.into_iter().filter(is_ours).collect()
}

fn told<'a>(span: &'a SpanLine, name: &str) -> Option<&'a str> {
    span.attributes.get(&format!("stardust_probe.sdk.{name}")).and_then(|value| value.as_str())
}

/// The spans of the two servers, request by request.
fn pairs(spans: &[SpanLine]) -> Vec<(&SpanLine, &SpanLine)> {
    let of = |target: String| {
        let mut found = spans.iter().filter(|span| {
            let whole = span.target.as_deref().unwrap();
            whole == target || whole.starts_with(&format!("{target}&"))
        });
        let only = found.next().unwrap_or_else(|| panic!("no span of {target}"));
        assert!(found.next().is_none(), "{target} is there twice");
        only
    };
    (0..REQUESTS).map(|n| (of(format!("/call?n={n}")), of(format!("/items/{n}")))).collect()
}

#[rstest]
#[case::opentelemetry_flask("opentelemetry", "flask")]
#[case::opentelemetry_fastapi("opentelemetry", "fastapi")]
#[case::ddtrace_flask("ddtrace", "flask")]
#[case::sentry_flask("sentry", "flask")]
#[case::sentry_fastapi("sentry", "fastapi")]
#[case::skywalking_flask("skywalking", "flask")]
fn requests_without_a_trace_take_the_sdk_s(#[case] sdk: &str, #[case] framework: &str) {
    if !can_run() {
        return;
    }
    let spans = drive(sdk, framework, "", &[], 2 * REQUESTS);
    assert_eq!(spans.iter().filter(|span| span.kind == "client").count(), 0, "{spans:#?}");
    assert_eq!(spans.len(), 2 * REQUESTS);
    for (request, leaf) in pairs(&spans) {
        // What the SDK wrote is what the other server read.
        assert_eq!(told(request, "trace_id"), Some(leaf.trace_id.as_str()));
        assert_eq!(told(request, "span_id"), leaf.parent_id.as_deref());
        assert_eq!(request.attributes["stardust_probe.sdk.calls"], 1);
        assert_eq!((&request.trace_id, &request.parent_id), (&leaf.trace_id, &None));
        assert_eq!(leaf.parent_kind.as_deref(), Some("remote"));
        assert_ne!(leaf.parent_id.as_deref(), Some(request.span_id.as_str()));
    }
}

#[rstest]
#[case::flask("flask")]
#[case::fastapi("fastapi")]
fn a_trace_that_comes_in_stays(#[case] framework: &str) {
    if !can_run() {
        return;
    }
    let headers = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n");
    let spans = drive("opentelemetry", framework, &headers, &[], 2 * REQUESTS);
    assert_eq!(spans.len(), 2 * REQUESTS, "{spans:#?}");
    for (request, leaf) in pairs(&spans) {
        assert_eq!((request.kind.as_str(), leaf.kind.as_str()), ("server", "server"));
        assert_eq!((request.trace_id.as_str(), request.parent_id.as_deref()), (TRACE, Some(SPAN)));
        assert_eq!(
            (told(request, "trace_id"), told(request, "span_id")),
            (Some(TRACE), leaf.parent_id.as_deref())
        );
        assert_eq!(leaf.trace_id, TRACE);
        assert_ne!(leaf.parent_id.as_deref(), Some(SPAN));
    }
}

#[rstest]
#[case::flask("flask")]
#[case::fastapi("fastapi")]
fn what_the_sdk_traces_can_be_skipped(#[case] framework: &str) {
    if !can_run() {
        return;
    }
    let headers = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n");
    let spans = drive("opentelemetry", framework, &headers, &["--with-sdk", "skip"], REQUESTS);
    let mut targets: Vec<_> = spans.iter().map(|span| span.target.clone().unwrap()).collect();
    targets.sort();
    let mut want: Vec<_> = (0..REQUESTS).map(|n| format!("/items/{n}")).collect();
    want.sort();
    assert_eq!(targets, want, "only the server without an SDK is told of");
    assert!(spans.iter().all(|span| span.kind == "server" && span.trace_id == TRACE));
}

/// nginx hands `traceparent` on as it came.
#[test]
fn a_proxy_is_no_sdk() {
    if !can_run() {
        return;
    }
    let leaf = Server::plain().unwrap();
    let front = Server::nginx(&leaf.endpoint).unwrap();
    let probe = Probe::attach(&[front.pid()], &[]).unwrap();
    let headers = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n");
    let mut connection = Connection::open(&front.endpoint).unwrap();
    for n in 0..REQUESTS {
        connection.exchange(Request::new("GET", &format!("/items/{n}"), &headers, b"")).unwrap();
    }
    probe.wait_for_spans(2 * REQUESTS, LIMIT);
    let spans = probe.stop().unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.kind == "client");
    assert_eq!((calls.len(), served.len()), (REQUESTS, REQUESTS));
    assert!(spans.iter().all(|span| span.trace_id == TRACE && told(span, "trace_id").is_none()));
    assert!(served.iter().all(|span| span.parent_id.as_deref() == Some(SPAN)));
}
