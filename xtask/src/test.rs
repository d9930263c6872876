//! `cargo xtask test`: every gate, every test, one line at the end that sums them up.
//!
//! Invariant: what could not be run is said loudly, with the reason; a failure never stops what comes after.

mod binaries;
mod tally;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::interrupt::Interrupt;
use crate::{build, packages, python, shell, tidy, workspace};
use binaries::{Run, TestBinary};
use tally::Tally;

/// After this a test binary is ended and counted as failed.
const UNIT_LIMIT: Duration = Duration::from_mins(5);
const LIVE_LIMIT: Duration = Duration::from_mins(15);

/// What to leave out.
#[derive(clap::Args)]
pub struct Options {
    /// Leave out the live tests, and the release build they need.
    #[arg(long)]
    quick: bool,
}

/// Runs everything, and fails if anything failed.
pub fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let start = Instant::now();
    packages::ensure(&[packages::BUILD])?;
    let mut tally = Tally::default();
    for (name, gate) in GATES {
        shell::step(name);
        if let Err(error) = gate() {
            tally.failed += 1;
            tally.complaints.push(format!("{name}: {error:#}"));
        }
        interrupt.check()?;
    }
    run_tests(options, &mut tally, &interrupt)?;
    for complaint in &tally.complaints {
        println!("FAILED {complaint}");
    }
    for skip in &tally.skips {
        println!("SKIPPED {skip}");
    }
    println!("in {} s:", start.elapsed().as_secs());
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

/// A gate's name and what it runs. One that fails counts as one failure.
type Gate = (&'static str, fn() -> Result<()>);

const GATES: [Gate; 3] = [
    ("cargo fmt --check", || cargo(&["fmt", "--all", "--check"])),
    ("cargo clippy", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])
    }),
    ("cargo xtask tidy", tidy::run),
];

fn cargo(arguments: &[&str]) -> Result<()> {
    shell::run(shell::cargo().args(arguments).current_dir(workspace::root()))
}

fn run_tests(options: &Options, tally: &mut Tally, interrupt: &Interrupt) -> Result<()> {
    shell::step("building the tests");
    let (live, unit): (Vec<_>, Vec<_>) = binaries::build()?.into_iter().partition(TestBinary::is_live);
    for binary in unit {
        tally.add(binary.run(&Run { limit: UNIT_LIMIT, ..Run::default() }, interrupt)?);
    }
    shell::step("documentation tests");
    let mut doc_tests = shell::cargo();
    doc_tests.args(["test", "--quiet", "--workspace", "--doc"]).current_dir(workspace::root());
    tally.add(binaries::tested("documentation tests", &mut doc_tests, UNIT_LIMIT, interrupt)?);
    run_live_tests(options, &live, tally, interrupt)
}

fn run_live_tests(
    options: &Options,
    live: &[TestBinary],
    tally: &mut Tally,
    interrupt: &Interrupt,
) -> Result<()> {
    let reason = if options.quick { Some("--quick".to_owned()) } else { cannot_run_live() };
    if let Some(reason) = reason {
        for binary in live {
            tally.skip(binary.count()?, &format!("{}: {reason}", binary.name));
        }
        return Ok(());
    }
    packages::ensure(&[packages::PYTHON_APPS, packages::TEST])?;
    mount_tracefs()?;
    let probe = build::release()?;
    let venv = python_environment()?;
    let variables = [("PROBE_UNDER_TEST", probe), ("PROBE_TEST_VENV", venv)]
        .map(|(name, path)| (name, path.display().to_string()));
    for binary in live {
        // One at a time: they count requests, processes and kernel objects of the whole machine.
        let how =
            Run { limit: LIVE_LIMIT, one_at_a_time: true, as_root: true, variables: variables.to_vec() };
        tally.add(binary.run(&how, interrupt)?);
    }
    Ok(())
}

/// One of the ways in is by the tracepoints of system calls, which are listed there. Most hosts mount it when they start; the
/// probe itself mounts nothing.
fn mount_tracefs() -> Result<()> {
    const TRACEFS: &str = "/sys/kernel/tracing";
    if Path::new(TRACEFS).join("events").exists() {
        return Ok(());
    }
    shell::run(shell::as_root("mount", []).args(["-t", "tracefs", "tracefs", TRACEFS]))
        .with_context(|| format!("mount {TRACEFS}, which the live tests need"))
}

fn python_environment() -> Result<PathBuf> {
    python::environment("python-venv", &workspace::root().join("tests/requirements.txt"))
        .context("prepare the Python servers and clients of the live tests")
}

/// Why live tests cannot run here. None where they can.
fn cannot_run_live() -> Option<String> {
    if let Err(error) = shell::become_root() {
        return Some(format!("{error:#}"));
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no BTF (/sys/kernel/btf/vmlinux)".to_owned());
    }
    // Loading programs needs CAP_BPF, CAP_PERFMON and more; a container's root often lacks them.
    let status = shell::read(Command::new("cat").arg("/proc/self/status")).unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
    let bits = effective.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    (shell::is_root() && bits >> CAP_BPF & 1 == 0).then(|| "root here lacks CAP_BPF".to_owned())
}

/// `include/uapi/linux/capability.h`.
const CAP_BPF: u32 = 39;
