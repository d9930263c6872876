//! What the probe's programs cost in the kernel, by the kernel's own account (`kernel.bpf_stats_enabled`).
//!
//! The programs run for every socket call of the machine, the load's too, and leave early where a process is
//! not watched. So the account is taken twice, once with nobody watched, and the dear calls are told from the
//! cheap ones by how many socket calls the server makes per request.

use std::collections::HashMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::load;
use super::servers::Target;
use crate::interrupt::Interrupt;
use crate::shell;

/// The switch: `Documentation/admin-guide/sysctl/kernel.rst`.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// The system calls that pass the socket hooks; the names are strace's.
const SOCKET_CALLS: &[&str] = &[
    "read", "readv", "recvfrom", "recvmsg", "recvmmsg", "write", "writev", "sendto", "sendmsg", "sendmmsg",
    "sendfile",
];

/// Statistics are on while this lives; then they are as they were.
pub struct Statistics {
    before: String,
}

impl Statistics {
    /// Switches them on.
    pub fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("read {SWITCH}"))?.trim().to_owned();
        write_switch("1")?;
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = write_switch(&self.before) {
            eprintln!("xtask: {SWITCH} was {}, and could not be set back: {error:#}", self.before);
        }
    }
}

fn write_switch(value: &str) -> Result<()> {
    shell::run(shell::as_root("sh", []).args(["-c", &format!("echo {value} > {SWITCH}")]))
}

/// A loaded program: name, run time, runs.
type Program = (String, u64, u64);

/// All programs of the machine by their id.
pub fn programs() -> Result<HashMap<u64, Program>> {
    let text = shell::read(shell::as_root("bpftool", []).args(["--json", "prog", "show"]))?;
    let list: Value = serde_json::from_str(&text).context("read what bpftool printed")?;
    Ok(list.as_array().into_iter().flatten().filter_map(program).collect())
}

fn program(entry: &Value) -> Option<(u64, Program)> {
    let name = entry["name"].as_str().unwrap_or_default().to_owned();
    let figure = |key: &str| entry[key].as_u64().unwrap_or(0);
    Some((entry["id"].as_u64()?, (name, figure("run_time_ns"), figure("run_cnt"))))
}

/// Time and runs of the socket programs, and the requests meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    time_ns: u64,
    runs: u64,
    requests: u64,
}

/// Programs that run at socket calls, by parts of their names.
pub const AT_SOCKET_CALLS: &[&str] = &["recv", "send", "exit_"];
/// Programs that run at instructions of TLS libraries.
pub const AT_TLS_CALLS: &[&str] = &["user_tls"];
/// Programs that run where exceptions leave frames and contexts are copied.
pub const IN_PYTHON: &[&str] = &["exception_left", "context_"];

/// Sums the programs with these parts in their names that were not there before.
pub fn sum_of(parts: &[&str], now: &HashMap<u64, Program>, others: &HashMap<u64, Program>) -> Account {
    let mut sum = Account::default();
    for (id, (name, time_ns, runs)) in now {
        if parts.iter().any(|part| name.contains(part)) && !others.contains_key(id) {
            sum.time_ns += time_ns;
            sum.runs += runs;
        }
    }
    sum
}

impl Account {
    /// Runs for each request.
    pub fn runs_per_request(&self) -> f64 {
        self.runs as f64 / self.requests as f64
    }

    /// Nanoseconds of one run; 0 if there was none.
    pub fn run_ns(&self) -> f64 {
        if self.runs == 0 { 0.0 } else { self.time_ns as f64 / self.runs as f64 }
    }

    /// What came to it since `before`.
    pub fn since(&self, before: &Self, requests: u64) -> Self {
        Self { time_ns: self.time_ns - before.time_ns, runs: self.runs - before.runs, requests }
    }
}

