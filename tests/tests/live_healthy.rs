//! Healthy traffic does not pay: whatever clients and servers do all day brings no probe into a process. What fails is
//! told, or brings it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::failures::READY_LIMIT;
use tests::lineage::SEES;
use tests::probe::SpanLine;
use tests::process::POLL;
use tests::server::{Endpoint, Server};
use tests::venv::apps_folder;
use tests::watch::{Watch, can_run};

const EXCEPTIONS: &str = "looking at exceptions";
/// A response that no socket buffer holds.
const WHOLE: &str = "/big?bytes=20000000";

fn start(kind: &str) -> Server {
    let gunicorn = |arguments: &[&str]| {
        let arguments = [&["--keep-alive", "1"], arguments].concat();
        match kind {
            "unix" => Server::gunicorn_unix("everyday_flask:app", &arguments),
            "tls" => Server::gunicorn_tls("everyday_flask:app", &arguments),
            _ => Server::gunicorn("everyday_flask:app", &arguments),
        }
    };
    match kind {
        "sync" | "unix" => gunicorn(&[]),
        "gthread" | "tls" => gunicorn(&["--threads", "4"]),
        "gevent" => gunicorn(&["--worker-class", "gevent"]),
        http => {
            let arguments =
                ["--http", http, "--loop", "asyncio", "--no-access-log", "--timeout-keep-alive", "1"];
            Server::uvicorn_in(&apps_folder(), "everyday_fastapi:app", &arguments)
        }
    }
    .unwrap()
}

/// Ends a connection as clients do that leave.
#[derive(Debug, Clone, Copy)]
enum Leave {
    Closing,
    Resetting,
}

impl Leave {
    fn leave(self, connection: Connection) {
        match self {
            Self::Closing => drop(connection),
            Self::Resetting => connection.reset().unwrap(),
        }
    }
}

fn open(endpoint: &Endpoint) -> Connection {
    Connection::open(endpoint).unwrap()
}

/// A request that calls another server.
fn call(endpoint: &Endpoint, leaf: &Endpoint) {
    open(endpoint).exchange(Request::get(&format!("/call?url={}/leaf", leaf.url()))).unwrap();
}

/// What is answered, in every way that is good order.
fn ask(endpoint: &Endpoint) {
    for path in ["/fast", "/nocontent", "/missing", "/close", "/stream", "/big", "/slow"] {
        open(endpoint).exchange(Request::get(path)).unwrap();
    }
    open(endpoint).exchange(Request::new("HEAD", "/fast", "", b"")).unwrap();
    open(endpoint).exchange(Request::new("GET", "/fast", "Connection: close\r\n", b"")).unwrap();
    let mut old = Request::get("/stream?chunks=4");
    old.bytes = format!("GET {} HTTP/1.0\r\n\r\n", old.target).into_bytes();
    open(endpoint).exchange(old).unwrap();
    let expecting = "Content-Length: 5000\r\nExpect: 100-continue\r\n";
    let upload = Request::new("POST", "/echo", expecting, &[b'x'; 5000]);
    let head_bytes = upload.bytes.len() - 5000;
    let mut connection = open(endpoint);
    let sent = connection.send_expecting(upload, head_bytes).unwrap();
    connection.receive(sent).unwrap();
    let mut connection = open(endpoint);
    let sent = connection.send(Request::get("/fast?half")).unwrap();
    connection.finish_sending().unwrap();
    connection.receive(sent).unwrap();
    // The server answers without waiting for the body.
    let unread = Request::new("POST", "/fast", "Content-Length: 1000000\r\n", &[b'x'; 1000]);
    open(endpoint).exchange(unread).unwrap();
    let mut connection = open(endpoint);
    connection.write(b"rubbish\r\n\r\n").unwrap();
    connection.wait_until_closed().unwrap();
    // It closes what it kept, at once or after a while.
    let mut connection = open(endpoint);
    connection.exchange(Request::get("/fast?kept")).unwrap();
    connection.wait_until_closed().unwrap();
}

/// Clients that do not wait for the end of their answer, or of their request.
fn leave(endpoint: &Endpoint, how: Leave) {
    let settle = |connection: &mut Connection| {
        // What was read of a unix socket is not told.
        if connection.local().is_some() {
            connection.wait_until_read().unwrap();
        }
        connection.take_tickets().unwrap();
    };
    how.leave(open(endpoint));
    for text in [
        "GET /fast HT",
        "GET /slow?ms=200 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx",
    ] {
        let mut connection = open(endpoint);
        connection.write(text.as_bytes()).unwrap();
        settle(&mut connection);
        how.leave(connection);
    }
    for path in [WHOLE, "/stream?chunks=50&ms=10"] {
        let mut connection = open(endpoint);
        let _sent = connection.send(Request::get(path)).unwrap();
        connection.wait_for_answer().unwrap();
        how.leave(connection);
    }
}

/// Asks, waits for the span, and gives it.
fn span_of(watch: &Watch, target: &str) -> SpanLine {
    // Some connections are to be cut.
    let _ = open(&watch.server.endpoint).exchange(Request::get(target));
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let spans = watch.probe.spans();
        if let Some(span) = spans.into_iter().find(|span| span.target.as_deref() == Some(target)) {
            return span;
        }
        assert!(Instant::now() < deadline, "{target}: {}", watch.probe.log());
        std::thread::sleep(POLL);
    }
}

