//! `cargo xtask test`: every gate, every test, one line at the end that sums them up.
//!
//! Invariant: what could not be run is said loudly, with the reason; a failure never stops what comes after.

mod binaries;
mod lanes;
mod preparation;
mod tally;

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt::Interrupt;
use crate::{packages, shell, tidy, workspace};
use binaries::{Run, TestBinary};
use preparation::{Preparation, Ready};
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
    let preparation = Preparation::begin(options.quick);
    let mut tally = Tally::default();
    for (name, gate) in GATES {
        shell::step(name);
        if let Err(error) = gate() {
            tally.failed += 1;
            tally.complaints.push(format!("{name}: {error:#}"));
        }
        interrupt.check()?;
    }
    run_tests(preparation, &mut tally, &interrupt)?;
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

fn run_tests(preparation: Preparation, tally: &mut Tally, interrupt: &Interrupt) -> Result<()> {
    shell::step("building the tests");
    let (live, unit): (Vec<_>, Vec<_>) = binaries::build()?.into_iter().partition(TestBinary::is_live);
    for binary in unit {
        tally.add(binary.run(&Run { limit: UNIT_LIMIT, ..Run::default() }, interrupt)?);
    }
    shell::step("documentation tests");
    let mut doc_tests = shell::cargo();
    doc_tests.args(["test", "--quiet", "--workspace", "--doc"]).current_dir(workspace::root());
    tally.add(binaries::tested("documentation tests", &mut doc_tests, UNIT_LIMIT, interrupt)?);
    match preparation.finish()? {
        Ok(ready) => run_live_tests(&live, &ready, tally, interrupt),
        Err(reason) => {
            for binary in &live {
                tally.skip(binary.count()?, &format!("{}: {reason}", binary.name));
            }
            Ok(())
        }
    }
}

fn run_live_tests(
    live: &[TestBinary],
    ready: &Ready,
    tally: &mut Tally,
    interrupt: &Interrupt,
) -> Result<()> {
    let variables = [("PROBE_UNDER_TEST", &ready.probe), ("PROBE_TEST_VENV", &ready.venv)]
        .map(|(name, path)| (name, path.display().to_string()));
    let alone = Run {
        limit: LIVE_LIMIT,
        one_at_a_time: true,
        as_root: true,
        shown_at_end: false,
        variables: variables.to_vec(),
    };
    let turn = |binary: &&TestBinary| lanes::turn(&binary.target);
    let (mut beside, others): (Vec<_>, Vec<_>) = live.iter().partition(|binary| turn(binary).is_some());
    for binary in others {
        tally.add(binary.run(&alone, interrupt)?);
    }
    beside.sort_by_key(turn);
    tally.add(lanes::run(&beside, &Run { shown_at_end: true, ..alone }, interrupt)?);
    Ok(())
}
