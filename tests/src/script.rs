//! Scripts that `script_app.py` plays on TCP connections, seen from both ends.
//!
//! Invariant: what is told of a script is all of it: an exchange that follows it is told too.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::caller::Caller;
use crate::probe::{Probe, SpanLine, counts};
use crate::process::POLL;
use crate::venv::Venv;

const SPAN_LIMIT: Duration = Duration::from_secs(20);
/// What an exchange that follows must still give: it shows that the probe has read all before it.
const LAST: &str = "GET /last";
/// The most that the probe's memory may grow by in one script.
const GROWTH_KIB: u64 = 12 * 1024;
/// An answer that is empty.
pub const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A watched process that plays scripts, and the probe on it.
struct Stage {
    actor: Caller,
    probe: Probe,
}

impl Stage {
    fn new() -> Self {
        let actor = Caller::start(Venv::open().unwrap().script("script_app.py")).unwrap();
        let probe = Probe::attach(&[actor.pid()], &["--log-level", "debug"]).unwrap();
        Self { actor, probe }
    }

    fn play(&mut self, script: &[Value]) {
        let answer = self.actor.ask(&Value::from(script).to_string()).unwrap();
        assert_eq!(answer.trim(), "done");
    }

    /// Memory of the probe that is its own.
    fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.probe.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Plays one more exchange and waits until both ends of it are told.
    fn settle(&mut self, times: usize) {
        self.play(&[asks(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n"), answers(EMPTY)]);
        let is_over = || self.probe.spans().iter().filter(|span| span.name == LAST).count() >= 2 * times;
        let limit = Instant::now() + SPAN_LIMIT;
        while !is_over() {
            assert!(Instant::now() < limit, "{}", self.probe.log());
            std::thread::sleep(POLL);
        }
    }

    /// The spans but for those of [`settle`](Self::settle), and the counts.
    fn finish(self) -> (Vec<SpanLine>, Value) {
        let (mut spans, log) = self.probe.stop_with_log().unwrap();
        spans.retain(|span| span.name != LAST);
        (spans, counts(&log))
    }
}

/// As the script has bytes.
pub fn hex(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

/// An end writes these bytes so many times over.
pub fn says(end: &str, bytes: &[u8], times: usize) -> Value {
    json!([end, "says", hex(bytes), times])
}

/// The client writes these bytes.
pub fn asks(bytes: &[u8]) -> Value {
    says("client", bytes, 1)
}

/// The server writes these bytes.
pub fn answers(bytes: &[u8]) -> Value {
    says("server", bytes, 1)
}

/// Plays a script several times. The spans are those of all times, beside them the counts. Panics if the probe's memory grows
/// with it.
pub fn try_out(script: &[Value], times: usize) -> (Vec<SpanLine>, Value) {
    let mut stage = Stage::new();
    stage.play(script);
    stage.settle(1);
    let before = stage.memory_kib();
    for _ in 1..times {
        stage.play(script);
    }
    stage.settle(2);
    let after = stage.memory_kib();
    assert!(after <= before + GROWTH_KIB, "{before} KiB before, {after} after");
    let (spans, counts) = stage.finish();
    assert_eq!(counts["faults"].as_u64().unwrap_or(0), 0, "{counts}");
    (spans, counts)
}

/// Of the counts the one of that name, wherever it stands.
pub fn count(counts: &Value, name: &str) -> u64 {
    match counts {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| if key == name { value.as_u64().unwrap() } else { count(value, name) })
            .sum(),
        _ => 0,
    }
}
