//! Applications that nginx speaks to in the uwsgi protocol and in `FastCGI`: the request as its client made it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::clock::monotonic_ns;
use tests::ledger::{Entry, assert_agree};
use tests::probe::SpanLine;
use tests::server::{Endpoint, Pass, Server};
use tests::watch::{Watch, can_run, read};

/// How long flup may take from the last byte of a response to the record that ends it, on a machine that is busy with others.
const SAYS_END_NS: u64 = 2_000_000_000;

fn start(pass: Pass, endpoint: Endpoint) -> Server {
    match pass {
        Pass::Uwsgi => Server::uwsgi(endpoint, "flask_app:app"),
        _ => Server::fastcgi(endpoint),
    }
    .unwrap()
}

/// Requests of every kind through nginx. What nginx sends on differs from them in bytes and address.
fn drive(nginx: &Server, pass: Pass, rounds: usize) -> Vec<Entry> {
    let mut connection = None;
    let mut ask = |request: Request, name: &str, least_ms: u64| {
        let mut open = connection.take().unwrap_or_else(|| Connection::open(&nginx.endpoint).unwrap());
        let target = request.target.clone();
        let entry = open.exchange(request).unwrap_or_else(|error| panic!("{target}: {error:#}"));
        let mut entry = entry.named(name).lasting_ms(least_ms);
        assert!(entry.complete, "{entry:?}");
        (entry.local, entry.request_bytes, entry.response_bytes) = (None, 0, 0);
        if pass == Pass::FastCgi {
            // nginx has the whole body before flup says the end.
            entry.last_ns += SAYS_END_NS;
        }
        connection = entry.keeps_alive.then_some(open);
        entry
    };
    let round = |n: usize| {
        vec![
            ask(Request::get(&format!("/items/{n}")), "GET /items/{id}", 0),
            ask(Request::get(&format!("/missing?n={n}")), "GET /missing", 0),
            ask(Request::get(&format!("/boom?n={n}")), "GET /boom", 0),
            ask(Request::get(&format!("/slow?ms=20&n={n}")), "GET /slow", 20),
            ask(Request::get(&format!("/big?bytes=100000&n={n}")), "GET /big", 0),
            ask(Request::get(&format!("/stream?chunks=3&size=50&ms=5&n={n}")), "GET /stream", 15),
            ask(Request::get(&format!("/nocontent?n={n}")), "GET /nocontent", 0),
            ask(Request::post(&format!("/echo?n={n}"), 5_000), "POST /echo", 0),
            ask(Request::post(&format!("/echo?n=large{n}"), 100_000), "POST /echo", 0),
            ask(Request::new("HEAD", &format!("/fast?n={n}"), "", b""), "HEAD /fast", 0),
        ]
    };
    (0..rounds).flat_map(round).collect()
}

fn assert_as_asked(span: &SpanLine, pass: Pass) {
    let protocol = if pass == Pass::Uwsgi { "uwsgi" } else { "fastcgi" };
    assert_eq!(
        (span.kind.as_str(), span.protocol.as_str(), span.scheme.as_str()),
        ("server", protocol, "http")
    );
    assert_eq!(
        (span.host.as_deref(), span.http_version.as_deref()),
        (Some("app.test"), Some("1.1")),
        "{span:?}"
    );
    assert_eq!(span.client_addr.as_deref(), Some("127.0.0.1"), "{span:?}");
    // With the exception, from a process's second failure on.
    let error = span.error.as_deref();
    assert_eq!(error.is_some(), span.status == Some(500), "{span:?}");
    assert!(error.is_none_or(|error| error == "HTTP 500" || error.starts_with("HTTP 500: ")), "{span:?}");
    assert!(span.request_bytes > 100 && span.response_bytes > 20, "{span:?}");
    let ttfb_us = span.ttfb_us.unwrap();
    assert!(ttfb_us <= span.duration_us, "{span:?}");
}

#[rstest]
#[case::uwsgi(Pass::Uwsgi, Endpoint::free().unwrap())]
#[case::uwsgi_unix(Pass::Uwsgi, Endpoint::unix())]
#[case::fastcgi(Pass::FastCgi, Endpoint::free().unwrap())]
#[case::fastcgi_unix(Pass::FastCgi, Endpoint::unix())]
fn every_request_is_one_span(#[case] pass: Pass, #[case] endpoint: Endpoint) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(start(pass, endpoint)).unwrap();
    let nginx = Server::nginx_by(pass, &watch.server.endpoint).unwrap();
    watch.entries = drive(&nginx, pass, 5);
    let Endpoint::Tcp(address) = nginx.endpoint else { panic!("nginx listens on TCP") };
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "--interface", "127.0.0.9", "-A", "curl of the test"]);
    read(curl.arg(format!("http://{address}/fast?n=curl"))).unwrap();
    let (entries, mut spans) = watch.finish(1).unwrap();
    let at = spans.iter().position(|span| span.target.as_deref() == Some("/fast?n=curl"));
    let at = at.unwrap_or_else(|| panic!("no span of curl's request: {spans:#?}"));
    let by_curl = spans.remove(at);
    assert_agree(&entries, &spans);
    assert_eq!(by_curl.client_addr.as_deref(), Some("127.0.0.9"), "{by_curl:?}");
    assert_eq!(by_curl.user_agent.as_deref(), Some("curl of the test"));
    for span in &spans {
        assert_as_asked(span, pass);
    }
    let app = if pass == Pass::Uwsgi { "flask_app" } else { "fastcgi_app" };
    assert!(spans.iter().all(|span| span.app == app), "{spans:#?}");
}

