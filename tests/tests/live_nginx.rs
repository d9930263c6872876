//! gunicorn behind nginx, over TCP and over a unix socket: the app's spans, and who really asked.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::server::{Endpoint, Server};
use tests::watch::{Watch, can_run, read};

/// nginx's own requests differ in bytes and address from the client's: counted and compared by hand.
#[rstest]
#[case::tcp(false)]
#[case::unix(true)]
fn the_app_behind_nginx(#[case] by_unix_socket: bool) {
    if !can_run() {
        return;
    }
    let arguments = ["--workers", "2", "--threads", "2"];
    let start = if by_unix_socket { Server::gunicorn_unix } else { Server::gunicorn };
    let mut watch = Watch::on(start("flask_app:app", &arguments).unwrap()).unwrap();
    let nginx = Server::nginx(&watch.server.endpoint).unwrap();
    let mut connection = Connection::open(&nginx.endpoint).unwrap();
    for n in 0..40 {
        let (target, name) = match n % 4 {
            0 => (format!("/items/{n}"), "GET /items/{id}"),
            1 => (format!("/big?bytes=50000&n={n}"), "GET /big"),
            2 => (format!("/missing?n={n}"), "GET /missing"),
            _ => (format!("/slow?ms=10&n={n}"), "GET /slow"),
        };
        let mut entry = connection.exchange(Request::get(&target)).unwrap().named(name);
        assert!(entry.complete);
        (entry.local, entry.request_bytes, entry.response_bytes) = (None, 0, 0);
        watch.entries.push(entry);
    }
    let Endpoint::Tcp(address) = nginx.endpoint else { panic!("nginx listens on TCP") };
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "-o",
        "/dev/null",
        "--interface",
        "127.0.0.9",
        &format!("http://{address}/fast?n=curl"),
    ]);
    read(&mut curl).unwrap();
    let listens = watch.server.endpoint.clone();
    let (entries, mut spans) = watch.finish(1).unwrap();
    let at = spans.iter().position(|span| span.target.as_deref() == Some("/fast?n=curl")).unwrap();
    let by_curl = spans.remove(at);
    tests::ledger::assert_agree(&entries, &spans);
    assert_eq!(by_curl.client_addr.as_deref(), Some("127.0.0.9"), "{by_curl:?}");
    for span in &spans {
        assert_eq!(
            (span.kind.as_str(), span.client_addr.as_deref()),
            ("server", Some("127.0.0.1")),
            "{span:?}"
        );
        let (local, peer) = (span.local.as_deref().unwrap(), span.peer.as_deref().unwrap());
        assert_eq!(local, listens.to_string());
        assert_eq!(peer.starts_with("unix:"), by_unix_socket, "{peer}");
    }
}

#[test]
fn nginx_itself_is_server_and_client() {
    if !can_run() {
        return;
    }
    let app = Server::plain().unwrap();
    let mut watch = Watch::on(Server::nginx(&app.endpoint).unwrap()).unwrap();
    for n in 0..20 {
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
    }
    let (entries, spans) = watch.finish(20).unwrap();
    let (calls, served): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "client");
    tests::ledger::assert_agree(&entries, &served);
    assert_eq!(calls.len(), 20);
    let Endpoint::Tcp(upstream) = app.endpoint else { panic!("http.server listens on TCP") };
    for call in &calls {
        assert_eq!((call.status, call.peer.clone()), (Some(200), Some(upstream.to_string())), "{call:?}");
    }
}
