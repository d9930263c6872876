//! Test binaries that do not mind each other, several at a time.

use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow};

use super::binaries::{Run, TestBinary};
use super::tally::Tally;
use crate::interrupt::Interrupt;

/// So many at a time: they wait for servers more than they work.
const LANES: usize = 2;

/// Live tests that look at nothing but servers of their own, those that take longest first. The others count requests, processes
/// or kernel objects of the whole machine, or time what they do.
const SIDE_BY_SIDE: &[&str] = &[
    "live_routes",
    "live_exception_servers",
    "live_databases",
    "live_tls",
    "live_frames",
    "live_sdk",
    "live_databases_killed",
    "live_websocket",
    "live_asgi",
    "live_http2",
    "live_tls_libraries",
    "live_tls_static",
    "live_ways",
    "live_streams",
    "live_front",
    "live_tls_sendfile",
    "live_tls_builds",
    "live_proxy",
    "live_tls_strangers",
];

/// When the test is to run among those that do not mind each other; `None`: it is to run alone.
pub fn turn(test: &str) -> Option<usize> {
    SIDE_BY_SIDE.iter().position(|name| *name == test)
}

/// Runs them all, in this order.
pub fn run(binaries: &[&TestBinary], how: &Run, interrupt: &Interrupt) -> Result<Tally> {
    let waiting = Mutex::new(binaries.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let lane = || {
        let mut tally = Tally::default();
        while let Some(binary) = next() {
            tally.add(binary.run(how, interrupt)?);
        }
        Ok(tally)
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        let mut sum = Tally::default();
        for lane in lanes {
            sum.add(lane.join().unwrap_or_else(|_| Err(anyhow!("what runs the tests panicked")))?);
        }
        Ok(sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn each_is_a_test_and_has_its_turn() {
        for (place, name) in SIDE_BY_SIDE.iter().enumerate() {
            assert!(workspace::root().join(format!("tests/tests/{name}.rs")).exists(), "{name}");
            assert_eq!(turn(name), Some(place));
        }
        assert_eq!(turn("live_memory"), None);
    }
}
