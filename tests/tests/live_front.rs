//! Applications that nginx speaks to in the uwsgi protocol and in `FastCGI`: the request as its client made it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::ledger::{Entry, assert_agree};
use tests::probe::SpanLine;
use tests::server::{Endpoint, Pass, Server};
use tests::watch::{Watch, can_run, read};

/// How long flup may take from the last byte of a response to the record that ends it.
const SAYS_END_NS: u64 = 200_000_000;

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
    assert_eq!(span.error.as_deref(), (span.status == Some(500)).then_some("HTTP 500"), "{span:?}");
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
