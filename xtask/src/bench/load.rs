//! Full load from `wrk`, or over HTTP/2 from `h2load`, on a CPU of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::servers::Target;
use crate::interrupt::Interrupt;
use crate::procfs;

/// Where the load and the probe run.
pub const CPU: &str = "1";
/// Enough that the worker always has a request to serve, also while the probe takes records in on the load's CPU.
const CONNECTIONS: &str = "32";

/// The same for HTTP/2: connections, and streams at once on each.
const HTTP2_CONNECTIONS: [&str; 2] = ["4", "8"];
/// A message of gRPC: five bytes that say how long it is, then that (gRPC over HTTP/2, "Length-Prefixed-Message").
const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// What is asked, and by which program.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// GET over HTTP/1.1.
    Wrk,
    /// GET over HTTP/2 in clear text.
    Http2,
    /// Unary calls of gRPC.
    Grpc,
}

/// What one run gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Answered requests.
    pub requests: u64,
    /// What the run took.
    pub seconds: f64,
    /// CPU time of the worker.
    pub cpu_ns: u64,
}

impl Sample {
    /// Throughput.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// The share of the run in which the worker ran: close to 1 at full load.
    pub fn busy(&self) -> f64 {
        self.cpu_ns as f64 / (self.seconds * 1e9)
    }

    /// The worker's CPU time for each request.
    pub fn cpu_ns_per_request(&self) -> f64 {
        self.cpu_ns as f64 / self.requests as f64
    }
}

/// Loads the server that long.
pub fn run(target: &Target, time: Duration, interrupt: &Interrupt) -> Result<Sample> {
    interrupt.check()?;
    let worker = target.worker();
    let before_ns = procfs::cpu_ns(worker)?;
    let output = command(target, time)?.stderr(Stdio::inherit()).output().context("cannot start the load")?;
    let cpu_ns = procfs::cpu_ns(worker)?.saturating_sub(before_ns);
    let text = String::from_utf8_lossy(&output.stdout);
    interrupt.check()?;
    if !output.status.success() {
        bail!("the load failed ({}): {text}", output.status);
    }
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx")) {
        bail!("the server answered with errors: {}", line.trim());
    }
    let read = match target.load {
        Load::Wrk => summary(&text),
        Load::Http2 | Load::Grpc => http2_summary(&text),
    };
    let (requests, seconds) = read.with_context(|| format!("cannot read what the load printed: {text}"))?;
    if requests == 0 {
        bail!("the server answered no request");
    }
    Ok(Sample { requests, seconds, cpu_ns })
}

/// Where a server can be asked in the clear over HTTP/1.1; `None`: it cannot.
pub fn quiet_address(target: &Target) -> Option<&str> {
    let Load::Wrk = target.load else { return None };
    target.url.strip_prefix("http://")?.split('/').next()
}

/// Asks so often in a second, for `time`, on a new connection each time.
pub fn ask_now_and_then(address: &str, per_second: u32, time: Duration, interrupt: &Interrupt) -> Result<()> {
    let start = Instant::now();
    for n in 1.. {
        let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).context("ask")?;
        stream.read_to_end(&mut Vec::new()).context("read the answer")?;
        let due = Duration::from_secs(1) * n / per_second;
        if due > time {
            break;
        }
        interrupt.rest(due.saturating_sub(start.elapsed()))?;
    }
    Ok(())
}

fn command(target: &Target, time: Duration) -> Result<Command> {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", CPU]);
    let seconds = time.as_secs().to_string();
    if let Load::Wrk = target.load {
        command.args(["wrk", "--threads", "1", "--connections", CONNECTIONS]);
        command.args(["--duration", &format!("{seconds}s"), &target.url]);
        return Ok(command);
    }
    let [connections, streams] = HTTP2_CONNECTIONS;
    command.args(["h2load", "--clients", connections, "--max-concurrent-streams", streams]);
    command.args(["--duration", &seconds]);
    if let Load::Grpc = target.load {
        let message = std::env::temp_dir().join("bench-message");
        fs::write(&message, MESSAGE).context("write a message")?;
        command.arg("--data").arg(message).args([
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
        ]);
    }
    command.arg(&target.url);
    Ok(command)
}

/// h2load's lines `finished in 3.01s, 9312.45 req/s, 1.20MB/s` and `requests: 28000 total, ..., 28000 succeeded, 0 failed,
/// ...`.
fn http2_summary(text: &str) -> Option<(u64, f64)> {
    let time = text.lines().find_map(|line| line.strip_prefix("finished in "))?.split(',').next()?;
    let counts = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let succeeded = counts.split(", ").find_map(|count| count.strip_suffix(" succeeded"))?;
    Some((succeeded.parse().ok()?, seconds(time)?))
}

/// wrk's line `  48120 requests in 3.01s, 6.93MB read`.
fn summary(text: &str) -> Option<(u64, f64)> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    Some((requests.parse().ok()?, seconds(rest.split(',').next()?)?))
}

/// `500.00ms`, `3.01s`, `1.50m`.
fn seconds(time: &str) -> Option<f64> {
    match time.strip_suffix("ms") {
        Some(milliseconds) => Some(milliseconds.parse::<f64>().ok()? / 1e3),
        None => match time.strip_suffix('m') {
            Some(minutes) => Some(minutes.parse::<f64>().ok()? * 60.0),
            None => time.strip_suffix('s')?.parse().ok(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_summary_is_read_in_each_unit() {
        let cases = [
            ("Running 3s test\n  48120 requests in 3.01s, 6.93MB read\n", Some((48120, 3.01))),
            ("  5 requests in 500.00ms, 1KB read\n", Some((5, 0.5))),
            ("  5 requests in 1.50m, 1KB read\n", Some((5, 90.0))),
            ("unable to connect\n", None),
        ];
        for (text, expected) in cases {
            assert_eq!(summary(text), expected, "{text}");
        }
        let printed = "starting\nfinished in 3.01s, 9.45 req/s, 1.20MB/s\nrequests: 30 total, 30 started, 28 done, \
                       27 succeeded, 1 failed, 1 errored, 0 timeout\n";
        assert_eq!(http2_summary(printed), Some((27, 3.01)));
        let sample = Sample { requests: 200, seconds: 2.0, cpu_ns: 1_000_000 };
        assert!((sample.per_second() - 100.0).abs() < 1e-9);
        assert!((sample.busy() - 0.0005).abs() < 1e-9);
        assert!((sample.cpu_ns_per_request() - 5000.0).abs() < 1e-9);
    }
}
