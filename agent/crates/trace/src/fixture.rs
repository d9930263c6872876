//! Values for this crate's own tests.

use std::sync::Arc;

use model::{Address, AppIdSource, End, Origin, Process, Protocol, Span, SpanId, SpanKind, TraceId};
use protocol::Chunk;
use protocol::http1::{Headers, Part, RequestParser};

/// The fields of a head that holds just these.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Headers {
    let mut text = "GET / HTTP/1.1\r\n".to_owned();
    for (name, value) in fields {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text += "\r\n";
    let chunk = Chunk { at_ns: 0, position: 0, len: text.len() as u64, head: text.as_bytes(), tail: b"" };
    let mut found = None;
    RequestParser::new(Origin::Start).push(&chunk, &mut |part| {
        if let Part::Head { head, .. } = part {
            found = Some(head.headers);
        }
    });
    found.expect("a head made of good fields is read")
}

/// A process of an app.
pub(crate) fn process(pid: u32, app_id: &str) -> Arc<Process> {
    Arc::new(Process {
        pid,
        parent_pid: 1,
        app_id: app_id.to_owned(),
        app_id_source: AppIdSource::Flag,
        version: None,
        name: "python".to_owned(),
        command_line: "python app.py".to_owned(),
        user: "www".to_owned(),
        start_unix_ms: 0,
    })
}

/// A complete server span; the name is `METHOD route`.
pub(crate) fn span(name: &str, status: u16, duration_ns: u64) -> Span {
    let (method, route) = name.split_once(' ').unwrap_or((name, "/"));
    Span {
        kind: SpanKind::Server,
        process: process(1, "shop"),
        tid: 1,
        name: name.into(),
        route: Some(route.into()),
        method: Some(method.into()),
        protocol: Protocol::Http1,
        scheme: "http",
        host: "h".to_owned(),
        target: Some(route.to_owned()),
        status: Some(status),
        http_version: None,
        user_agent: None,
        headers: Vec::new(),
        attributes: Vec::new(),
        start_unix_ns: 0,
        start_ns: 0,
        duration_ns,
        ttfb_ns: None,
        request_bytes: 0,
        response_bytes: 0,
        local: Address::Unknown,
        peer: Address::Unknown,
        client_addr: None,
        trace_id: TraceId::from_u128(1),
        span_id: SpanId(1),
        parent: None,
        trace_state: None,
        head_sampled: false,
        sampled: true,
        fault: None,
        end: End::Complete,
    }
}
