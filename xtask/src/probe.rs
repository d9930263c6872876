//! A running `stardust-probe`, as root, attached to a process.
//!
//! Invariant: it is stopped when the value is dropped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt::Interrupt;
use crate::{procfs, shell};

/// How long attaching and stopping may take. The probe itself promises 5 s for the second.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// What the probe says on stderr once it sees requests.
const ATTACHED: &str = "attached";

/// A probe that has attached.
pub struct Probe {
    child: Child,
    errors: Option<JoinHandle<()>>,
}

impl Probe {
    /// Attaches to `pid`, with these arguments and variables, and waits until the probe says so. Its stderr is shown
    /// where `verbose`.
    pub fn attach(
        binary: &Path,
        pid: u32,
        (arguments, variables): (&[String], &[(&str, &str)]),
        (output, verbose): (Stdio, bool),
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut command = shell::as_root(binary, variables);
        command.arg("--pid").arg(pid.to_string()).args(arguments);
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start `{}`", shell::line(&command)))?;
        let pipe = child.stderr.take().context("the probe's stderr is a pipe")?;
        let (said, heard) = channel();
        let errors = thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if verbose {
                    eprintln!("{line}");
                }
                // Nobody listens once it has attached.
                let _ = said.send(line);
            }
        });
        let mut probe = Self { child, errors: Some(errors) };
        probe.wait_until_attached(&heard, interrupt)?;
        Ok(probe)
    }

    fn wait_until_attached(&mut self, heard: &Receiver<String>, interrupt: &Interrupt) -> Result<()> {
        let mut last = String::new();
        interrupt.wait_for("`attached` from the probe", ATTACH_LIMIT, || {
            let ended = self.child.try_wait().context("look after the probe")?;
            while let Ok(line) = heard.try_recv() {
                if line.contains(ATTACHED) {
                    return Ok(Some(()));
                }
                last = line;
            }
            if let Some(status) = ended {
                bail!("the probe ended before it attached ({status}): {last}");
            }
            Ok(None)
        })
    }

    /// The probe's own process, not that of the sudo before it.
    pub fn pid(&self) -> u32 {
        let first = self.child.id();
        if shell::is_root() { first } else { procfs::last_descendant(first) }
    }

    /// Asks it to stop, and waits until it has drained and gone. An error unless it exits with 0.
    pub fn stop(mut self) -> Result<()> {
        let status = self.end(Signal::SIGINT)?;
        if !status.success() {
            bail!("the probe did not stop cleanly ({status})");
        }
        Ok(())
    }

    fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        send(self.child.id(), signal);
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().context("look after the probe")? {
                break status;
            }
            if start.elapsed() > STOP_LIMIT {
                send(self.child.id(), Signal::SIGKILL);
                self.child.wait().context("wait for the probe")?;
                bail!("the probe did not stop within {} s of {signal}", STOP_LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        };
        if let Some(errors) = self.errors.take() {
            // A panic of the reader has been printed already.
            let _ = errors.join();
        }
        Ok(status)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None))
            && let Err(error) = self.end(Signal::SIGTERM)
        {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// A process of root's can only be signalled by root.
fn send(pid: u32, signal: Signal) {
    if shell::is_root() {
        // It may have ended by itself just now.
        let _ = kill(Pid::from_raw(pid as i32), signal);
    } else {
        shell::succeeds(shell::as_root("kill", []).args(["-s", signal.as_str(), &pid.to_string()]));
    }
}
