//! One span as the server stores it.
//!
//! Invariant: every text is within the server's limits, no span is its own parent, and nothing looks like a date.

use std::borrow::Cow;
use std::fmt::Write as _;

use model::{AttributeValue, Family, Span, SpanKind};
use serde::Serialize;

use super::limits::{Limits, STORED_CHARS};
use super::text::{cut, not_a_date};

/// The server's columns for ids.
const ID_CHARS: usize = 50;

/// A span kept as a sample, in the server's own terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Sample {
    id: String,
    parent_id: Option<String>,
    trace_id: String,
    start_time: i64,
    end_time: i64,
    value: i64,
    tag: String,
    trace_flag: u8,
    error: Option<String>,
}

impl Sample {
    /// `span` as a sample.
    pub(super) fn new(span: &Span, limits: &Limits) -> Self {
        let id = span.span_id.to_string();
        let parent_id = span.parent.as_ref().map(|parent| cut(&parent.span_id, ID_CHARS));
        // A span that is its own parent breaks the server's page for the whole trace.
        let parent_id = parent_id.filter(|&parent| !parent.is_empty() && parent != id).map(stored);
        // The server's search takes `-` and `,` for separators.
        let trace_id: String =
            span.trace_id.0.chars().filter(|c| !matches!(c, '-' | ',')).take(ID_CHARS).collect();
        Self {
            id,
            parent_id,
            trace_id: stored(&trace_id),
            start_time: millis(span.start_unix_ns),
            end_time: millis(span.end_unix_ns()),
            value: value_of(span),
            tag: tag_of(span, limits),
            trace_flag: u8::from(span.head_sampled),
            error: error_of(span),
        }
    }

    /// Roughly what it takes in memory and on the wire.
    pub(super) fn size_bytes(&self) -> usize {
        256 + self.tag.len() + self.error.as_ref().map_or(0, String::len)
    }
}

/// What the name, the tag's first line or the error already says.
const SAID: [&str; 11] = [
    "error.type",
    "exception.type",
    "exception.message",
    "exception.stacktrace",
    "db.namespace",
    "db.operation.name",
    "db.collection.name",
    "db.query.text",
    "db.system.name",
    "http.route",
    "stardust_probe.route_source",
];

/// Rows, where they are known; else bytes both ways.
pub(super) fn value_of(span: &Span) -> i64 {
    if let Some(AttributeValue::Int(rows)) = span.attribute("db.response.returned_rows") {
        return *rows;
    }
    i64::try_from(span.request_bytes.saturating_add(span.response_bytes)).unwrap_or(i64::MAX)
}

/// Milliseconds of nanoseconds.
pub(super) fn millis(ns: u64) -> i64 {
    (ns / 1_000_000) as i64
}

fn stored(text: &str) -> String {
    not_a_date(Cow::Borrowed(text)).into_owned()
}

/// Why the span failed; below it the stack trace, of whose beginning is left out what the server does not store: its
/// end tells the most.
fn error_of(span: &Span) -> Option<String> {
    let mut error = cut(&span.error()?, STORED_CHARS).to_owned();
    if let Some(trace) = span.attribute("exception.stacktrace").and_then(AttributeValue::as_text) {
        let room = STORED_CHARS.saturating_sub(error.chars().count() + 1);
        let skipped = trace.chars().count().saturating_sub(room);
        let kept = trace.char_indices().nth(skipped).map_or("", |(at, _)| &trace[at..]);
        // A line is kept whole or not at all.
        let kept = if skipped == 0 { kept } else { kept.split_once('\n').map_or("", |(_, whole)| whole) };
        if !kept.is_empty() {
            error.push('\n');
            error.push_str(kept);
        }
    }
    Some(stored(&error))
}

/// `{client} {METHOD} {url}`, or the query, then the attributes as `[name=value name=value]`, then what was recorded of
/// the request and of the response, as the official client does.
fn tag_of(span: &Span, limits: &Limits) -> String {
    let mut tag = String::with_capacity(128);
    match span.protocol.family() {
        Family::Http | Family::Session => push_request(&mut tag, span),
        Family::Sql | Family::Store => match span.attribute("db.query.text") {
            Some(text) => push_display(&mut tag, text),
            None => tag.push_str(&span.name),
        },
    }
    push_attributes(&mut tag, span);
    if let Some(max_chars) = limits.request_tag_chars {
        let user_agent = span.user_agent.iter().map(|agent| ("User-Agent", agent.as_str()));
        push_part(&mut tag, "<=", user_agent.chain(headers(span, "request.")), max_chars);
        push_part(&mut tag, "=>", headers(span, "response."), max_chars);
    }
    stored(cut(&tag, limits.max_tag_chars))
}

