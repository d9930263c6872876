//! A server in the background: its own process group, gone when the value is dropped.
//!
//! Invariant: no member of the group outlives the value.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt::Interrupt;
use crate::shell;

/// How long a server may take to answer, and to stop.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running server.
pub struct Service {
    child: Child,
}

impl Service {
    /// Starts it with its output in `log`, as the leader of a new process group.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let errors = output.try_clone().with_context(|| format!("open {} twice", log.display()))?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start `{}`", shell::line(command)))?;
        Ok(Self { child })
    }

    /// Starts it and waits until `port` takes connections.
    pub fn start_on(command: &mut Command, log: &Path, port: u16, interrupt: &Interrupt) -> Result<Self> {
        let mut service = Self::start(command, log)?;
        interrupt.wait_for(&format!("port {port} of `{}`", shell::line(command)), START_LIMIT, || {
            if let Some(status) = service.child.try_wait().context("look after a server")? {
                bail!("`{}` ended at once ({status}): see {}", shell::line(command), log.display());
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop))
        })?;
        Ok(service)
    }

    /// The process id of the first process: the master of a server with workers.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id() as i32);
        // Errors here mean that the group is gone, which is what is wanted.
        let _ = killpg(group, Signal::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT && matches!(self.child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(10));
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A TCP port of this machine that nobody listens on now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_whole_group_ends_with_the_value() {
        let log = std::env::temp_dir().join(format!("xtask-service-{}", std::process::id()));
        let mut script = Command::new("sh");
        script.args(["-c", "trap '' TERM; sleep 1000 & echo $!; exec sleep 1000"]);
        let service = Service::start(&mut script, &log).unwrap();
        let start = Instant::now();
        let child = loop {
            let text = fs::read_to_string(&log).unwrap();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
            assert!(start.elapsed() < START_LIMIT, "the script printed nothing");
            std::thread::yield_now();
        };
        drop(service);
        fs::remove_file(&log).unwrap();
        // Killed is not yet gone: the kernel takes a moment.
        let start = Instant::now();
        let runs =
            || fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while runs() {
            assert!(start.elapsed() < START_LIMIT, "{child} still runs");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_server_that_ends_at_once_is_told() {
        let log = std::env::temp_dir().join(format!("xtask-ended-{}", std::process::id()));
        let interrupt = Interrupt::watch().unwrap();
        let port = free_port().unwrap();
        let outcome = Service::start_on(Command::new("sh").args(["-c", "exit 7"]), &log, port, &interrupt);
        fs::remove_file(&log).unwrap();
        let error = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("ended at once (exit status: 7)"), "{error}");
    }
}
