//! Connections to real databases that are killed while an answer passes or is waited for: what came is told, how it
//! ended, and what the server has said of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::database::Database;
use tests::probe::SpanLine;
use tests::server::Server;
use tests::watch::{Watch, can_run};

/// A span as it must be told: its name, its end (or one of two), its code, and the least and the most that came of its answer.
type Told<'a> = (&'a str, &'a str, Option<&'a str>, std::ops::Range<u64>);

const KILLED_POSTGRESQL: [Told<'_>; 6] = [
    // How much the driver's last read takes depends on the sockets' buffers. Of a long one not all is copied: an error may
    // have ended the rows there.
    ("COPY SELECT numbers numbers", "server_closed|probe_lost", None, 1_000..200_000_000),
    ("SELECT", "complete", None, 1..1000),
    // The driver reads no more than that it may send.
    ("COPY log", "complete", Some("57P01"), 10..1000),
    ("SELECT", "complete", None, 1..1000),
    ("SELECT", "complete", Some("57P01"), 1..1000),
    ("SELECT", "complete", None, 1..1000),
];
const KILLED_MYSQL: [Told<'_>; 4] = [
    // An error may have ended the rows, in a part that was not copied.
    ("SELECT numbers numbers", "probe_lost", None, 1_000..200_000_000),
    ("KILL", "complete", None, 1..1000),
    ("SELECT", "server_closed", None, 0..1),
    ("KILL", "complete", None, 1..1000),
];
const KILLED_REDIS: [Told<'_>; 2] =
    [("GET", "server_closed", None, 1_000..50_000_000), ("BLPOP", "server_closed", None, 0..1)];

/// What the views ask the servers, over and over, to know when to kill.
fn looks(span: &SpanLine) -> bool {
    let asked = ["pg_stat_activity", "processlist", "stats", "CLIENT"];
    asked.iter().any(|what| span.name.contains(what))
}

/// What a view's connections tell, in the order in which they were asked.
fn ask(view: &str, driver: &str, database: &Database, encrypted: bool) -> Vec<SpanLine> {
    let server = Server::gunicorn("killed_databases_app:app", &["--workers", "1"]).unwrap();
    let load = Request::get(&format!("/load?module={driver}"));
    assert_eq!(Connection::open(&server.endpoint).unwrap().exchange(load).unwrap().status, Some(200));
    let mut target = format!("/{view}?port={}&pid={}", database.port, database.pid());
    if encrypted {
        target = format!("{target}&certificate={}", database.certificate_file().display());
    }
    let mut watch = Watch::on(server).unwrap();
    let entry = watch.ask(Request::get(&target)).unwrap();
    let status = entry.status;
    assert_eq!(status, Some(200), "{target}: {}", watch.server.processes.output());
    watch.hang_up();
    watch.probe.wait_for_spans(2, Duration::from_secs(5));
    let spans = watch.probe.stop().unwrap();
    let (requests, mut spans): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.kind == "server");
    spans.retain(|span| !looks(span));
    for span in &spans {
        let version = span.attributes.get("tls.protocol.version").and_then(|version| version.as_str());
        assert_eq!(version, encrypted.then_some("1.3"), "{span:?}");
        // What another thread asks for is nobody's for certain.
        assert!(span.parent_id.as_ref().is_none_or(|parent| *parent == requests[0].span_id), "{span:?}");
    }
    spans.sort_by_key(|span| span.start_unix_ns);
    spans
}

fn check(spans: &[SpanLine], wanted: &[Told<'_>]) {
    let code =
        |span: &SpanLine| span.attributes.get("error.type").and_then(|code| code.as_str().map(str::to_owned));
    let found: Vec<_> = spans.iter().map(|span| (&*span.name, code(span))).collect();
    let names: Vec<_> = wanted.iter().map(|(name, _, code, _)| (*name, code.map(str::to_owned))).collect();
    assert_eq!(found, names, "{spans:#?}");
    for (span, (_, ends, code, bytes)) in spans.iter().zip(wanted) {
        assert!(ends.split('|').any(|end| end == span.end), "{span:#?}");
        assert!(bytes.contains(&span.response_bytes), "{span:#?}");
        assert!(span.request_bytes > 0, "{span:#?}");
        assert_eq!(span.error.is_some(), span.end == "server_closed" || code.is_some(), "{span:#?}");
    }
}

/// What threads read, write and wait for; and what tasks do, with a driver of C and with one that speaks the protocol itself.
#[test]
fn postgresql() {
    if !can_run() {
        return;
    }
    let database = Database::postgresql().unwrap();
    for (view, driver) in [("postgresql", "psycopg3"), ("psycopg3-async", "psycopg3"), ("asyncpg", "asyncpg")]
    {
        for encrypted in [false, true] {
            println!("{view}, encrypted: {encrypted}");
            check(&ask(&format!("killed-{view}"), driver, &database, encrypted), &KILLED_POSTGRESQL);
        }
    }
}

#[test]
fn mysql() {
    if !can_run() {
        return;
    }
    let database = Database::mariadb().unwrap();
    for (view, driver) in [("mysql", "pymysql"), ("aiomysql", "aiomysql")] {
        for encrypted in [false, true] {
            println!("{view}, encrypted: {encrypted}");
            let mut spans = ask(&format!("killed-{view}"), driver, &database, encrypted);
            spans.retain(|span| span.name != "SET");
            check(&spans, &KILLED_MYSQL);
        }
    }
}

#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn redis(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::redis(encrypted).unwrap();
    for (view, driver) in [("redis", "redis"), ("redis-asyncio", "redis.asyncio")] {
        println!("{view}");
        let mut spans = ask(&format!("killed-{view}"), driver, &database, encrypted);
        // What the driver says of itself may come in one piece.
        spans.retain(|span| !matches!(&*span.name, "HELLO" | "SET"));
        check(&spans, &KILLED_REDIS);
    }
}

#[rstest]
#[case::clear(false)]
#[case::tls(true)]
fn memcached(#[case] encrypted: bool) {
    if !can_run() {
        return;
    }
    let database = Database::memcached(encrypted).unwrap();
    let spans = ask("killed-memcached", "ssl", &database, encrypted);
    check(&spans, &[("set", "complete", None, 8..9), ("get", "server_closed", None, 1_000..100_000_000)]);
}
