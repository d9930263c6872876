//! What the kernel says of a process: its children and its memory (proc(5)), its CPU time.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::ClockId;
use nix::unistd::Pid;

/// The direct children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The end of the line of first children: the program that a chain of wrappers has started.
pub fn last_descendant(pid: u32) -> u32 {
    children(pid).first().map_or(pid, |&child| last_descendant(child))
}

/// CPU time of all threads of a process, those that have ended too, in nanoseconds: its CPU-time clock, which is the
/// scheduler's own figure (`clock_getcpuclockid(3)`). `/proc/PID/stat` counts in ticks of 10 ms.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let gone = || format!("ask how long process {pid} has run");
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed())).with_context(gone)?;
    let time = clock.now().with_context(gone)?;
    Ok(Duration::from(time).as_nanos() as u64)
}

/// A field of `/proc/PID/status` that is given in kB, such as `VmRSS`, in bytes.
pub fn memory_bytes(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .with_context(|| format!("no {field} in {path}"))?;
    Ok(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn our_own_process_is_readable() {
        let pid = std::process::id();
        let before_ns = cpu_ns(pid).unwrap();
        // What a thread has run stays when it has ended.
        std::thread::spawn(|| (0..2_000_000_u64).map(std::hint::black_box).sum::<u64>()).join().unwrap();
        assert!(cpu_ns(pid).unwrap() > before_ns + 100_000);
        assert!(memory_bytes(pid, "VmRSS").unwrap() > 100_000);
        assert!(memory_bytes(pid, "VmHWM").unwrap() >= memory_bytes(pid, "VmRSS").unwrap() / 2);
        assert!(memory_bytes(pid, "NoSuchField").is_err());
    }

    #[test]
    fn a_child_is_found() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let found = children(std::process::id());
        let last = last_descendant(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
        assert_eq!(last, child.id());
    }
}
