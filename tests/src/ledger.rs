//! The client's books against the probe's: what is missing, twice, or different.
//!
//! Invariant: requests are told apart by method and target, so a test gives each its own.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::SocketAddr;

use crate::clock::{monotonic_ns, unix_ns};
use crate::probe::SpanLine;

/// A span may begin this much before its request was sent: two clocks are read one after the other.
const CLOCK_SLACK_NS: u64 = 2_000_000;

/// One request, as the client saw it.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// The final response's status, if one came.
    pub status: Option<u16>,
    /// Bytes of the request on the wire; 0 if not known.
    pub request_bytes: u64,
    /// Bytes of the final response on the wire; 0 if not known.
    pub response_bytes: u64,
    /// Before the first byte was sent: monotonic.
    pub start_ns: u64,
    /// When the first byte of the response was there; 0 if none was.
    pub first_ns: u64,
    /// When the last byte of the response was there; 0 if it was not awaited.
    pub last_ns: u64,
    /// This side's address, if it has one.
    pub local: Option<SocketAddr>,
    /// Whether the response came to the end that its framing tells.
    pub complete: bool,
    /// Whether the server keeps the connection.
    pub keeps_alive: bool,
    /// The response's body as it was on the wire.
    pub body: Vec<u8>,
    /// The name its span must have; empty for any.
    pub name: String,
    /// The least its span may last, in microseconds.
    pub least_us: u64,
}

impl Entry {
    /// With the name its span must have.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// With the least its span may last, in milliseconds.
    #[must_use]
    pub fn lasting_ms(mut self, least_ms: u64) -> Self {
        self.least_us = least_ms * 1000;
        self
    }
}

/// What does not agree, one line each. Empty if every entry has exactly one span that says the same, and there
/// is no span beside.
///
/// Durations: a server's span lies within the client's, so it may not be longer, nor begin earlier.
pub fn compare(entries: &[Entry], spans: &[SpanLine]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut by_request: HashMap<(&str, &str), Vec<&SpanLine>> = HashMap::new();
    for span in spans {
        let key = (span.method.as_deref().unwrap_or_default(), span.target.as_deref().unwrap_or_default());
        by_request.entry(key).or_default().push(span);
    }
    let offset_ns = unix_ns().saturating_sub(monotonic_ns());
    for entry in entries {
        match by_request.remove(&(entry.method.as_str(), entry.target.as_str())).as_deref() {
            None => differences.push(format!("{} {}: missing", entry.method, entry.target)),
            Some([span]) => compare_one(entry, span, offset_ns, &mut differences),
            Some(several) => {
                differences.push(format!("{} {}: {} spans", entry.method, entry.target, several.len()));
            }
        }
    }
    for span in by_request.into_values().flatten() {
        differences.push(format!("never sent: {span:?}"));
    }
    differences
}

/// Panics with the first differences, if there are any.
pub fn assert_agree(entries: &[Entry], spans: &[SpanLine]) {
    let differences = compare(entries, spans);
    let (count, requests) = (differences.len(), entries.len());
    let first = differences.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        differences.is_empty(),
        "{count} differences in {requests} requests and {} spans:\n{first}",
        spans.len()
    );
}

fn compare_one(entry: &Entry, span: &SpanLine, offset_ns: u64, differences: &mut Vec<String>) {
    let mut tell = |what: &str, expected: &dyn Debug, found: &dyn Debug| {
        differences.push(format!("{} {}: {what} {found:?}, not {expected:?}", entry.method, entry.target));
    };
    if span.status != entry.status {
        tell("status", &entry.status, &span.status);
    }
    if entry.request_bytes > 0 && span.request_bytes != entry.request_bytes {
        tell("request bytes", &entry.request_bytes, &span.request_bytes);
    }
    if entry.complete && entry.response_bytes > 0 && span.response_bytes != entry.response_bytes {
        tell("response bytes", &entry.response_bytes, &span.response_bytes);
    }
    if entry.complete && span.end != "complete" {
        tell("end", &"complete", &span.end);
    }
    if !entry.name.is_empty() && span.name != entry.name {
        tell("name", &entry.name, &span.name);
    }
    let own = entry.local.map(|local| local.to_string());
    if own.is_some() && span.kind == "server" && span.peer != own {
        tell("peer", &own, &span.peer);
    }
    let client_us = entry.last_ns.saturating_sub(entry.start_ns) as f64 / 1000.0;
    if entry.last_ns > 0 && span.duration_us > client_us + CLOCK_SLACK_NS as f64 / 1000.0 {
        tell("microseconds at most", &client_us, &span.duration_us);
    }
    if span.duration_us < entry.least_us as f64 {
        tell("microseconds at least", &entry.least_us, &span.duration_us);
    }
    let earliest_ns = (entry.start_ns + offset_ns).saturating_sub(CLOCK_SLACK_NS);
    if span.start_unix_ns < earliest_ns {
        tell("start at least", &earliest_ns, &span.start_unix_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn entry() -> Entry {
        let start_ns = monotonic_ns();
        Entry {
            method: "GET".to_owned(),
            target: "/a?n=1".to_owned(),
            status: Some(200),
            request_bytes: 50,
            response_bytes: 80,
            start_ns,
            first_ns: start_ns + 5_000_000,
            last_ns: start_ns + 10_000_000,
            local: Some(([127, 0, 0, 1], 4000).into()),
            complete: true,
            ..Entry::default()
        }
    }

    fn span(field: &str, value: Value) -> SpanLine {
        let mut line = json!({
            "kind": "server", "app": "a", "pid": 1, "tid": 1, "name": "GET /a", "method": "GET", "scheme": "http",
            "host": "app.test", "target": "/a?n=1", "status": 200, "start_unix_ns": unix_ns(), "duration_us": 9000,
            "ttfb_us": 100, "request_bytes": 50, "response_bytes": 80, "local": "127.0.0.1:80",
            "peer": "127.0.0.1:4000", "client_addr": "127.0.0.1", "http_version": "1.1", "trace_id": "t",
            "span_id": "s", "parent_id": null, "error": null, "end": "complete",
        });
        line[field] = value;
        serde_json::from_value(line).unwrap()
    }

    #[rstest]
    #[case::none("app", json!("b"), "")]
    #[case::status("status", json!(404), "status")]
    #[case::request("request_bytes", json!(51), "request bytes")]
    #[case::response("response_bytes", json!(81), "response bytes")]
    #[case::end("end", json!("server_closed"), "end")]
    #[case::name("name", json!("GET /b"), "name")]
    #[case::peer("peer", json!("127.0.0.1:1"), "peer")]
    #[case::long("duration_us", json!(13_000), "at most")]
    #[case::short("duration_us", json!(7000), "at least")]
    #[case::early("start_unix_ns", json!(1), "start")]
    #[case::other("target", json!("/b"), "missing")]
    fn differences_are_told(#[case] field: &str, #[case] value: Value, #[case] expected: &str) {
        let found = compare(&[entry().named("GET /a").lasting_ms(8)], &[span(field, value)]);
        assert_eq!(found.is_empty(), expected.is_empty(), "{found:?}");
        assert!(found.first().is_none_or(|difference| difference.contains(expected)), "{found:?}");
    }

    #[test]
    fn missing_double_and_foreign_spans_are_told() {
        let good = || span("app", json!("a"));
        assert_eq!(compare(&[entry()], &[]), ["GET /a?n=1: missing"]);
        assert_eq!(compare(&[entry()], &[good(), good()]), ["GET /a?n=1: 2 spans"]);
        assert!(compare(&[], &[good()])[0].starts_with("never sent"));
    }
}
