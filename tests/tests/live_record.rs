//! A recording holds what happened: replayed it gives the same spans, every time.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::client::{Connection, Request};
use tests::command::{Running, probe, run};
use tests::ledger::{Entry, assert_agree};
use tests::probe::SpanLine;
use tests::server::Server;
use tests::watch::can_run;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_recording_replays_to_the_same_spans() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    let file = file.to_str().unwrap();
    let server = Server::gunicorn("flask_app:app", &["--workers", "2"]).unwrap();
    let pid = server.pid().to_string();
    let mut recording = Running::start(probe(&["record", file, "--pid", &pid]).unwrap()).unwrap();
    recording.wait_for_line("attached", LIMIT).unwrap();
    let entries: Vec<Entry> = (0..50)
        .map(|n| {
            let mut connection = Connection::open(&server.endpoint).unwrap();
            let target = if n % 10 == 0 { format!("/boom?n={n}") } else { format!("/items/{n}") };
            connection.exchange(Request::get(&target)).unwrap()
        })
        .collect();
    recording.signal(Signal::SIGINT).unwrap();
    assert_eq!(recording.wait(LIMIT).unwrap().code(), Some(0), "{:#?}", recording.lines);
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);

    let replay = || {
        let ended = run(probe(&["replay", file, "--format", "json"]).unwrap()).unwrap();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    let first = replay();
    assert_eq!(first, replay(), "ids and times too");
    let spans: Vec<SpanLine> = first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_agree(&entries, &spans);

    let again = run(probe(&["record", file, "--pid", &pid]).unwrap()).unwrap();
    assert_eq!(again.code, Some(74), "a recording is never overwritten: {again:?}");
}
