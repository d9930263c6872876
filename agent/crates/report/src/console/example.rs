//! Spans to try the console with.

use std::sync::Arc;

use model::{
    Address, AppIdSource, End, Fault, HttpVersion, Parent, ParentKind, Process, Protocol, Span, SpanId,
    SpanKind, TraceId,
};

pub(super) fn server() -> Span {
    Span {
        kind: SpanKind::Server,
        process: Arc::new(Process {
            pid: 42,
            parent_pid: 1,
            app_id: "shop".into(),
            app_id_source: AppIdSource::CommandLine,
            version: None,
            name: "gunicorn".into(),
            command_line: "gunicorn shop.wsgi:app".into(),
            user: "web".into(),
            start_unix_ms: 0,
        }),
        tid: 43,
        name: "GET /users/{id}".into(),
        route: Some("/users/{id}".into()),
        method: Some("GET".into()),
        protocol: Protocol::Http1,
        scheme: "http",
        host: "shop.example".into(),
        target: Some("/users/7?a=b".into()),
        status: Some(200),
        http_version: Some(HttpVersion::Http11),
        user_agent: Some("curl/8".into()),
        headers: [("request.x-a", "1"), ("response.x-b", "\"3\""), ("request.x-a", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        attributes: Vec::new(),
        start_unix_ns: 1_700_000_000_123_456_789,
        start_ns: 5,
        duration_ns: 12_345_678,
        ttfb_ns: Some(9_000_999),
        request_bytes: 120,
        response_bytes: 2048,
        local: Address::Ip(([127, 0, 0, 1], 8000).into()),
        peer: Address::Ip(([127, 0, 0, 1], 51000).into()),
        client_addr: Some([10, 1, 2, 3].into()),
        trace_id: TraceId("0af7651916cd43dd8448eb211c80319c".into()),
        span_id: SpanId(255),
        parent: Some(Parent { span_id: "b7ad6b7169203331".into(), kind: ParentKind::Remote }),
        trace_state: None,
        head_sampled: false,
        sampled: true,
        fault: None,
        end: End::Complete,
    }
}

pub(super) fn client() -> Span {
    Span {
        kind: SpanKind::Client,
        protocol: Protocol::Unknown,
        name: "unknown".into(),
        route: None,
        method: None,
        host: "10.0.0.9:80".into(),
        target: None,
        status: None,
        http_version: None,
        user_agent: None,
        headers: Vec::new(),
        duration_ns: 500_000,
        ttfb_ns: None,
        request_bytes: 0,
        response_bytes: 0,
        local: Address::Unknown,
        peer: Address::Ip(([10, 0, 0, 9], 80).into()),
        client_addr: None,
        parent: None,
        fault: Some(Fault::ConnectionRefused),
        end: End::NotConnected,
        ..server()
    }
}
