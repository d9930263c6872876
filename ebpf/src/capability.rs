//! What this kernel allows, found by asking it once.

use std::fmt;
use std::fs;
use std::path::Path;

use libbpf_rs::btf::{Btf, types};

/// How the programs get to see socket calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The kernel's own socket tracepoints: Linux 6.3 and later.
    TpBtf,
    /// The return of the socket functions: Linux 5.12 (which brought the atomic additions that the programs use) to 6.2.
    Fexit,
    /// The return of the socket system calls: the last resort, as it costs every process on the host a little.
    Syscalls,
}

impl Way {
    /// Best first.
    pub const ALL: [Self; 3] = [Self::TpBtf, Self::Fexit, Self::Syscalls];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TpBtf => "tp_btf",
            Self::Fexit => "fexit",
            Self::Syscalls => "syscalls",
        })
    }
}

/// How programs are put on instructions of user code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserProbes {
    /// One link for all sites of a file, in one process or in all: Linux 6.10 and later.
    Multi,
    /// The same for sites in all processes, and one link for each site in one process: Linux 6.6 to 6.9, which take a process
    /// for its first thread (mended by kernel commit 46ba0e49b642).
    MultiInAll,
    /// One link for each site: Linux 5.15 to 6.5.
    Single,
    /// Not at all in all processes: a site could not be told from another. One link for each site in one process.
    None,
}

impl UserProbes {
    /// Whether one link serves all sites of a file in all processes.
    pub fn is_multi(self) -> bool {
        matches!(self, Self::Multi | Self::MultiInAll)
    }
}

/// `/sys/kernel/security/lockdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lockdown {
    /// Off, or the kernel has none, or securityfs is not mounted.
    None,
    /// Writing into other processes is refused; the probe does not write.
    Integrity,
    /// Reading kernel memory is refused: the probe cannot work.
    Confidentiality,
}

/// What the probe needs to know of the kernel. Data only: nothing is loaded to fill it.
#[allow(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// `/sys/kernel/btf/vmlinux` is there and can be read.
    pub btf: bool,
    /// The socket tracepoints exist (6.3, kernel commit 6e6eda44b939).
    pub socket_tracepoints: bool,
    /// The functions that the fexit programs hang on have types.
    pub socket_functions: bool,
    /// What `sendfile` and `splice` move to a socket does not pass where messages do, and where it passes has types: up to 6.4.
    pub sends_pages: bool,
    /// tracefs is mounted and lists the socket system calls.
    pub syscall_tracepoints: bool,
    /// The best way to probe user code.
    pub user_probes: UserProbes,
    /// Lockdown's mode.
    pub lockdown: Lockdown,
}

impl Capabilities {
    /// Asks the running kernel.
    pub fn probe() -> Self {
        let btf = Path::new("/sys/kernel/btf/vmlinux").exists().then(|| Btf::from_vmlinux().ok()).flatten();
        let has_function =
            |name: &str| btf.as_ref().is_some_and(|b| b.type_by_name::<types::Func<'_>>(name).is_some());
        let has_tracepoint = |name: &str| {
            let name = format!("btf_trace_{name}");
            btf.as_ref().is_some_and(|b| b.type_by_name::<types::Typedef<'_>>(&name).is_some())
        };
        let socket_tracepoints = has_tracepoint("sock_recv_length") && has_tracepoint("sock_send_length");
        let has_functions = |names: &[&str]| names.iter().all(|name| has_function(name));
        let socket_functions =
            has_functions(&["sock_recvmsg", "inet_sendmsg", "inet6_sendmsg", "unix_stream_sendmsg"]);
        let sends_pages = has_functions(&["inet_sendpage", "do_splice_direct", "do_splice"]);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let user_probes = if has_function("bpf_uprobe_multi_link_attach") {
            if parse_release(&release) >= Some((6, 10)) { UserProbes::Multi } else { UserProbes::MultiInAll }
        } else if has_function("bpf_get_attach_cookie_trace") {
            UserProbes::Single
        } else {
            UserProbes::None
        };
        Self {
            user_probes,
            socket_tracepoints,
            socket_functions,
            sends_pages,
            syscall_tracepoints: ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
                .iter()
                .any(|root| Path::new(root).join("events/syscalls/sys_exit_recvfrom/id").exists()),
            lockdown: parse_lockdown(
                &fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default(),
            ),
            btf: btf.is_some(),
        }
    }

    /// Whether the kernel has what a way hangs on. Whether it lets the probe use it shows when it is loaded.
    pub fn has(&self, way: Way) -> bool {
        match way {
            Way::TpBtf => self.socket_tracepoints,
            Way::Fexit => self.socket_functions,
            Way::Syscalls => self.syscall_tracepoints,
        }
    }
}

/// `none [integrity] confidentiality`: the mode in brackets holds.
fn parse_lockdown(text: &str) -> Lockdown {
    match text.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
        Some(("integrity", _)) => Lockdown::Integrity,
        Some(("confidentiality", _)) => Lockdown::Confidentiality,
        _ => Lockdown::None,
    }
}

/// `6.12.117+deb12-cloud-amd64`: the first two numbers.
fn parse_release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        assert_eq!(parse_release("6.12.117+deb12-cloud-amd64\n"), Some((6, 12)));
        assert_eq!(parse_release("6.9-rc1\n"), Some((6, 9)));
        assert_eq!(parse_release("5.14.0-503.el9.x86_64\n"), Some((5, 14)));
        assert_eq!(parse_release("six"), None);
        assert_eq!(parse_release(""), None);
    }

    #[test]
    fn lockdown_is_the_word_in_brackets() {
        assert_eq!(parse_lockdown("none [integrity] confidentiality\n"), Lockdown::Integrity);
        assert_eq!(parse_lockdown("none integrity [confidentiality]\n"), Lockdown::Confidentiality);
        assert_eq!(parse_lockdown("[none] integrity confidentiality\n"), Lockdown::None);
        assert_eq!(parse_lockdown(""), Lockdown::None);
    }
}
