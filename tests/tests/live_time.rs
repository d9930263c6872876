//! Where the time of a request went, against what the request is known to do.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::thread;
use std::time::Duration;

use rstest::rstest;
use tests::client::{Connection, Request};
use tests::clock::{monotonic_ns, unix_ns};
use tests::ledger::Entry;
use tests::probe::SpanLine;
use tests::server::Server;
use tests::venv::apps_folder;
use tests::watch::{Watch, can_run};

/// A part of a span's time, in milliseconds, if it is told.
fn part(span: &SpanLine, name: &str) -> Option<f64> {
    let us = span.attributes.get(&format!("stardust_probe.time.{name}_us"))?;
    Some(us.as_f64().unwrap() / 1e3)
}

fn span<'a>(spans: &'a [SpanLine], target: &str) -> &'a SpanLine {
    spans.iter().find(|span| span.kind == "server" && span.target.as_deref() == Some(target)).unwrap()
}

/// How long after the client sent a request the server read it, in milliseconds.
fn read_after_ms(span: &SpanLine, entry: &Entry) -> f64 {
    let sent_unix_ns = entry.start_ns + (unix_ns() - monotonic_ns());
    (span.start_unix_ns as f64 - sent_unix_ns as f64) / 1e6
}

fn uvicorn(http: &str) -> Server {
    let arguments = ["--http", http, "--loop", "asyncio", "--no-access-log"];
    Server::uvicorn_in(&apps_folder(), "time_app:asgi", &arguments).unwrap()
}

#[rstest]
#[case::sync(&[])]
#[case::threads(&["--threads", "4"])]
fn the_parts_are_what_the_request_did(#[case] arguments: &[&str]) {
    if !can_run() {
        return;
    }
    let other = Server::plain().unwrap();
    let mut watch = Watch::on(Server::gunicorn("time_app:wsgi", arguments).unwrap()).unwrap();
    let url = format!("{}/slow?ms=50", other.endpoint.url());
    let all = format!("/spend?cpu=40&sleep=60&calls=2&url={url}");
    for target in ["/spend?warm=1", "/spend?cpu=40", "/spend?sleep=60", &all, "/spend"] {
        watch.get(target, 200, "GET /spend").unwrap();
    }
    let (_, spans) = watch.finish(2).unwrap();
    let server = |target| span(&spans, target);
    for span in spans.iter().filter(|span| span.kind == "server") {
        let parts = ["calls", "cpu", "rest"].map(|name| part(span, name).unwrap());
        let sum = parts.iter().sum::<f64>() - span.duration_us / 1e3;
        // Each is cut to whole microseconds.
        assert!((-0.004..=0.001).contains(&sum), "{parts:?} of {}", span.duration_us);
        assert!(!span.attributes.contains_key("stardust_probe.time.calls_incomplete"), "{span:?}");
    }
    let cpu = |target| part(server(target), "cpu").unwrap();
    assert!((40.0..55.0).contains(&cpu("/spend?cpu=40")), "{}", cpu("/spend?cpu=40"));
    assert!(
        cpu("/spend?sleep=60") < 10.0 && cpu("/spend") < 10.0,
        "{} {}",
        cpu("/spend?sleep=60"),
        cpu("/spend")
    );
    assert!(cpu("/spend") > 0.05, "it did run: {}", cpu("/spend"));
    assert!(part(server("/spend?sleep=60"), "rest").unwrap() >= 59.9);
    let all = server(&all);
    let calls: f64 =
        spans.iter().filter(|span| span.kind == "client").map(|span| span.duration_us / 1e3).sum();
    let told = part(all, "calls").unwrap();
    assert!(calls >= 100.0 && (told - calls).abs() < 0.01, "{told} in calls of {calls}");
    assert!((40.0..70.0).contains(&part(all, "cpu").unwrap()), "{all:?}");
    assert!(part(all, "rest").unwrap() >= 59.9, "{all:?}");
    assert_eq!(part(server("/spend"), "calls"), Some(0.0));
}

#[test]
fn a_request_says_how_long_it_waited_for_a_worker() {
    if !can_run() {
        return;
    }
    let watch = Watch::on(Server::gunicorn("time_app:wsgi", &[]).unwrap()).unwrap();
    let ask = |number: u32| {
        let endpoint = watch.server.endpoint.clone();
        thread::spawn(move || {
            let mut connection = Connection::open(&endpoint).unwrap();
            connection.exchange(Request::get(&format!("/spend?sleep=100&number={number}"))).unwrap()
        })
    };
    let asked: Vec<_> = (0..4).map(ask).collect();
    let entries: Vec<Entry> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
    assert!(watch.probe.wait_for_spans(4, Duration::from_secs(5)));
    let (_, spans) = watch.finish(0).unwrap();
    let mut waits = Vec::new();
    for entry in &entries {
        let span = span(&spans, &entry.target);
        let (told, known) = (part(span, "read_wait").unwrap(), read_after_ms(span, entry));
        assert!((told - known).abs() < 5.0, "{told} ms, the client says {known}");
        assert_eq!(part(span, "read_wait_step"), Some(0.001));
        waits.push(told);
    }
    waits.sort_by(f64::total_cmp);
    for (before, wait) in waits.iter().enumerate() {
        assert!(*wait >= 100.0 * before as f64 - 5.0, "{waits:?}");
    }
}

