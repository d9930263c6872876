//! Whether a number names a process that can be watched.
//!
//! Invariant: what is refused would never have given a span.

use super::Proc;

/// `PF_KTHREAD` in include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Why a number names nothing that can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwatchable {
    /// There is no such process.
    Gone,
    /// It has ended; its parent has not noticed yet.
    Ended,
    /// It belongs to the kernel and runs no program.
    KernelThread,
    /// It is one thread of a process, not the process itself.
    Thread {
        /// The process.
        of: u32,
    },
}

impl Proc {
    /// Whether `pid` names a process that runs a program.
    pub fn watchable(&self, pid: u32) -> Result<(), Unwatchable> {
        let (Ok(stat), Ok(status)) = (self.stat(pid), self.status(pid)) else {
            return Err(Unwatchable::Gone);
        };
        // A process whose first thread has ended lives on in the others.
        let ended = matches!(stat.state, 'Z' | 'X') && status.threads <= 1;
        match status.tgid {
            _ if ended => Err(Unwatchable::Ended),
            _ if stat.flags & KERNEL_THREAD != 0 => Err(Unwatchable::KernelThread),
            of if of != 0 && of != pid => Err(Unwatchable::Thread { of }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::super::fake::{FakeProc, FakeProcess};
    use super::*;

    #[test]
    fn what_cannot_be_watched_says_why() {
        let fake = FakeProc::new();
        fake.add(&FakeProcess { pid: 7, ..Default::default() });
        for (state, flags, status, want) in [
            ("S", 4_194_304, "Tgid:\t7\nThreads:\t2\n", Ok(())),
            ("S", 0, "", Ok(())),
            ("Z", 0, "Tgid:\t7\nThreads:\t1\n", Err(Unwatchable::Ended)),
            ("Z", 0, "Tgid:\t7\nThreads:\t3\n", Ok(())),
            ("S", 2_129_984, "Tgid:\t7\nThreads:\t1\n", Err(Unwatchable::KernelThread)),
            ("S", 0, "Tgid:\t3\nThreads:\t2\n", Err(Unwatchable::Thread { of: 3 })),
        ] {
            let stat = format!("7 (x) {state} 1 1 1 0 -1 {flags} 1 0 0 0 11 22 0 0 20 0 2 0 500 1 1 0\n");
            fs::write(fake.path(7).join("stat"), stat).unwrap();
            fs::write(fake.path(7).join("status"), status).unwrap();
            assert_eq!(fake.proc.watchable(7), want, "{state} {flags} {status}");
        }
        assert_eq!(fake.proc.watchable(8), Err(Unwatchable::Gone));
    }

    #[test]
    fn this_machine_has_some_of_each() {
        let proc = Proc::default();
        let own = std::process::id();
        assert_eq!(proc.watchable(own), Ok(()));
        // Asked on a thread that cannot end meanwhile, and is not the first.
        let asked = thread::spawn(move || {
            let link = fs::read_link("/proc/thread-self").unwrap();
            proc.watchable(link.file_name().unwrap().to_str().unwrap().parse().unwrap())
        });
        assert_eq!(asked.join().unwrap(), Err(Unwatchable::Thread { of: own }));
    }
}
