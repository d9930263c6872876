//! `cargo xtask bench`: what the probe costs a server at full load, and itself.
//!
//! Invariant: what is compared is measured at the same time, on two servers alike that share a CPU; and once more in
//! turn on one running server, each probed run held against the bare ones before and after it.

mod databases;
mod figures;
mod kernel;
mod load;
mod report;
mod servers;
mod side_by_side;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::interrupt::Interrupt;
use crate::probe::Probe;
use crate::{build, packages, procfs, python, shell, workspace};
use figures::Spread;
use load::Sample;
use servers::{SERVERS, Server, Target};

/// How long the idle probe is watched.
const IDLE: Duration = Duration::from_secs(10);
/// How often a server that is not at full load is asked.
const QUIET_PER_SECOND: u32 = 20;
/// Load before anything is measured: imports, caches, clock frequency.
const WARM_UP: Duration = Duration::from_secs(2);
/// And before each run, bare or probed: an attached probe first looks its processes over.
const SETTLE: Duration = Duration::from_secs(1);

/// How much to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Pairs for each server: so many side by side, and so many of a bare and a probed run in turn.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// Seconds of load in each run.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only the servers whose name contains this.
    #[arg(long, value_name = "PART")]
    server: Option<String>,
    /// With all of Python's exceptions and tasks looked at from the beginning, however dear that is.
    #[arg(long)]
    forced: bool,
}

/// `--forced`, as the probe's environment.
const FORCED: [(&str, &str); 4] = [
    ("STARDUST_PROBE_PYTHON_ERRORS", "always"),
    ("STARDUST_PROBE_PYTHON_ERRORS_MAX_FRAMES_PER_S", "1000000"),
    ("STARDUST_PROBE_PYTHON_LINEAGE", "always"),
    ("STARDUST_PROBE_PYTHON_LINEAGE_MAX_COPIES_PER_S", "1000000"),
];

/// What was measured with one server.
pub struct Measured {
    /// The server's name.
    pub server: &'static str,
    /// Share of the throughput that may be lost; where nothing is promised, any.
    pub loss_max: f64,
    /// Pairs of runs.
    pub pairs: usize,
    /// Requests per second, bare and probed.
    pub bare_rate: Spread,
    /// See `bare_rate`.
    pub probed_rate: Spread,
    /// Share of the throughput that was lost, pair by pair, side by side with a server that is not watched.
    pub loss: Spread,
    /// The same with bare and probed runs in turn.
    pub loss_in_turn: Spread,
    /// The server's CPU time per request in nanoseconds, bare and probed.
    pub bare_cpu_ns: Spread,
    /// See `bare_cpu_ns`.
    pub probed_cpu_ns: Spread,
    /// Share of CPU time per request that was added, pair by pair.
    pub added_cpu: Spread,
    /// The share of the time in which the worker ran, bare and probed: what is not near 1 was no full load.
    pub busy: [f64; 2],
    /// Kernel time of the probe's programs at socket calls.
    pub kernel: kernel::Cost,
    /// And at calls of TLS libraries.
    pub tls: kernel::Account,
    /// And where exceptions leave frames and contexts are copied.
    pub python: kernel::Account,
    /// The probe's own CPU time per request in nanoseconds, user and system.
    pub probe_cpu_ns: Spread,
    /// The probe's memory after load, in bytes: now and at its highest.
    pub resident_bytes: u64,
    /// See `resident_bytes`.
    pub highest_bytes: u64,
    /// Share of one CPU that the probe takes while nothing happens.
    pub idle_cpu: f64,
    /// And while the server is asked [`QUIET_PER_SECOND`] times in a second; `None` for servers that are not asked so.
    pub quiet_cpu: Option<f64>,
}

/// Measures every server and fails where a limit is broken.
pub fn run(options: &Options) -> Result<()> {
    if options.pairs == 0 || options.seconds == 0 {
        bail!("--pairs and --seconds must be at least 1");
    }
    let interrupt = Interrupt::watch()?;
    packages::ensure(&[packages::BUILD, packages::PYTHON_APPS, packages::BENCH])?;
    shell::become_root()?;
    let binary = build::release()?;
    let sources = workspace::root().join("xtask/bench");
    let venv = python::environment("bench-venv", &sources.join("requirements.txt"))?;
    let scratch = workspace::target()?.join("bench");
    fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    let run_time = Duration::from_secs(options.seconds);
    let bench = Bench { binary, sources, venv, scratch, interrupt, run_time, forced: options.forced };
    let mut all = Vec::new();
    for server in SERVERS {
        if options.server.as_deref().is_none_or(|part| server.name.contains(part)) {
            all.push(bench.measure(server, options.pairs)?);
        }
    }
    if all.is_empty() {
        bail!("no server of that name");
    }
    print!("{}", report::table(&all));
    let broken = report::verdicts(&all);
    if broken > 0 {
        bail!("{broken} limits broken");
    }
    Ok(())
}

