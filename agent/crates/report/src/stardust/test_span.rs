//! Spans for unit tests.

use std::net::SocketAddr;
use std::sync::Arc;

use model::{Address, AppIdSource, End, HttpVersion, Process, Protocol, Span, SpanId, SpanKind, TraceId};

pub(super) fn process(pid: u32, app_id: &str) -> Arc<Process> {
    Arc::new(Process {
        pid,
        parent_pid: 1,
        app_id: app_id.to_owned(),
        app_id_source: AppIdSource::Flag,
        version: None,
        name: "python3".to_owned(),
        command_line: "python3 app.py".to_owned(),
        user: "app".to_owned(),
        start_unix_ms: 1_754_100_000_000,
    })
}

pub(super) fn span(kind: SpanKind, path: &str) -> Span {
    Span {
        kind,
        process: process(12_345, "MyApp"),
        tid: 12_345,
        name: format!("GET {path}").into(),
        route: Some(path.into()),
        method: Some("GET".into()),
        protocol: Protocol::Http1,
        scheme: "http",
        host: "h".to_owned(),
        target: Some(path.to_owned()),
        status: Some(200),
        http_version: Some(HttpVersion::Http11),
        user_agent: None,
        headers: Vec::new(),
        attributes: Vec::new(),
        start_unix_ns: 1_754_100_010_000_000_000,
        start_ns: 1_000_000_000,
        duration_ns: 50_000_000,
        ttfb_ns: Some(40_000_000),
        request_bytes: 100,
        response_bytes: 200,
        local: Address::Ip(SocketAddr::from(([127, 0, 0, 1], 8000))),
        peer: Address::Ip(SocketAddr::from(([127, 0, 0, 1], 40_000))),
        client_addr: None,
        trace_id: TraceId("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        span_id: SpanId(0xc0a8_0164_3039_0001),
        parent: None,
        trace_state: None,
        head_sampled: false,
        sampled: true,
        fault: None,
        end: End::Complete,
    }
}
