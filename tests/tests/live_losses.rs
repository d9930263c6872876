//! A ring that is far too small: records are lost, which is counted, and nothing is made up.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tests::client::{Connection, Request};
use tests::probe::counts;
use tests::process::POLL;
use tests::server::Server;
use tests::venv::apps_folder;
use tests::watch::{Watch, can_run};

const LIMIT: Duration = Duration::from_secs(5);
const LOOK_LIMIT: Duration = Duration::from_secs(15);
const CATCH_UP_STEP: Duration = Duration::from_secs(1);
const ROUNDS: usize = 500;
const STEP: usize = 10;

fn start_with_a_small_ring(server: Server) -> (Watch, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("small.toml");
    std::fs::write(&config, "[kernel]\nring_bytes = 65536\n").unwrap();
    let watch = Watch::with(server, &["--config", config.to_str().unwrap(), "--log-level", "debug"]).unwrap();
    (watch, folder)
}

/// So many requests on a kept connection.
fn drive(connection: &mut Connection, first: usize) {
    drive_some(connection, first..first + ROUNDS);
}

fn drive_some(connection: &mut Connection, numbers: Range<usize>) {
    for n in numbers {
        let entry = connection.exchange(Request::get(&format!("/items/{n}"))).unwrap();
        assert_eq!(entry.status, Some(200));
    }
}

/// The same in steps that the ring holds, however late the probe is scheduled.
fn drive_in_steps(connection: &mut Connection, first: usize, watch: &Watch) {
    for step in (first..first + ROUNDS).step_by(STEP) {
        let before = watch.probe.spans().len();
        drive_some(connection, step..step + STEP);
        assert!(watch.probe.wait_for_spans(before + STEP, LIMIT), "not all spans of requests {step} and on");
    }
}

/// Asks, from this number on, until an answer is told: by then what came before was read, or was lost. Gives the next number.
fn catch_up(watch: &Watch, first: usize) -> usize {
    let begin = Instant::now();
    for number in first.. {
        let target = format!("/items/{number}");
        drive_some(&mut Connection::open(&watch.server.endpoint).unwrap(), number..number + 1);
        let asked = Instant::now();
        while asked.elapsed() < CATCH_UP_STEP {
            if watch.probe.spans().iter().any(|span| span.target.as_deref() == Some(&target)) {
                return number + 1;
            }
            std::thread::sleep(POLL);
        }
        assert!(begin.elapsed() < LOOK_LIMIT, "nothing is told any more: {}", watch.probe.log());
    }
    unreachable!("numbers do not end")
}

#[test]
fn losing_records_invents_nothing() {
    if !can_run() {
        return;
    }
    let (watch, _folder) = start_with_a_small_ring(Server::uvicorn("fastapi_app:app", "httptools").unwrap());
    let probe = Pid::from_raw(watch.probe.pid() as i32);
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    drive_in_steps(&mut connection, 0, &watch);
    // The watched server goes on while nobody empties the ring.
    kill(probe, Signal::SIGSTOP).unwrap();
    drive(&mut connection, ROUNDS);
    kill(probe, Signal::SIGCONT).unwrap();
    assert!(watch.probe.wait_for_spans(ROUNDS, LIMIT));
    // One connection lives through the loss, another comes after it.
    drive(&mut connection, 2 * ROUNDS);
    let end = catch_up(&watch, 4 * ROUNDS);
    drive_in_steps(&mut Connection::open(&watch.server.endpoint).unwrap(), 3 * ROUNDS, &watch);
    watch.probe.wait_for_spans(3 * ROUNDS, LIMIT);
    // It is said while the probe runs, at the next look.
    assert!(watch.probe.wait_for_log("missed since the probe began: ", LOOK_LIMIT), "{}", watch.probe.log());
    let (spans, log) = watch.probe.stop_with_log().unwrap();
    let mut seen = HashSet::new();
    for span in &spans {
        assert_eq!(span.name, "GET /items/{id}", "{span:?}");
        assert!(matches!(span.status, None | Some(200)), "{span:?}");
        let target = span.target.clone().unwrap();
        let number: usize = target.strip_prefix("/items/").unwrap().parse().unwrap();
        assert!(number < end && seen.insert(number), "{span:?}");
    }
    let whole = (0..ROUNDS).chain(3 * ROUNDS..4 * ROUNDS).filter(|number| !seen.contains(number));
    assert_eq!(whole.collect::<Vec<_>>(), [0; 0], "before and after the loss none is missing");
    assert!(seen.len() < end);
    let counts = counts(&log);
    let exchanges = counts["trace"]["spans"].as_u64().unwrap();
    let books = format!("console: {exchanges} spans, {} reported, 0 sampled out, 0 dropped", spans.len());
    assert!(log.contains(&books), "no {books:?} in {log}");
    assert!(counts["kernel"]["ring_full"].as_u64() > Some(0), "the ring was meant to overflow: {counts}");
}

/// The server answers while nobody empties the ring, and closes when it is empty again: that it has answered is known, but
/// not what.
#[test]
fn a_lost_last_answer_is_not_taken_for_none() {
    if !can_run() {
        return;
    }
    let arguments = ["--http", "httptools", "--no-access-log", "--timeout-keep-alive", "3"];
    let server = Server::uvicorn_in(&apps_folder(), "everyday_fastapi:app", &arguments).unwrap();
    let (watch, _folder) = start_with_a_small_ring(server);
    let probe = Pid::from_raw(watch.probe.pid() as i32);
    let upload = Request::new("POST", "/echo", "Content-Length: 5\r\n", b"hello");
    let (first, rest) = upload.bytes.split_at(upload.bytes.len() - 2);
    let mut connection = Connection::open(&watch.server.endpoint).unwrap();
    connection.write(first).unwrap();
    connection.wait_until_read().unwrap();
    // What was read stands in the ring before others fill it.
    kill(probe, Signal::SIGSTOP).unwrap();
    let mut filler = Connection::open(&watch.server.endpoint).unwrap();
    for _ in 0..ROUNDS {
        assert_eq!(filler.exchange(Request::get("/fast")).unwrap().status, Some(200));
    }
    connection.write(rest).unwrap();
    connection.wait_for_answer().unwrap();
    kill(probe, Signal::SIGCONT).unwrap();
    connection.wait_until_closed().unwrap();
    let deadline = Instant::now() + LIMIT;
    let span = loop {
        let spans = watch.probe.spans();
        if let Some(span) = spans.into_iter().find(|span| span.target.as_deref() == Some("/echo")) {
            break span;
        }
        assert!(Instant::now() < deadline, "{}", watch.probe.log());
        std::thread::sleep(POLL);
    };
    assert_eq!((span.end.as_str(), span.status), ("probe_lost", None), "{span:?}");
    watch.probe.stop().unwrap();
}
