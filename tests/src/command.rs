//! The probe's command run by hand: its arguments, its exit code, what it says.
//!
//! Invariant: a running probe ends with its value.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::probe::{ROUTES, find_program};
use crate::process::wait_for;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// A probe that runs, its log read line by line.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: Receiver<String>,
    /// The lines read so far.
    pub lines: Vec<String>,
}

/// The probe's command.
pub fn probe(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(find_program()?);
    command.args(arguments).env(ROUTES, "false").stdin(Stdio::null());
    Ok(command)
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> anyhow::Result<Ended> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Running {
    /// Starts a command; its spans go nowhere.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("start the probe")?;
        let stderr = child.stderr.take().context("a pipe was asked for")?;
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, log, lines: Vec::new() })
    }

    /// The probe's own process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of the log that contains `text`.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else { bail!("no {text:?} in {:#?}", self.lines) };
            let found = line.contains(text);
            self.lines.push(line);
            if found {
                return Ok(());
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), signal).context("signal the probe")
    }

    /// Waits for the end.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let status = wait_for(&mut self.child, limit).context("wait for the probe")?;
        self.lines.extend(self.log.iter());
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