/// What every measurement needs.
struct Bench {
    binary: PathBuf,
    sources: PathBuf,
    venv: PathBuf,
    scratch: PathBuf,
    interrupt: Interrupt,
    run_time: Duration,
    forced: bool,
}

/// A run under the probe.
struct Probed {
    sample: Sample,
    probe_cpu_ns: u64,
    resident_bytes: u64,
    highest_bytes: u64,
}

impl Bench {
    fn measure(&self, server: &'static Server, pairs: usize) -> Result<Measured> {
        shell::step(&format!("{}: {pairs} pairs of {} s", server.name, self.run_time.as_secs()));
        let start = || server.start(&self.venv, &self.sources, &self.scratch, &self.interrupt);
        let target = start()?;
        load::run(&target, WARM_UP, &self.interrupt)?;
        let ratios = {
            let twin = start()?;
            load::run(&twin, WARM_UP, &self.interrupt)?;
            self.side_by_side([&target, &twin], pairs)?
        };
        let mut bare = vec![self.settled(&target)?];
        let mut probed = Vec::new();
        for pair in 0..pairs {
            probed.push(self.probed(&target)?);
            bare.push(self.settled(&target)?);
            let loss = lost(Sample::per_second, &bare[pair..], &probed[pair].sample);
            eprintln!("    pair {:>2}, in turn: throughput {:+.2} %", pair + 1, -100.0 * loss);
        }
        let (kernel, tls, python) = self.kernel_cost(&target)?;
        let idle_cpu = self.idle(&target)?;
        let quiet_cpu = self.quiet(&target)?;
        let both = || bare.windows(2).zip(&probed);
        let bare_cpu_ns = Spread::of(bare.iter().map(Sample::cpu_ns_per_request));
        // The server that is not watched pays for the probe too, but little.
        let paid_by_both = kernel.unwatched_ns * kernel.calls_per_request / bare_cpu_ns.median;
        Ok(Measured {
            server: server.name,
            loss_max: server.loss_max(self.forced),
            pairs,
            bare_rate: Spread::of(bare.iter().map(Sample::per_second)),
            probed_rate: Spread::of(probed.iter().map(|run| run.sample.per_second())),
            loss: Spread::of(ratios.iter().map(|ratio| 1.0 - 1.0 / (ratio + paid_by_both))),
            loss_in_turn: Spread::of(
                both().map(|(bare, probed)| lost(Sample::per_second, bare, &probed.sample)),
            ),
            bare_cpu_ns,
            probed_cpu_ns: Spread::of(probed.iter().map(|run| run.sample.cpu_ns_per_request())),
            added_cpu: Spread::of(
                both().map(|(bare, probed)| -lost(Sample::cpu_ns_per_request, bare, &probed.sample)),
            ),
            busy: [
                Spread::of(bare.iter().map(Sample::busy)).median,
                Spread::of(probed.iter().map(|run| run.sample.busy())).median,
            ],
            kernel,
            tls,
            python,
            probe_cpu_ns: Spread::of(
                probed.iter().map(|run| run.probe_cpu_ns as f64 / run.sample.requests as f64),
            ),
            resident_bytes: probed.iter().map(|run| run.resident_bytes).max().unwrap_or(0),
            highest_bytes: probed.iter().map(|run| run.highest_bytes).max().unwrap_or(0),
            idle_cpu,
            quiet_cpu,
        })
    }

    /// Attaches to `pid`, silent, on the CPU of the load.
    fn attach(&self, pid: u32) -> Result<Probe> {
        let state = self.scratch.join("state").display().to_string();
        let arguments = ["--format", "json", "--state-dir", &state].map(str::to_owned);
        let variables = if self.forced { &FORCED[..] } else { &[] };
        let silent = (Stdio::null(), false);
        let probe = Probe::attach(&self.binary, pid, (&arguments, variables), silent, &self.interrupt)?;
        let mut pin = shell::as_root("taskset", []);
        pin.args(["--all-tasks", "--cpu-list", "--pid", load::CPU, &probe.pid().to_string()]);
        shell::run(pin.stdout(Stdio::null()))?;
        Ok(probe)
    }

    /// A run at full load, after a while of it.
    fn settled(&self, target: &Target) -> Result<Sample> {
        load::run(target, SETTLE, &self.interrupt)?;
        load::run(target, self.run_time, &self.interrupt)
    }

