//! Two servers alike, loaded at the same time on one CPU, of which one is watched, and then the other.
//!
//! On a shared machine two runs that follow one another differ by more than the probe costs. At the same time whatever
//! else happens falls on both, and what the two do not have in common falls out when they change places.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::load::{self, Sample};
use super::servers::Target;
use crate::interrupt::Interrupt;

/// Loads both that long.
pub fn run(twins: [&Target; 2], time: Duration, interrupt: &Interrupt) -> Result<[Sample; 2]> {
    let [first, second] = thread::scope(|scope| {
        let runs = twins.map(|twin| scope.spawn(move || load::run(twin, time, interrupt)));
        runs.map(|run| run.join().unwrap_or_else(|_| Err(anyhow!("the load panicked"))))
    });
    Ok([first?, second?])
}

/// How much more CPU time a watched request takes, as a factor. `watch`: what both do while one of them is watched.
pub fn ratio<'a>(
    twins: [&'a Target; 2],
    mut watch: impl FnMut(&'a Target) -> Result<[Sample; 2]>,
) -> Result<f64> {
    Ok(of(&watch(twins[0])?, &watch(twins[1])?))
}

/// By one run in which the first was watched, and one in which the second was.
fn of(first: &[Sample; 2], second: &[Sample; 2]) -> f64 {
    let cost = |sample: &Sample| sample.cpu_ns_per_request();
    (cost(&first[0]) / cost(&first[1]) * (cost(&second[1]) / cost(&second[0]))).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_the_twins_or_the_runs_different_falls_out() {
        let run = |cpu_ns| Sample { requests: 1, seconds: 1.0, cpu_ns };
        // The second twin takes a tenth more, the second run a half more, and being watched a hundredth more.
        let ratio = of(&[run(101_000), run(110_000)], &[run(150_000), run(166_650)]);
        assert!((ratio - 1.01).abs() < 1e-9, "{ratio}");
    }
}
