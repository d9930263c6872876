//! Recordings of real servers replay to the spans that were right when they were made. Rows of `.jsonl` are made by
//! `stardust-probe replay FILE --format json`, and were compared with what the client did.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;

fn assert_replays(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stardust-probe"));
    command.arg("replay").arg(folder.join(name).with_extension("events")).args(["--format", "json"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (got, want) = (
        String::from_utf8(output.stdout).unwrap(),
        std::fs::read_to_string(folder.join(name).with_extension("jsonl")).unwrap(),
    );
    for (got, want) in got.lines().zip(want.lines()) {
        assert_eq!(got, want);
    }
    assert_eq!(got.lines().count(), want.lines().count());
}

#[test]
fn gunicorn_with_threads_over_tcp() {
    assert_replays("gunicorn_gthread");
}

#[test]
fn gunicorn_over_a_unix_socket() {
    assert_replays("gunicorn_unix");
}

#[test]
fn uvicorn_with_h11() {
    assert_replays("uvicorn_h11");
}

/// Each request has three tasks call at once, the last one a thread of a pool.
#[test]
fn uvicorn_with_tasks_and_threads_of_requests() {
    assert_replays("uvicorn_group");
}
