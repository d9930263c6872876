//! What the live tests need besides themselves: packages, the release build, Python's servers and clients. It is got ready
//! while the gates and the unit tests run: it mostly waits for the network, and for a linker that uses one CPU.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};

use crate::{build, packages, python, shell, workspace};

/// What the live tests run with.
pub struct Ready {
    pub probe: PathBuf,
    pub venv: PathBuf,
}

/// On its way, or why live tests cannot run here.
pub enum Preparation {
    Runs(JoinHandle<Result<Ready>>),
    NotHere(String),
}

impl Preparation {
    /// Asks for root, where that is needed, while the terminal is ours; the rest goes on by itself.
    pub fn begin(quick: bool) -> Self {
        let reason = if quick { Some("--quick".to_owned()) } else { cannot_run_live() };
        reason.map_or_else(|| Self::Runs(thread::spawn(prepare)), Self::NotHere)
    }

    /// Waits until all is there; the reason where live tests cannot run.
    pub fn finish(self) -> Result<Result<Ready, String>> {
        match self {
            Self::NotHere(reason) => Ok(Err(reason)),
            Self::Runs(thread) => match thread.join() {
                Ok(ready) => Ok(Ok(ready.context("prepare the live tests")?)),
                Err(_) => bail!("prepare the live tests: it panicked, see above"),
            },
        }
    }
}

fn prepare() -> Result<Ready> {
    packages::ensure(&[packages::PYTHON_APPS, packages::TEST])?;
    mount_tracefs()?;
    let venv = python::environment("python-venv", &workspace::root().join("tests/requirements.txt"))
        .context("prepare the Python servers and clients of the live tests")?;
    Ok(Ready { probe: build::release()?, venv })
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