#[rstest]
#[case::h11("h11")]
#[case::httptools("httptools")]
fn a_loop_that_is_blocked_reads_late(#[case] http: &str) {
    if !can_run() {
        return;
    }
    let watch = Watch::on(uvicorn(http)).unwrap();
    let mut kept = Connection::open(&watch.server.endpoint).unwrap();
    kept.exchange(Request::get("/spend?first=1")).unwrap();
    let mut other = Connection::open(&watch.server.endpoint).unwrap();
    let blocking = other.send(Request::get("/block?ms=200")).unwrap();
    // The loop is in the handler by then.
    thread::sleep(Duration::from_millis(60));
    let entry = kept.exchange(Request::get("/spend?late=1")).unwrap();
    other.receive(blocking).unwrap();
    assert!(watch.probe.wait_for_spans(3, Duration::from_secs(5)));
    let (spans, log) = watch.probe.stop_with_log().unwrap();
    let late = span(&spans, "/spend?late=1");
    let (told, step) = (part(late, "read_wait").unwrap(), part(late, "read_wait_step").unwrap());
    let known = read_after_ms(late, &entry);
    assert!((1.0..=10.0).contains(&step), "a tick: {step}");
    assert!(known > 80.0 && (told - known).abs() <= 2.0 * step + 5.0, "{told} ms, the client says {known}");
    // THREADS, BUSY, LOOP LAG
    let worker = log.lines().find(|line| line.starts_with("time_app[")).unwrap();
    let figures: Vec<&str> = worker.split_whitespace().skip(1).collect();
    let [threads, busy, lag] = figures[..] else { panic!("{worker:?}") };
    assert_eq!(threads, "1");
    assert!(busy.strip_suffix('%').unwrap().parse::<u8>().unwrap() < 100, "{busy}");
    let lag: f64 = lag.strip_suffix("ms").unwrap().parse().unwrap();
    assert!((lag - told).abs() < 1.0, "{lag} ms, the request waited {told}");
    // What was read at once has not waited, as far as ticks tell.
    assert_eq!(part(span(&spans, "/block?ms=200"), "read_wait").filter(|wait| *wait > 50.0), None);
}

#[test]
fn a_worker_is_busy_while_it_serves() {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(Server::gunicorn("time_app:wsgi", &[]).unwrap()).unwrap();
    let began_ns = monotonic_ns();
    watch.get("/spend?sleep=600", 200, "GET /spend").unwrap();
    thread::sleep(Duration::from_millis(600));
    watch.get("/spend?sleep=300", 200, "GET /spend").unwrap();
    assert!(watch.probe.wait_for_spans(2, Duration::from_secs(5)));
    let (spans, log) = watch.probe.stop_with_log().unwrap();
    let lasted_ms = (monotonic_ns() - began_ns) as f64 / 1e6;
    let busy_ms = spans.iter().map(|span| span.duration_us / 1e3).sum::<f64>();
    let worker = log.lines().find(|line| line.starts_with("time_app[")).unwrap();
    let figures: Vec<&str> = worker.split_whitespace().skip(1).collect();
    assert_eq!((figures[0], figures[2]), ("1", "-"), "{worker}");
    let busy: f64 = figures[1].strip_suffix('%').unwrap().parse().unwrap();
    // Counted from the first request on to the probe's stop, which is somewhat before now.
    assert!(
        busy >= 100.0 * busy_ms / lasted_ms - 1.0 && busy <= 100.0 * busy_ms / 1500.0 + 1.0,
        "{busy} % of {lasted_ms} ms"
    );
}

#[test]
fn what_one_thread_does_for_several_requests_is_nobody_s_time() {
    if !can_run() {
        return;
    }
    let mut watch = Watch::on(uvicorn("h11")).unwrap();
    watch.get("/spend?warm=1", 200, "GET /spend").unwrap();
    watch.get("/spend?cpu=30&sleep=30", 200, "GET /spend").unwrap();
    let mut pair = [(), ()].map(|()| Connection::open(&watch.server.endpoint).unwrap());
    let sent = ["/spend?sleep=50&one=1", "/spend?sleep=50&two=2"].map(Request::get);
    let sent: Vec<_> = pair.iter_mut().zip(sent).map(|(one, request)| one.send(request).unwrap()).collect();
    for (one, sent) in pair.iter_mut().zip(sent) {
        one.receive(sent).unwrap();
    }
    assert!(watch.probe.wait_for_spans(4, Duration::from_secs(5)));
    let (_, spans) = watch.finish(2).unwrap();
    let alone = span(&spans, "/spend?cpu=30&sleep=30");
    assert!((30.0..45.0).contains(&part(alone, "cpu").unwrap()), "{alone:?}");
    assert!(part(alone, "rest").unwrap() >= 29.0, "{alone:?}");
    for target in ["/spend?sleep=50&one=1", "/spend?sleep=50&two=2"] {
        assert_eq!(part(span(&spans, target), "cpu"), None);
    }
}
