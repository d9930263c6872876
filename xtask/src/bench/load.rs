//! Full load from `wrk`, on a CPU of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::servers::Target;
use crate::interrupt::Interrupt;
use crate::procfs;

/// Where the load and the probe run.
pub const CPU: &str = "1";
/// Enough that the worker always has a request to serve, also while the probe takes records in on the load's CPU.
const CONNECTIONS: &str = "32";

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
    let output = Command::new("taskset")
        .args(["--cpu-list", CPU, "wrk", "--threads", "1", "--connections", CONNECTIONS])
        .args(["--duration", &format!("{}s", time.as_secs())])
        .arg(&target.url)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start wrk")?;
    let cpu_ns = procfs::cpu_ns(worker)?.saturating_sub(before_ns);
    let text = String::from_utf8_lossy(&output.stdout);
    interrupt.check()?;
    if !output.status.success() {
        bail!("wrk failed ({}): {text}", output.status);
    }
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx")) {
        bail!("the server answered with errors: {}", line.trim());
    }
    let (requests, seconds) =
        summary(&text).with_context(|| format!("cannot read what wrk printed: {text}"))?;
    if requests == 0 {
        bail!("the server answered no request");
    }
    Ok(Sample { requests, seconds, cpu_ns })
}

/// wrk's line `  48120 requests in 3.01s, 6.93MB read`.
fn summary(text: &str) -> Option<(u64, f64)> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    let time = rest.split(',').next()?;
    let seconds = match time.strip_suffix("ms") {
        Some(milliseconds) => milliseconds.parse::<f64>().ok()? / 1e3,
        None => match time.strip_suffix('m') {
            Some(minutes) => minutes.parse::<f64>().ok()? * 60.0,
            None => time.strip_suffix('s')?.parse().ok()?,
        },
    };
    Some((requests.parse().ok()?, seconds))
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
        let sample = Sample { requests: 200, seconds: 2.0, cpu_ns: 1_000_000 };
        assert!((sample.per_second() - 100.0).abs() < 1e-9);
        assert!((sample.busy() - 0.0005).abs() < 1e-9);
        assert!((sample.cpu_ns_per_request() - 5000.0).abs() < 1e-9);
    }
}
