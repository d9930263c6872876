//! `FastAPI` under uvicorn with both of its parsers, and http.server: connections that are kept.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::ledger::assert_agree;
use tests::server::Server;
use tests::watch::{Watch, can_run};

fn start(kind: &str) -> Server {
    if kind == "plain" { Server::plain() } else { Server::uvicorn("fastapi_app:app", kind) }.unwrap()
}

#[rstest]
#[case("h11", "fastapi_app")]
#[case("httptools", "fastapi_app")]
#[case("plain", "plain_app")]
fn every_request_on_a_kept_connection_is_one_span(#[case] kind: &str, #[case] app: &str) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(start(kind)).unwrap();
    for n in 0..30 {
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap();
        watch.get(&format!("/items/{n}"), 200, "GET /items/{id}").unwrap();
        watch.get(&format!("/missing?n={n}"), 404, "GET /missing").unwrap();
        watch.get(&format!("/big?bytes=200000&n={n}"), 200, "GET /big").unwrap();
        watch.get(&format!("/slow?ms=20&n={n}"), 200, "GET /slow").unwrap().least_us = 20_000;
        watch.get(&format!("/stream?chunks=3&size=50&ms=5&n={n}"), 200, "GET /stream").unwrap().least_us =
            15_000;
        "POST /echo".clone_into(&mut watch.ask(Request::post(&format!("/echo?n={n}"), 70_000)).unwrap().name);
        watch.get(&format!("/nocontent?n={n}"), 204, "GET /nocontent").unwrap();
        watch.get(&format!("/boom?n={n}"), 500, "GET /boom").unwrap();
        // uvicorn closes after an unhandled exception, without having said so.
        watch.hang_up();
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert!(spans.iter().all(|span| span.kind == "server" && span.app == app && span.parent_id.is_none()));
}

#[rstest]
#[case("h11")]
#[case("httptools")]
fn many_requests_at_once_do_not_mix(#[case] kind: &str) {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(start(kind)).unwrap();
    let mut connections: Vec<Connection> =
        (0..50).map(|_| Connection::open(&watch.server.endpoint).unwrap()).collect();
    for round in 0..4 {
        let sent: Vec<_> = connections
            .iter_mut()
            .enumerate()
            .map(|(n, connection)| {
                let target = format!("/slow?ms={}&n={round}-{n}", 20 + n);
                connection.send(Request::get(&target)).unwrap()
            })
            .collect();
        for (n, (connection, sent)) in connections.iter_mut().zip(sent).enumerate() {
            watch
                .entries
                .push(connection.receive(sent).unwrap().lasting_ms(20 + n as u64).named("GET /slow"));
        }
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
}

#[test]
fn a_span_comes_at_once_though_the_connection_idles() {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(start("httptools")).unwrap();
    for n in 0..3 {
        watch.get(&format!("/fast?n={n}"), 200, "GET /fast").unwrap();
        let sent = Instant::now();
        assert!(watch.probe.wait_for_spans(n + 1, Duration::from_secs(5)));
        // 50 ms to emit it, 100 ms to flush it, and some for a busy machine.
        assert!(sent.elapsed() < Duration::from_millis(500), "{:?}", sent.elapsed());
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
    assert!(spans.iter().all(|span| span.duration_us < 500_000.0), "no idle time in a duration");
}

#[test]
fn connections_that_were_open_before_are_seen_like_any_other() {
    if !can_run() {
        return;
    }
    let server = start("h11");
    let mut connection = Connection::open(&server.endpoint).unwrap();
    assert_eq!(connection.exchange(Request::get("/fast?before=1")).unwrap().status, Some(200));
    let mut watch = Watch::on(server).unwrap();
    for n in 0..10 {
        watch.entries.push(connection.exchange(Request::get(&format!("/items/{n}"))).unwrap());
    }
    let (entries, spans) = watch.finish(0).unwrap();
    assert_agree(&entries, &spans);
}