/// Nanoseconds of kernel time for a socket call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// A call of a watched process.
    pub watched_ns: f64,
    /// A call of a process that is not watched.
    pub unwatched_ns: f64,
    /// How many socket calls the server makes for a request.
    pub calls_per_request: f64,
}

impl Cost {
    /// Takes the cheap calls out of the account of the dear ones.
    pub fn of(watched: &Account, unwatched: &Account, calls_per_request: f64) -> Self {
        let unwatched_ns = unwatched.time_ns as f64 / unwatched.runs as f64;
        let watched_runs = (calls_per_request * watched.requests as f64).min(watched.runs as f64);
        let cheap_ns = (watched.runs as f64 - watched_runs) * unwatched_ns;
        let watched_ns = (watched.time_ns as f64 - cheap_ns) / watched_runs;
        Self { watched_ns, unwatched_ns, calls_per_request }
    }
}

/// Counts the worker's socket calls under load with strace. Calls on other files are few, and count too.
pub fn socket_calls_per_request(target: &Target, time: Duration, interrupt: &Interrupt) -> Result<f64> {
    let mut command = shell::as_root("strace", []);
    command.args(["-f", "-c", "-U", "calls,name", "-e", &format!("trace={}", SOCKET_CALLS.join(","))]);
    command.args(["-p", &target.worker().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let strace = command.spawn().context("cannot start strace")?;
    let pid = strace.id();
    let sample = load::run(target, time, interrupt);
    // strace writes its table when it is interrupted.
    shell::run(shell::as_root("kill", []).args(["-s", "INT", &pid.to_string()]))?;
    let output = strace.wait_with_output().context("wait for strace")?;
    let calls = calls(&String::from_utf8_lossy(&output.stderr));
    Ok(calls as f64 / sample?.requests as f64)
}

/// The sum over strace's table of two columns: calls and name.
fn calls(table: &str) -> u64 {
    let rows = table.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    rows.filter(|(_, name)| SOCKET_CALLS.contains(&name.trim()))
        .filter_map(|(count, _)| count.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_probes_socket_programs_are_summed() {
        let entries = json!([
            {"id": 1, "name": "other_recv", "run_time_ns": 5000, "run_cnt": 5},
            {"id": 7, "name": "tp_recv", "run_time_ns": 3000, "run_cnt": 30},
            {"id": 8, "name": "tp_send", "run_time_ns": 1000, "run_cnt": 20},
            {"id": 9, "name": "process_forked", "run_time_ns": 900, "run_cnt": 1},
            {"id": 10, "name": "tp_send"},
        ]);
        let all: HashMap<u64, Program> = entries.as_array().unwrap().iter().filter_map(program).collect();
        let others = HashMap::from([(1, all[&1].clone())]);
        let sum = sum_of(AT_SOCKET_CALLS, &all, &others);
        assert_eq!(sum, Account { time_ns: 4000, runs: 50, requests: 0 });
        let later = Account { time_ns: 9000, runs: 80, requests: 0 };
        assert_eq!(later.since(&sum, 6), Account { time_ns: 5000, runs: 30, requests: 6 });
    }

    #[test]
    fn cheap_calls_are_taken_out() {
        // 100 requests, 2 dear calls each at 900 ns, 3 cheap ones each at 50 ns.
        let watched = Account { time_ns: 200 * 900 + 300 * 50, runs: 500, requests: 100 };
        let unwatched = Account { time_ns: 50 * 500, runs: 500, requests: 100 };
        let cost = Cost::of(&watched, &unwatched, 2.0);
        assert!((cost.watched_ns - 900.0).abs() < 1e-9, "{cost:?}");
        assert!((cost.unwatched_ns - 50.0).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn straces_table_is_summed() {
        let table = "strace: Process 7 attached\n    calls syscall\n--------- ----------------\n     1200 recvfrom\n      \
                     600 sendto\n        3 close\n--------- ----------------\n     1803 total\n";
        assert_eq!(calls(table), 1800);
    }
}
