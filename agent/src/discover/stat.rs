//! `/proc/PID/stat`, `/proc/PID/status` and what the host's `/proc/stat` adds to them.

use std::io;

use super::Proc;
use super::files::read_text;

/// `USER_HZ`: ticks of `/proc` a second, 100 in the ABI of every architecture this runs on
/// (include/uapi/asm-generic/param.h).
const TICKS_PER_SECOND: u64 = 100;
const MS_PER_TICK: u64 = 1000 / TICKS_PER_SECOND;
const MAX_BYTES: u64 = 64 << 10;

/// The fields of `/proc/PID/stat` that are used, numbered as in `proc_pid_stat(5)`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 3: `Z` once it has ended and its parent has not asked how.
    pub(super) state: char,
    /// Field 9 (`PF_*` of include/linux/sched.h).
    pub(super) flags: u64,
    /// Field 4.
    pub(super) parent_pid: u32,
    /// Fields 14 and 15: user and system time, in milliseconds.
    pub(super) cpu_ms: u64,
    /// Field 22: start after boot, in milliseconds.
    pub(super) start_ms: u64,
}

/// The fields of `/proc/PID/status` that are used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) name: String,
    /// The process that a thread belongs to; 0 if the kernel does not say.
    pub(super) tgid: u32,
    pub(super) uid: u32,
    pub(super) resident_bytes: u64,
    pub(super) threads: u32,
}

impl Proc {
    pub(super) fn stat(&self, pid: u32) -> io::Result<Stat> {
        let text = read_text(&self.of(pid).join("stat"), MAX_BYTES)?;
        parse_stat(&text).ok_or_else(|| malformed("/proc/PID/stat"))
    }

    pub(super) fn status(&self, pid: u32) -> io::Result<Status> {
        Ok(parse_status(&read_text(&self.of(pid).join("status"), MAX_BYTES)?))
    }

    /// When the host started, in milliseconds of Unix time (whole seconds).
    pub(super) fn boot_unix_ms(&self) -> io::Result<i64> {
        // The line stands behind one of interrupt counts, which can be long.
        let text = read_text(&self.root.join("stat"), 8 << 20)?;
        let seconds = text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok());
        seconds.and_then(|s| s.checked_mul(1000)).ok_or_else(|| malformed("/proc/stat"))
    }
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} is not as expected"))
}

/// The command name in parentheses may itself hold spaces and parentheses: the last one counts.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // The first field behind the name is number 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        flags: field(9)?,
        parent_pid: u32::try_from(field(4)?).ok()?,
        cpu_ms: field(14)?.saturating_add(field(15)?).saturating_mul(MS_PER_TICK),
        start_ms: field(22)?.saturating_mul(MS_PER_TICK),
    })
}

fn parse_status(text: &str) -> Status {
    let mut status = Status::default();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let first = value.split_whitespace().next().unwrap_or_default();
        match key {
            "Name" => value.trim().clone_into(&mut status.name),
            "Tgid" => status.tgid = first.parse().unwrap_or_default(),
            "Uid" => status.uid = first.parse().unwrap_or_default(),
            "VmRSS" => status.resident_bytes = first.parse::<u64>().unwrap_or_default().saturating_mul(1024),
            "Threads" => status.threads = first.parse().unwrap_or_default(),
            _ => {}
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194304 1 0 0 0 11 22 0 0 20 0 1 0 500 1000 10 0\n";
        assert_eq!(
            parse_stat(text),
            Some(Stat { state: 'S', flags: 4_194_304, parent_pid: 3, cpu_ms: 330, start_ms: 5000 })
        );
    }

    #[test]
    fn a_broken_stat_is_none() {
        for text in ["", "7", "7 (a) S", "7 (a) S x 7 7 0 -1 0 1 0 0 0 11 22 0 0 20 0 1 0 500", "7 a S 3"] {
            assert_eq!(parse_stat(text), None, "{text:?}");
        }
    }

    #[test]
    fn status_is_read_by_key() {
        let text =
            "Name:\tgunicorn: x\nTgid:\t6\nUid:\t1000\t0\t0\t0\nThreads:\t3\nVmRSS:\t    20 kB\nJunk\n";
        let name = "gunicorn: x".into();
        let expected = Status { name, tgid: 6, uid: 1000, resident_bytes: 20_480, threads: 3 };
        assert_eq!(parse_status(text), expected);
        assert_eq!(parse_status("Uid: x\n"), Status::default());
    }
}
