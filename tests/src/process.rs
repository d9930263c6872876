//! Child processes that end with the value that stands for them, and everything they started too.
//!
//! Invariant: a dropped [`ProcessTree`] leaves no process of its group behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// How often a condition is looked at again.
pub const POLL: Duration = Duration::from_millis(5);

/// A process in a group of its own, with its output in a file.
#[derive(Debug)]
pub struct ProcessTree {
    child: Child,
    name: String,
    log: PathBuf,
}

impl ProcessTree {
    /// Starts the command. What it prints goes to the file `log`.
    pub fn spawn(mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { child, name, log })
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its children right now.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the condition holds. Fails if the process ends first, or at the limit.
    pub fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.output());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {limit:?}:\n{}", self.name, self.output());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends a signal to the process itself.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid() as i32), signal)
            .with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Waits for its end, which must come within the limit.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        wait_for(&mut self.child, limit).with_context(|| format!("wait for {}", self.name))
    }
}

impl Drop for ProcessTree {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = killpg(Pid::from_raw(self.pid() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Waits for a child's end, which must come within the limit.
pub fn wait_for(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("still runs after {limit:?}")));
        }
        std::thread::sleep(POLL);
    }
}

/// What a process holds of memory, in KiB.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    status(Path::new(&format!("/proc/{pid}")), "VmRSS:")
}

/// How often a process's threads of this name have gone to sleep, and so been woken.
pub fn wake_ups(pid: u32, thread: &str) -> anyhow::Result<u64> {
    let mut all = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let folder = task?.path();
        if fs::read_to_string(folder.join("comm"))?.trim_end() == thread {
            all += status(&folder, "voluntary_ctxt_switches:")?;
        }
    }
    Ok(all)
}

/// A number of a process or thread, by the folder that `/proc` has of it.
fn status(folder: &Path, field: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(folder.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let value = line.with_context(|| format!("no {field}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

/// The children of a process's main thread; none if it is gone.
pub fn children_of(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_tree_is_gone_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo up; wait"]);
        let mut tree = ProcessTree::spawn(command, folder.path().join("log")).unwrap();
        let (pid, log) = (tree.pid(), tree.log.clone());
        tree.wait_until(Duration::from_secs(10), || {
            children_of(pid).len() == 1 && fs::read_to_string(&log).is_ok_and(|text| text == "up\n")
        })
        .unwrap();
        let child = tree.children()[0];
        drop(tree);
        let alive = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z ")
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while alive(pid) || alive(child) {
            assert!(Instant::now() < deadline, "{pid} or {child} is left");
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn an_early_end_is_told_with_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo why; exit 3"]);
        let mut tree = ProcessTree::spawn(command, folder.path().join("log")).unwrap();
        let error = tree.wait_until(Duration::from_secs(10), || false).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("why"), "{error}");
    }
}