/// As a front server asks: one request on a connection of its own, its bytes counted.
fn ask(pass: Pass, app: &Endpoint, (method, target): (&str, &str), body: &[u8]) -> Entry {
    let Endpoint::Tcp(address) = app else { panic!("the app listens on TCP") };
    let length = body.len().to_string();
    let variables = [
        ("REQUEST_METHOD", method),
        ("REQUEST_URI", target),
        ("PATH_INFO", target.split('?').next().unwrap()),
        ("QUERY_STRING", target.split_once('?').map_or("", |(_, query)| query)),
        ("CONTENT_LENGTH", &length),
        ("SERVER_NAME", "app.test"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "203.0.113.9"),
        ("HTTP_HOST", "app.test"),
    ];
    let request = if pass == Pass::Uwsgi { uwsgi(&variables, body) } else { fastcgi(&variables, body) };
    let mut connection = TcpStream::connect(address).unwrap();
    // flup does not read the record that ends the body before it has answered.
    let unread = if pass == Pass::FastCgi { 8 } else { 0 };
    let (local, start_ns) = (connection.local_addr().ok(), monotonic_ns());
    connection.write_all(&request).unwrap();
    let mut response = Vec::new();
    // Both close the connection behind the response.
    connection.read_to_end(&mut response).unwrap();
    Entry {
        method: method.to_owned(),
        target: target.to_owned(),
        status: Some(if target.starts_with("/missing") { 404 } else { 200 }),
        request_bytes: (request.len() - unread) as u64,
        response_bytes: response.len() as u64,
        start_ns,
        last_ns: monotonic_ns(),
        local,
        complete: true,
        ..Entry::default()
    }
}

fn uwsgi(variables: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let size = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_le_bytes();
    let texts = variables.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    let pairs: Vec<u8> = texts.flat_map(|text| [&size(text), text].concat()).collect();
    [&[0][..], &size(&pairs), &[0], &pairs, body].concat()
}

fn fastcgi(variables: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let record = |kind: u8, content: &[u8]| {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let padding = (content.len().wrapping_neg() % 8) as u8;
        [&[1, kind, 0, 1, high, low, padding, 0], content, &[0; 8][..usize::from(padding)]].concat()
    };
    let pair = |(name, value): &(&str, &str)| {
        [&[name.len() as u8, value.len() as u8], name.as_bytes(), value.as_bytes()].concat()
    };
    let pairs: Vec<u8> = variables.iter().flat_map(pair).collect();
    let mut request = [record(1, &[0, 1, 0, 0, 0, 0, 0, 0]), record(4, &pairs), record(4, &[])].concat();
    body.chunks(30_000).for_each(|part| request.extend(record(5, part)));
    request.extend(record(5, &[]));
    request
}

/// What passes is counted to the byte.
#[rstest]
#[case::uwsgi(Pass::Uwsgi)]
#[case::fastcgi(Pass::FastCgi)]
fn bytes_and_times_are_those_of_the_client(#[case] pass: Pass) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(start(pass, Endpoint::free().unwrap())).unwrap();
    let app = watch.server.endpoint.clone();
    for n in 0..10 {
        let ask = |method, target: String, body: &[u8]| ask(pass, &app, (method, &target), body);
        watch.entries.extend([
            ask("GET", format!("/items/{n}"), b"").named("GET /items/{id}"),
            ask("GET", format!("/missing?n={n}"), b"").named("GET /missing"),
            ask("GET", format!("/big?bytes=200000&n={n}"), b"").named("GET /big"),
            ask("GET", format!("/slow?ms=20&n={n}"), b"").named("GET /slow").lasting_ms(20),
            ask("POST", format!("/echo?n={n}"), &vec![b'x'; 100_000]).named("POST /echo"),
        ]);
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert!(spans.iter().all(|span| span.client_addr.as_deref() == Some("203.0.113.9")), "{spans:#?}");
}

#[rstest]
#[case::uwsgi(Pass::Uwsgi)]
#[case::fastcgi(Pass::FastCgi)]
fn the_front_server_itself_is_the_client(#[case] pass: Pass) {
    if !can_run() {
        return;
    }
    let app = start(pass, Endpoint::free().unwrap());
    let mut watch = Watch::on(Server::nginx_by(pass, &app.endpoint).unwrap()).unwrap();
    for n in 0..10 {
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
    }
    let (entries, spans) = watch.finish(10).unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "client");
    assert_agree(&entries, &served);
    let mut targets: Vec<_> = calls.iter().filter_map(|call| call.target.clone()).collect();
    targets.sort();
    assert_eq!(targets, (0..10).map(|n| format!("/items/{n}")).collect::<Vec<_>>());
    for call in &calls {
        let protocol = if pass == Pass::Uwsgi { "uwsgi" } else { "fastcgi" };
        assert_eq!(
            (call.protocol.as_str(), call.status, call.end.as_str()),
            (protocol, Some(200), "complete"),
            "{call:?}"
        );
        assert_eq!(call.peer.clone(), Some(app.endpoint.to_string()), "{call:?}");
    }
}