    /// How much more of the CPU a request takes that is watched, pair by pair.
    fn side_by_side(&self, twins: [&Target; 2], pairs: usize) -> Result<Vec<f64>> {
        let mut ratios = Vec::new();
        for pair in 0..pairs {
            let ratio = side_by_side::ratio(twins, |watched| {
                let probe = self.attach(watched.pid())?;
                side_by_side::run(twins, SETTLE, &self.interrupt)?;
                let samples = side_by_side::run(twins, self.run_time, &self.interrupt)?;
                probe.stop()?;
                Ok(samples)
            })?;
            eprintln!("    pair {:>2}, side by side: CPU time {:+.2} %", pair + 1, 100.0 * (ratio - 1.0));
            ratios.push(ratio);
        }
        Ok(ratios)
    }

    fn probed(&self, target: &Target) -> Result<Probed> {
        let probe = self.attach(target.pid())?;
        let pid = probe.pid();
        load::run(target, SETTLE, &self.interrupt)?;
        let before_ns = procfs::cpu_ns(pid)?;
        let sample = load::run(target, self.run_time, &self.interrupt)?;
        let probed = Probed {
            sample,
            probe_cpu_ns: procfs::cpu_ns(pid)?.saturating_sub(before_ns),
            resident_bytes: procfs::memory_bytes(pid, "VmRSS")?,
            highest_bytes: procfs::memory_bytes(pid, "VmHWM")?,
        };
        probe.stop()?;
        Ok(probed)
    }

    /// The kernel's own account of the programs' time, taken in runs of its own: it costs something itself.
    fn kernel_cost(&self, target: &Target) -> Result<(kernel::Cost, kernel::Account, kernel::Account)> {
        let calls = kernel::socket_calls_per_request(target, self.run_time, &self.interrupt)?;
        let [watched, tls, python] = self.kernel_account(target, target.pid())?;
        // Attached to a process that does nothing: every call it sees is one that is not watched.
        let mut bystander = Command::new("sleep").arg("600").spawn().context("start a bystander")?;
        let unwatched = self.kernel_account(target, bystander.id());
        bystander.kill().context("end the bystander")?;
        bystander.wait().context("end the bystander")?;
        let [unwatched, ..] = unwatched?;
        Ok((kernel::Cost::of(&watched, &unwatched, calls), tls, python))
    }

    /// Of the programs at socket calls, at calls of TLS libraries, and in Python.
    fn kernel_account(&self, target: &Target, watched: u32) -> Result<[kernel::Account; 3]> {
        let _statistics = kernel::Statistics::on()?;
        let others = kernel::programs()?;
        let probe = self.attach(watched)?;
        let before = kernel::programs()?;
        let sample = load::run(target, self.run_time, &self.interrupt)?;
        let after = kernel::programs()?;
        probe.stop()?;
        let account = |parts| {
            let before = kernel::sum_of(parts, &before, &others);
            kernel::sum_of(parts, &after, &others).since(&before, sample.requests)
        };
        Ok([kernel::AT_SOCKET_CALLS, kernel::AT_TLS_CALLS, kernel::IN_PYTHON].map(account))
    }

    fn idle(&self, target: &Target) -> Result<f64> {
        self.share_of_cpu(target, || self.interrupt.rest(IDLE))
    }

    fn quiet(&self, target: &Target) -> Result<Option<f64>> {
        let Some(address) = load::quiet_address(target) else { return Ok(None) };
        let ask = || load::ask_now_and_then(address, QUIET_PER_SECOND, IDLE, &self.interrupt);
        self.share_of_cpu(target, ask).map(Some)
    }

    /// What of one CPU the probe takes while `meanwhile` runs.
    fn share_of_cpu(&self, target: &Target, meanwhile: impl Fn() -> Result<()>) -> Result<f64> {
        let probe = self.attach(target.pid())?;
        let pid = probe.pid();
        // By then it has looked its processes over.
        self.interrupt.rest(IDLE)?;
        let (start, before_ns) = (Instant::now(), procfs::cpu_ns(pid)?);
        meanwhile()?;
        let share = procfs::cpu_ns(pid)?.saturating_sub(before_ns) as f64 / start.elapsed().as_nanos() as f64;
        probe.stop()?;
        Ok(share)
    }
}

/// The share of a figure that a probed run has less than the two bare runs before and after it, in the mean: so what changes
/// steadily on the machine meanwhile falls out.
fn lost(figure: impl Fn(&Sample) -> f64, bare: &[Sample], probed: &Sample) -> f64 {
    1.0 - figure(probed) / f64::midpoint(figure(&bare[0]), figure(&bare[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_gets_steadily_slower_costs_nothing() {
        let run = |requests| Sample { requests, seconds: 1.0, cpu_ns: 0 };
        let bare = [run(1000), run(900)];
        for (requests, share) in [(950, 0.0), (931, 0.02), (969, -0.02)] {
            assert!((lost(Sample::per_second, &bare, &run(requests)) - share).abs() < 1e-9, "{requests}");
        }
    }
}
