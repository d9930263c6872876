//! A span as one line of JSON. The fields are documented in `docs/spans.md`.

use std::net::SocketAddr;

use model::{Address, Attribute, AttributeValue, ParentKind, Span, SpanKind};

use super::json_object::{Key, Object, key};

/// The version of the fields. Raised when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA: u32 = 1;

/// Appends the line, with its line feed.
pub(super) fn push(span: &Span, buffer: &mut Vec<u8>) {
    let mut line = Object::begin(buffer);
    line.number(key!("schema"), SCHEMA);
    line.text(key!("kind"), kind(span.kind));
    line.text(key!("app"), &span.process.app_id);
    line.number(key!("pid"), span.process.pid);
    line.number(key!("tid"), span.tid);
    line.text(key!("name"), &span.name);
    line.optional_text(key!("route"), span.route.as_deref());
    line.optional_text(key!("method"), span.method.as_deref());
    line.text(key!("protocol"), span.protocol.as_str());
    line.text(key!("scheme"), span.scheme);
    line.text(key!("host"), &span.host);
    line.optional_text(key!("target"), span.target.as_deref());
    line.optional_number(key!("status"), span.status);
    line.number(key!("start_unix_ns"), span.start_unix_ns);
    line.number(key!("duration_us"), span.duration_ns / 1000);
    line.optional_number(key!("ttfb_us"), span.ttfb_ns.map(|ns| ns / 1000));
    line.number(key!("request_bytes"), span.request_bytes);
    line.number(key!("response_bytes"), span.response_bytes);
    push_address(&mut line, key!("local"), &span.local);
    push_address(&mut line, key!("peer"), &span.peer);
    match span.client_addr {
        Some(ip) => line.ip(key!("client_addr"), ip),
        None => line.null(key!("client_addr")),
    }
    line.optional_text(key!("http_version"), span.http_version.map(model::HttpVersion::as_str));
    line.optional_text(key!("user_agent"), span.user_agent.as_deref());
    if !span.headers.is_empty() {
        push_headers(line.object(key!("headers")), &span.headers);
    }
    if !span.attributes.is_empty() {
        push_attributes(line.object(key!("attributes")), &span.attributes);
    }
    line.text(key!("trace_id"), &span.trace_id.0);
    line.hex(key!("span_id"), span.span_id.0);
    line.optional_text(key!("parent_id"), span.parent.as_ref().map(|parent| &*parent.span_id));
    line.optional_text(key!("parent_kind"), span.parent.as_ref().map(|parent| parent_kind(parent.kind)));
    if let Some(state) = &span.trace_state {
        line.text(key!("trace_state"), state);
    }
    line.optional_text(key!("error"), span.error().as_deref());
    line.text(key!("end"), span.end.as_str());
    line.end();
    buffer.push(b'\n');
}

const fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
    }
}

const fn parent_kind(kind: ParentKind) -> &'static str {
    match kind {
        ParentKind::Remote => "remote",
        ParentKind::Thread => "thread",
        ParentKind::Handshake => "handshake",
        ParentKind::Whole => "whole",
        ParentKind::Context => "context",
        ParentKind::Connection => "connection",
    }
}

/// An address as it is displayed.
fn push_address(line: &mut Object<'_>, key: Key, address: &Address) {
    match address {
        Address::Ip(SocketAddr::V4(v4)) => line.ip_and_port(key, *v4),
        other => line.text(key, &other.to_string()),
    }
}

/// An object of name to value; equal names are joined as RFC 9110 §5.3 allows.
fn push_headers(mut object: Object<'_>, headers: &[(String, String)]) {
    for (index, (name, value)) in headers.iter().enumerate() {
        if headers[..index].iter().any(|(earlier, _)| earlier == name) {
            continue;
        }
        let later = headers[index + 1..].iter().filter(|(other, _)| other == name);
        let joined = later.fold(value.clone(), |all, (_, more)| all + ", " + more);
        object.entry(name).text(&joined);
    }
    object.end();
}

fn push_attributes(mut object: Object<'_>, attributes: &[Attribute]) {
    for Attribute { name, value } in attributes {
        match value {
            AttributeValue::Text(text) => object.entry(name).text(text),
            AttributeValue::Int(number) => object.entry(name).number(*number),
            AttributeValue::Float(number) => object.entry(name).float(*number),
            AttributeValue::Bool(yes) => object.entry(name).bool(*yes),
        }
    }
    object.end();
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
            r#""route":"/users/{id}","method":"GET","protocol":"http1","scheme":"http","host":"shop.example","target":"/users/7?a=b","#,
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
            r#""method":null,"protocol":"unknown","scheme":"http","host":"10.0.0.9:80","target":null,"status":null,"#,
            r#""start_unix_ns":1700000000123456789,"duration_us":500,"ttfb_us":null,"request_bytes":0,"#,
            r#""response_bytes":0,"local":"unknown","peer":"10.0.0.9:80","client_addr":null,"http_version":null,"#,
            r#""user_agent":null,"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"00000000000000ff","#,
            r#""parent_id":null,"parent_kind":null,"error":"connection refused","end":"not_connected"}"#,
            "\n"
        );
        assert_eq!(line(&client()), expected);
    }

    #[test]
    fn attributes_are_an_object_of_their_own() {
        let mut span = server();
        span.protocol = model::Protocol::Postgresql;
        span.set("db.operation.name", "SEL\"ECT");
        span.set("db.response.returned_rows", 7_u64);
        span.set("db.operation.name", "SELECT");
        span.set("share", 0.5);
        span.set("nothing", f64::NAN);
        span.set("db.prepared", true);
        let value: serde_json::Value = serde_json::from_str(&line(&span)).unwrap();
        assert_eq!(value["protocol"], "postgresql");
        assert_eq!(
            value["attributes"],
            serde_json::json!({"db.operation.name": "SELECT", "db.response.returned_rows": 7, "share": 0.5,
                "nothing": null, "db.prepared": true})
        );
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
