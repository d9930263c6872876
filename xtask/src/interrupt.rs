//! Ctrl-C and termination, as a flag that waiting loops look at.
//!
//! Invariant: the first signal lets the command clean up; the second ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// How often a waiting loop looks again.
const POLL: Duration = Duration::from_millis(20);

/// Set once a signal has come.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on signals set the flag, and end nothing the first time.
    pub fn watch() -> Result<Self> {
        let flagged = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The order matters: the first signal finds the flag unset.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flagged))
                .context("install a signal handler")?;
            flag::register(signal, Arc::clone(&flagged)).context("install a signal handler")?;
        }
        Ok(Self(flagged))
    }

    /// An error once a signal has come.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Looks again and again until `ready` gives something. An error on a signal and after `limit`,
    /// where `what` says what was waited for.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(value) = ready()? {
                return Ok(value);
            }
            self.check()?;
            if start.elapsed() > limit {
                bail!("{what}: not within {} s", limit.as_secs());
            }
            sleep(POLL);
        }
    }

    /// Waits that long. An error on a signal.
    pub fn rest(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.check()?;
            sleep(POLL.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_a_value_a_signal_or_the_limit() {
        let quiet = Interrupt(Arc::new(AtomicBool::new(false)));
        let mut looks = 0;
        let value = quiet.wait_for("three looks", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(value.unwrap(), 3);
        let late = quiet.wait_for::<()>("nothing", Duration::ZERO, || Ok(None));
        assert_eq!(late.unwrap_err().to_string(), "nothing: not within 0 s");
        let signalled = Interrupt(Arc::new(AtomicBool::new(true)));
        let stopped = signalled.wait_for::<()>("nothing", Duration::from_secs(5), || Ok(None));
        assert_eq!(stopped.unwrap_err().to_string(), "interrupted");
    }
}
