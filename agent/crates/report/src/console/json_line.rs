//! A span as one line of JSON. The fields are documented in `docs/spans.md`.

use std::fmt::Display;
use std::net::IpAddr;

use model::{Address, End, HttpVersion, ParentKind, Span, SpanId, SpanKind};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// The version of the fields. Raised when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 1;

/// Fields in the order they are written.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    kind: SpanKind,
    app: &'a str,
    pid: u32,
    tid: u32,
    name: &'a str,
    route: Option<&'a str>,
    method: Option<&'a str>,
    scheme: &'a str,
    host: &'a str,
    target: Option<&'a str>,
    status: Option<u16>,
    start_unix_ns: u64,
    duration_us: u64,
    ttfb_us: Option<u64>,
    request_bytes: u64,
    response_bytes: u64,
    local: Text<&'a Address>,
    peer: Text<&'a Address>,
    client_addr: Option<IpAddr>,
    http_version: Option<HttpVersion>,
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    headers: Headers<'a>,
    trace_id: &'a str,
    span_id: Text<SpanId>,
    parent_id: Option<&'a str>,
    parent_kind: Option<ParentKind>,
    error: Option<String>,
    end: End,
}

/// A value as it is displayed.
struct Text<T>(T);

/// An object of name to value; equal names are joined as RFC 9110 §5.3 allows.
struct Headers<'a>(&'a [(String, String)]);

/// Appends the line, with its line feed.
pub(super) fn push(span: &Span, buffer: &mut Vec<u8>) {
    let line = Line {
        schema: SCHEMA,
        kind: span.kind,
        app: &span.process.app_id,
        pid: span.process.pid,
        tid: span.tid,
        name: &span.name,
        route: span.route.as_deref(),
        method: span.method.as_deref(),
        scheme: span.scheme,
        host: &span.host,
        target: span.target.as_deref(),
        status: span.status,
        start_unix_ns: span.start_unix_ns,
        duration_us: span.duration_ns / 1000,
        ttfb_us: span.ttfb_ns.map(|ns| ns / 1000),
        request_bytes: span.request_bytes,
        response_bytes: span.response_bytes,
        local: Text(&span.local),
        peer: Text(&span.peer),
        client_addr: span.client_addr,
        http_version: span.http_version,
        user_agent: span.user_agent.as_deref(),
        headers: Headers(&span.headers),
        trace_id: &span.trace_id.0,
        span_id: Text(span.span_id),
        parent_id: span.parent.as_ref().map(|parent| &*parent.span_id),
        parent_kind: span.parent.as_ref().map(|parent| parent.kind),
        error: span.error(),
        end: span.end,
    };
    serde_json::to_writer(&mut *buffer, &line).expect("a line has text keys only and is written to memory");
    buffer.push(b'\n');
}

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Headers<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            if self.0[..index].iter().any(|(earlier, _)| earlier == name) {
                continue;
            }
            let later = self.0[index + 1..].iter().filter(|(other, _)| other == name);
            let joined = later.fold(value.clone(), |all, (_, more)| all + ", " + more);
            map.serialize_entry(name, &joined)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{client, server};
    use super::*;

    fn line(span: &Span) -> String {
        let mut buffer = Vec::new();
        push(span, &mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn a_server_span_is_exactly_this_line() {
        let expected = concat!(
            r#"{"schema":1,"kind":"server","app":"shop","pid":42,"tid":43,"name":"GET /users/{id}","#,
            r#""route":"/users/{id}","method":"GET","scheme":"http","host":"shop.example","target":"/users/7?a=b","#,
            r#""status":200,"start_unix_ns":1700000000123456789,"duration_us":12345,"ttfb_us":9000,"#,
            r#""request_bytes":120,"response_bytes":2048,"local":"127.0.0.1:8000","peer":"127.0.0.1:51000","#,
            r#""client_addr":"10.1.2.3","http_version":"1.1","user_agent":"curl/8","#,
            r#""headers":{"request.x-a":"1, 2","response.x-b":"\"3\""},"#,
            r#""trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"00000000000000ff","#,
            r#""parent_id":"b7ad6b7169203331","parent_kind":"remote","error":null,"end":"complete"}"#,
            "\n"
        );
        assert_eq!(line(&server()), expected);
    }

    #[test]
    fn a_failed_client_span_is_exactly_this_line() {
        let expected = concat!(
            r#"{"schema":1,"kind":"client","app":"shop","pid":42,"tid":43,"name":"unknown","route":null,"#,
            r#""method":null,"scheme":"http","host":"10.0.0.9:80","target":null,"status":null,"#,
            r#""start_unix_ns":1700000000123456789,"duration_us":500,"ttfb_us":null,"request_bytes":0,"#,
            r#""response_bytes":0,"local":"unknown","peer":"10.0.0.9:80","client_addr":null,"http_version":null,"#,
            r#""user_agent":null,"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"00000000000000ff","#,
            r#""parent_id":null,"parent_kind":null,"error":"connection refused","end":"not_connected"}"#,
            "\n"
        );
        assert_eq!(line(&client()), expected);
    }

    #[test]
    fn line_feeds_and_quotes_in_values_do_not_break_the_line() {
        let mut span = server();
        span.target = Some("/a\n\"b\u{1b}\u{2028}".into());
        let line = line(&span);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["target"], "/a\n\"b\u{1b}\u{2028}");
    }
}
