//! A wall clock that jumps under the running probe: starts move with it, durations do not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::clock::{monotonic_ns, unix_ns};
use tests::ledger::compare;
use tests::server::Server;
use tests::watch::{Watch, can_run, read};

const HOUR_NS: i64 = 3_600_000_000_000;
/// The probe looks at the wall clock every 10 s.
const LIMIT: Duration = Duration::from_secs(20);
const SLACK_NS: i64 = 50_000_000;

#[test]
fn a_stepped_wall_clock_moves_starts_and_no_duration() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let offset = folder.path().join("offset");
    fs::write(&offset, "+0").unwrap();
    // Only the probe gets another wall clock, not the machine.
    let library = read(Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"])).unwrap();
    let environment = [
        ("LD_PRELOAD", library.trim()),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let server = Server::gunicorn("flask_app:app", &["--workers", "1"]).unwrap();
    let mut watch = Watch::within(server, &[], &environment).unwrap();
    let mut n = 0;
    let mut moved = Vec::new();
    for (text, step_ns) in [("+0", 0), ("+3600", HOUR_NS), ("-3600", -HOUR_NS)] {
        fs::write(&offset, text).unwrap();
        let deadline = Instant::now() + LIMIT;
        loop {
            n += 1;
            watch.get(&format!("/slow?ms=100&n={n}"), 200, "GET /slow").unwrap().least_us = 100_000;
            assert!(watch.probe.wait_for_spans(n, LIMIT));
            let span = watch.probe.spans().pop().unwrap();
            let sent_ns = watch.entries[n - 1].start_ns + (unix_ns() - monotonic_ns());
            let off_ns = span.start_unix_ns as i64 - sent_ns as i64;
            if (off_ns - step_ns).abs() < SLACK_NS {
                moved.push(step_ns);
                break;
            }
            assert!(Instant::now() < deadline, "{text}: off by {off_ns} ns: {}", watch.probe.log());
        }
    }
    assert_eq!(moved, [0, HOUR_NS, -HOUR_NS]);
    let (entries, spans) = watch.finish(0).unwrap();
    // What else the ledger tells is that starts lie an hour too early.
    let wrong = compare(&entries, &spans).into_iter().filter(|line| !line.contains("start at least"));
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}