fn push_display(tag: &mut String, value: &impl std::fmt::Display) {
    // Writing to a `String` cannot fail.
    let _ = write!(tag, "{value}");
}

fn push_attributes(tag: &mut String, span: &Span) {
    let mut opened = false;
    for attribute in span.attributes.iter().filter(|attribute| !SAID.contains(&attribute.name)) {
        tag.push_str(if opened { " " } else { " [" });
        opened = true;
        tag.push_str(attribute.name);
        tag.push('=');
        push_display(tag, &attribute.value);
    }
    tag.push_str(if opened { "]" } else { "" });
}

fn push_request(tag: &mut String, span: &Span) {
    if span.kind == SpanKind::Server
        && let Some(client) = span.client_addr.or(span.peer.ip())
    {
        let _ = write!(tag, "{client} ");
    }
    if let Some(method) = &span.method {
        tag.push_str(method);
        tag.push(' ');
    }
    match span.target.as_deref() {
        // CONNECT's authority, `*`, or a whole URL.
        Some(target) if !target.starts_with('/') => tag.push_str(target),
        target => {
            let _ = write!(tag, "{}://{}{}", span.scheme, span.host, target.unwrap_or(""));
        }
    }
}

fn headers<'a>(span: &'a Span, side: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let of_side = move |(name, value): &'a (String, String)| Some((name.strip_prefix(side)?, value.as_str()));
    span.headers.iter().filter_map(of_side)
}