/// All that was done before has been taken in, and what it brings has come.
fn settle(watch: &Watch) {
    for target in ["/items/1", "/items/2"] {
        assert_eq!(span_of(watch, target).status, Some(200));
    }
}

fn assert_no_probe(watch: &Watch) {
    let log = watch.probe.log();
    assert!(!log.contains(EXCEPTIONS) && !log.contains(SEES), "{:#?}\n{log}", watch.probe.spans());
}

fn watch(server: Server) -> Watch {
    let watch = Watch::within(server, &[], &[("STARDUST_PROBE_LOG_LEVEL", "debug")]).unwrap();
    let workers = watch.server.workers().unwrap();
    watch.probe.wait_until_followed(&workers, READY_LIMIT).unwrap();
    watch
}

#[rstest]
#[case::sync("sync", "/failing/stream/plain")]
#[case::threads("gthread", "/failing/stream/plain")]
#[case::greenlets("gevent", "/failing/stream/plain")]
#[case::unix_socket("unix", "/failing/stream/plain")]
#[case::tls("tls", "/failing/stream/plain")]
#[case::h11("h11", "/streams/stream/plain")]
#[case::httptools("httptools", "/streams/stream/plain")]
fn only_failures_bring_the_probes(#[case] kind: &str, #[case] killed: &str) {
    if !can_run() {
        return;
    }
    let leaf = Server::crowd().unwrap();
    let watch = watch(start(kind));
    let endpoint = &watch.server.endpoint;
    let has_tasks = matches!(kind, "h11" | "httptools");
    for _ in 0..3 {
        ask(endpoint);
        if !has_tasks {
            call(endpoint, &leaf.endpoint);
        }
        leave(endpoint, Leave::Closing);
        if !endpoint.is_unix() {
            leave(endpoint, Leave::Resetting);
        }
    }
    settle(&watch);
    assert_no_probe(&watch);
    let spans = watch.probe.spans();
    let has = |end: &str| spans.iter().any(|span| span.end == end && span.kind == "server");
    assert!(!has("server_closed"), "{spans:#?}");
    assert!(has("client_closed") && has("reset"), "{spans:#?}");

    // What is reported or handled while it is answered is told without the probe.
    let failed = span_of(&watch, "/failing/fail/plain");
    let kind = failed.attributes.get("exception.type");
    assert_eq!((failed.status, kind), (Some(500), Some(&"failures.NoStock".into())), "{failed:?}");
    settle(&watch);
    assert_no_probe(&watch);
    // Who closes a unix connection first, the kernel does not tell.
    if endpoint.is_unix() {
        assert_eq!(span_of(&watch, "/failing/fail/explicit").status, Some(503));
    } else {
        assert_eq!(span_of(&watch, killed).end, "server_closed");
    }
    assert!(watch.probe.wait_for_log(EXCEPTIONS, READY_LIMIT), "{}", watch.probe.log());
    // A call of a task brings what tells whose it is.
    call(endpoint, &leaf.endpoint);
    assert!(!has_tasks || watch.probe.wait_for_log(SEES, READY_LIMIT), "{}", watch.probe.log());
    watch.probe.stop().unwrap();
}

/// An exception that nobody catches, in a server that reports it, closes and answers nothing.
#[test]
fn a_connection_that_is_closed_without_an_answer_is_told() {
    if !can_run() {
        return;
    }
    let watch = watch(Server::script("failing_bare.py", &[]).unwrap());
    let failed = span_of(&watch, "/fail/plain");
    assert_eq!((failed.end.as_str(), failed.status), ("server_closed", None), "{failed:?}");
    let kind = failed.attributes.get("exception.type");
    assert_eq!(kind, Some(&"failures.NoStock".into()), "{failed:?}");
    watch.probe.stop().unwrap();
}

/// Workers that have served their number of requests end, and what they kept with them.
#[rstest]
#[case::sync("sync")]
#[case::threads("gthread")]
#[case::greenlets("gevent")]
fn workers_come_and_go(#[case] class: &str) {
    const ROUNDS: usize = 8;
    if !can_run() {
        return;
    }
    let arguments = ["--max-requests", "3", "--worker-class", class];
    let watch = watch(Server::gunicorn("everyday_flask:app", &arguments).unwrap());
    let endpoint = &watch.server.endpoint;
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        let mut connection = open(endpoint);
        let entry = connection.exchange(Request::get(&format!("/slow?ms=10&n={round}"))).unwrap();
        assert_eq!(entry.status, Some(200));
        kept.push(connection);
    }
    assert!(watch.probe.wait_for_spans(ROUNDS, Duration::from_secs(30)), "{}", watch.probe.log());
    settle(&watch);
    assert_no_probe(&watch);
    let started = watch.probe.log().matches(": followed: ").count();
    assert!(started >= 2, "{}", watch.probe.log());
    watch.probe.stop().unwrap();
}
