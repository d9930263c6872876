//! gunicorn behind proxies that speak the PROXY protocol: whose request it was, and nothing else changed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::ledger::assert_agree;
use tests::server::Server;
use tests::watch::{Watch, can_run};

/// Version 2 of `192.0.2.7:4711`, with a TLV behind the addresses.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x07\x7f\0\0\x01\x12\x67\x1f\x40\x03\0\x02ab";

/// A request with a header in front of it, as the first bytes of a connection, and what is left of it in the books.
#[rstest]
#[case::v1("v1", b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 8000\r\n")]
#[case::v2("v2", BINARY)]
fn the_client_is_the_proxy_s(#[case] mode: &str, #[case] header: &[u8]) {
    if !can_run() {
        return;
    }
    let arguments = ["--threads", "2", "--proxy-protocol", mode, "--proxy-allow-from", "127.0.0.1"];
    let mut watch = Watch::on(Server::gunicorn("flask_app:app", &arguments).unwrap()).unwrap();
    for n in 0..20 {
        let mut connection = Connection::open(&watch.server.endpoint).unwrap();
        let mut first = Request::get(&format!("/items/{n}"));
        first.bytes.splice(..0, header.iter().copied());
        let mut entry = connection.exchange(first).unwrap().named("GET /items/{id}");
        entry.request_bytes = Request::get(&entry.target).bytes.len() as u64;
        watch.entries.push(entry);
        let next = connection.exchange(Request::get(&format!("/fast?n={n}"))).unwrap().named("GET /fast");
        watch.entries.push(next);
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert!(entries.iter().all(|entry| entry.status == Some(200)), "{entries:?}");
    assert_agree(&entries, &spans);
    assert_eq!(spans.len(), 40);
    for span in &spans {
        assert_eq!(span.client_addr.as_deref(), Some("192.0.2.7"), "{span:?}");
    }
}

/// What gunicorn was not told to expect is no header, and gunicorn says so.
#[test]
fn a_peer_that_is_not_trusted_is_not_believed() {
    if !can_run() {
        return;
    }
    let arguments = ["--proxy-protocol", "v1", "--proxy-allow-from", "127.0.0.1"];
    let server = Server::gunicorn("flask_app:app", &arguments).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("probe.toml");
    std::fs::write(&config, "[trace]\ntrusted_networks = [\"10.0.0.0/8\"]\n").unwrap();
    let mut watch = Watch::with(server, &["--config", config.to_str().unwrap()]).unwrap();
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    let mut request = Request::get("/items/1");
    request.bytes.splice(..0, *b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 8000\r\n");
    let mut entry = connection.exchange(request).unwrap();
    entry.request_bytes = Request::get("/items/1").bytes.len() as u64;
    watch.entries.push(entry);
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert_eq!(spans[0].client_addr.as_deref(), Some("127.0.0.1"));
}