fn push_part<'a>(
    tag: &mut String,
    arrow: &str,
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    max_chars: usize,
) {
    let lines: Vec<String> = headers.map(|(name, value)| format!("{name}: {value}")).collect();
    if !lines.is_empty() {
        let part = lines.join("\r\n");
        let _ = write!(tag, "\r\n{arrow}\r\n{}", cut(&part, max_chars));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{Fault, Parent, ParentKind, TraceId};
    use serde_json::json;

    use super::super::test_span::span;
    use super::*;

    #[test]
    fn a_sample_has_the_server_s_shape() {
        let mut span = span(SpanKind::Server, "/api/user");
        span.target = Some("/api/user?id=1".to_owned());
        span.client_addr = Some([10, 0, 0, 9].into());
        span.head_sampled = true;
        span.parent = Some(Parent { span_id: "00f067aa0ba902b7".into(), kind: ParentKind::Remote });
        assert_eq!(
            serde_json::to_value(Sample::new(&span, &Limits::default())).expect("JSON"),
            json!({"Id": "c0a8016430390001", "ParentId": "00f067aa0ba902b7",
                "TraceId": "4bf92f3577b34da6a3ce929d0e0e4736",
                "StartTime": 1_754_100_010_000_i64, "EndTime": 1_754_100_010_050_i64, "Value": 300,
                "Tag": "10.0.0.9 GET http://h/api/user?id=1", "TraceFlag": 1, "Error": null})
        );
        span.parent = None;
        span.status = Some(503);
        span.fault = Some(Fault::Status);
        let sample = serde_json::to_value(Sample::new(&span, &Limits::default())).expect("JSON");
        assert_eq!(sample["ParentId"], json!(null));
        assert_eq!(sample["Error"], json!("HTTP 503"));
    }

    #[test]
    fn no_span_is_its_own_parent() {
        let mut span = span(SpanKind::Server, "/a");
        for (parent, expected) in [("c0a8016430390001", None), ("", None), ("x", Some("x"))] {
            span.parent = Some(Parent { span_id: parent.into(), kind: ParentKind::Remote });
            assert_eq!(Sample::new(&span, &Limits::default()).parent_id.as_deref(), expected);
        }
    }

    #[test]
    fn foreign_ids_are_made_safe() {
        let mut span = span(SpanKind::Server, "/a");
        span.trace_id = TraceId("ac15452e1649035594650011be21ec".into());
        assert_eq!(Sample::new(&span, &Limits::default()).trace_id, "ac15452e1649035594650011be21ec");
        span.trace_id = TraceId(format!("a-b,{}", "c".repeat(80)).into());
        assert_eq!(Sample::new(&span, &Limits::default()).trace_id, format!("ab{}", "c".repeat(48)));
    }

    #[test]
    fn tags_say_who_asked_for_what() {
        let mut span = span(SpanKind::Server, "/a");
        span.target = Some("/a?b=星".to_owned());
        span.user_agent = Some("curl/8".to_owned());
        span.headers = vec![("request.x-id".into(), "7".into()), ("response.x-node".into(), "n1".into())];
        let mut limits = Limits::default();
        let long = "127.0.0.1 GET http://h/a?b=星\r\n<=\r\nUser-Agent: curl/8\r\nx-id: 7\r\n=>\r\nx-node: n1";
        assert_eq!(tag_of(&span, &limits), long);
        limits.request_tag_chars = Some(4);
        assert_eq!(tag_of(&span, &limits), "127.0.0.1 GET http://h/a?b=星\r\n<=\r\nUser\r\n=>\r\nx-no");
        limits.request_tag_chars = None;
        assert_eq!(tag_of(&span, &limits), "127.0.0.1 GET http://h/a?b=星");
        limits.max_tag_chars = 28;
        assert_eq!(tag_of(&span, &limits), "127.0.0.1 GET http://h/a?b=星");
        limits.max_tag_chars = 27;
        assert_eq!(tag_of(&span, &limits), "127.0.0.1 GET http://h/a?b=");
    }

    #[test]
    fn attributes_stand_behind_the_first_line() {
        let mut span = span(SpanKind::Server, "/a");
        span.set("tls.protocol.version", "1.3");
        span.set("stream.chunks", 7_u64);
        span.user_agent = Some("curl/8".to_owned());
        let expected =
            "127.0.0.1 GET http://h/a [tls.protocol.version=1.3 stream.chunks=7]\r\n<=\r\nUser-Agent: curl/8";
        assert_eq!(tag_of(&span, &Limits::default()), expected);
        assert_eq!(value_of(&span), 300);
        span.protocol = model::Protocol::Postgresql;
        (span.name, span.user_agent, span.attributes) = ("SELECT orders".into(), None, Vec::new());
        assert_eq!(tag_of(&span, &Limits::default()), "SELECT orders");
        span.set("db.operation.name", "SELECT");
        span.set("db.response.returned_rows", 12_u64);
        span.set("db.query.text", "select * from orders where id = ?");
        let expected = "select * from orders where id = ? [db.response.returned_rows=12]";
        assert_eq!(tag_of(&span, &Limits::default()), expected);
        assert_eq!(tag_of(&span, &Limits { max_tag_chars: 6, ..Limits::default() }), "select");
        assert_eq!(value_of(&span), 12);
    }

    #[test]
    fn an_exception_is_the_error_and_leaves_the_tag_alone() {
        let mut span = span(SpanKind::Server, "/pay");
        let tag = Sample::new(&span, &Limits::default()).tag;
        (span.status, span.fault) = (Some(500), Some(Fault::Status));
        span.set("exception.type", "shop.NoStock");
        span.set("exception.message", "none");
        span.set("exception.stacktrace", "Traceback:\n  File \"a.py\"\nshop.NoStock: none");
        let sample = Sample::new(&span, &Limits::default());
        let error = sample.error.expect("an error");
        assert_eq!(error, "HTTP 500: shop.NoStock: none\nTraceback:\n  File \"a.py\"\nshop.NoStock: none");
        assert_eq!(sample.tag, tag);
        span.set("exception.stacktrace", format!("first\n{}\nlast line", "x".repeat(1990)));
        let error = Sample::new(&span, &Limits::default()).error.expect("an error");
        assert_eq!(error, "HTTP 500: shop.NoStock: none\nlast line");
    }

    #[test]
    fn tags_of_calls_and_odd_targets() {
        let limits = Limits::default();
        let mut span = span(SpanKind::Client, "/a");
        assert_eq!(tag_of(&span, &limits), "GET http://h/a");
        span.target = Some("h:443".to_owned());
        span.method = Some("CONNECT".into());
        assert_eq!(tag_of(&span, &limits), "CONNECT h:443");
        span.target = None;
        span.method = None;
        assert_eq!(tag_of(&span, &limits), "http://h");
        span.method = Some(Arc::from("/Date(1)/"));
        assert!(tag_of(&span, &limits).starts_with("/_Date(1)/"));
    }
}
