//! Puts the kernel programs in place and names the processes to watch.
//!
//! Invariant: a refusal of the kernel is a line that says what to do, and leaves nothing attached.

use std::collections::BTreeSet;
use std::fs;

use ebpf::{Capabilities, Kernel, LoadError, Lockdown, Options, UserProbes, Way};
use model::AppIdSource;

use crate::check::WayReport;
use crate::clock;
use crate::config::{self, KernelConfig};
use crate::discover::{Proc, Unwatchable};
use crate::exit::{Exit, Failure};

/// `PROC_PID_INIT_INO` in `include/linux/proc_ns.h`: the namespace whose numbers the kernel programs see.
const INIT_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Capabilities that loading needs, by number (include/uapi/linux/capability.h).
const CAP_SYS_ADMIN: u8 = 21;
const NEEDED: [(u8, &str); 2] = [(38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// The programs in place.
pub struct Attached {
    /// The programs.
    pub kernel: Kernel,
    /// The way that was chosen.
    pub way: Way,
    /// Ways that are better but did not work.
    pub refused: Vec<WayReport>,
}

/// Loads and attaches by the best way that works. Nothing is watched yet.
/// `exceptions`: those of Python are asked for.
pub fn attach(settings: &KernelConfig, exceptions: bool) -> Result<Attached, Failure> {
    permitted(&fs::read_to_string("/proc/self/status").unwrap_or_default())?;
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if namespace.as_os_str() != INIT_PID_NAMESPACE {
        return Err(Failure::new(Exit::Kernel, "cannot tell processes apart")
            .because("the probe runs in a pid namespace of its own")
            .hint("run it on the host, or in a container that shares the host's pid namespace"));
    }
    let capabilities = Capabilities::probe();
    usable(&capabilities)?;
    let mut refused = Vec::new();
    for way in ways(settings.way) {
        match try_way(&capabilities, settings, way, exceptions) {
            Ok(kernel) => return Ok(Attached { kernel, way, refused }),
            Err(reason) => refused.push(WayReport { way: way.to_string(), refused: Some(reason) }),
        }
    }
    Err(no_way(&refused))
}

/// The failure to give when every way was tried in vain.
pub fn no_way(refused: &[WayReport]) -> Failure {
    let reason = |way: &WayReport| format!("{}: {}", way.way, way.refused.as_deref().unwrap_or("not tried"));
    Failure::new(Exit::Kernel, "the kernel offers no way to see socket calls")
        .because(refused.iter().map(reason).collect::<Vec<_>>().join(", "))
        .hint("it takes Linux 5.12 or later; `stardust-probe check` tells more")
}

/// How a person would say where an app's name is from.
pub const fn source_of(source: AppIdSource) -> &'static str {
    match source {
        AppIdSource::Flag => "as configured",
        AppIdSource::StardustEnv => "from STARDUST_APP_ID",
        AppIdSource::OtelEnv => "from OTEL_SERVICE_NAME",
        AppIdSource::CommandLine => "from its command line",
    }
}

/// Watches processes and all their descendants. Gives the pids watched, those named first.
pub fn watch(kernel: &mut Kernel, roots: &[u32]) -> Result<Vec<u32>, Failure> {
    let own = std::process::id();
    let proc = Proc::default();
    let mut watched: Vec<u32> = Vec::new();
    let mut known = BTreeSet::new();
    for root in roots {
        if *root == own {
            return Err(Failure::usage("the probe does not watch itself").hint("name another process"));
        }
        // Before its children are listed: from here on the kernel adds those that are born.
        kernel.watch(*root).map_err(|error| map_failure(&error))?;
        if let Err(why) = proc.watchable(*root) {
            kernel.unwatch(*root);
            return Err(unwatchable(*root, why));
        }
        if known.insert(*root) {
            watched.push(*root);
        }
    }
    // A child of a child that was not watched yet can slip through one round, not through a round without news.
    loop {
        let mut news = false;
        for root in roots {
            for pid in proc.descendants(*root) {
                if pid != own && known.insert(pid) {
                    kernel.watch(pid).map_err(|error| map_failure(&error))?;
                    watched.push(pid);
                    news = true;
                }
            }
        }
        if !news {
            return Ok(watched);
        }
    }
}

/// The failure to give when a process is not there (any more).
pub fn gone(pid: u32) -> Failure {
    Failure::new(Exit::NoInput, format!("no process {pid}"))
        .because("it does not exist or has just ended")
        .hint("look it up again, for instance with `pgrep -f gunicorn`")
}

/// The failure to give when a number names nothing that can be watched.
pub fn unwatchable(pid: u32, why: Unwatchable) -> Failure {
    match why {
        Unwatchable::Gone => gone(pid),
        Unwatchable::Ended => Failure::new(Exit::NoInput, format!("process {pid} has ended"))
            .because("only its entry is left, for its parent to read")
            .hint("look it up again, for instance with `pgrep -f gunicorn`"),
        Unwatchable::KernelThread => Failure::usage(format!("cannot watch {pid}"))
            .because("it is a thread of the kernel and runs no program")
            .hint("name the service's first process"),
        Unwatchable::Thread { of } => Failure::usage(format!("cannot watch {pid}"))
            .because(format!("it is one thread of process {of}"))
            .hint(format!("use --pid {of}")),
    }
}

/// The ways to try, best first.
pub fn ways(wanted: config::Way) -> Vec<Way> {
    match wanted {
        config::Way::Auto => Way::ALL.to_vec(),
        config::Way::TpBtf => vec![Way::TpBtf],
        config::Way::Fexit => vec![Way::Fexit],
        config::Way::Syscalls => vec![Way::Syscalls],
    }
}

/// Tries one way; the error says why it does not work.
pub fn try_way(
    capabilities: &Capabilities,
    settings: &KernelConfig,
    way: Way,
    exceptions: bool,
) -> Result<Kernel, String> {
    if !capabilities.has(way) {
        return Err(match way {
            Way::TpBtf => "the socket tracepoints are missing (they came with Linux 6.3)".to_owned(),
            Way::Fexit => "the socket functions have no types in this kernel".to_owned(),
            Way::Syscalls => {
                "tracefs is not mounted (mount -t tracefs tracefs /sys/kernel/tracing) or lacks system calls"
                    .to_owned()
            }
        });
    }
    // Socket storage came to fexit programs in 5.11; pointers found through a file may never use it.
    let storages: &[bool] = match way {
        Way::TpBtf | Way::Fexit => &[true, false],
        Way::Syscalls => &[false],
    };
    let mut reason = String::new();
    // A kernel that refuses programs for user code, or those that keep exceptions, still shows the sockets.
    let user_probes = match settings.uprobes {
        config::Uprobes::Auto => vec![capabilities.user_probes, UserProbes::None],
        config::Uprobes::Multi if capabilities.user_probes.is_multi() => vec![capabilities.user_probes],
        config::Uprobes::Multi => vec![UserProbes::Multi],
        config::Uprobes::Single => vec![UserProbes::Single],
    };
    let keeps = if exceptions { &[true, false][..] } else { &[false] };
    let tries = storages.iter().flat_map(|storage| {
        user_probes
            .iter()
            .flat_map(move |user_probes| keeps.iter().map(move |keep| (*storage, *user_probes, *keep)))
    });
    for (socket_storage, user_probes, exceptions) in tries {
        let options = Options {
            way,
            sends_pages: capabilities.sends_pages,
            user_probes,
            socket_storage,
            ring_bytes: settings.ring_bytes,
            head_bytes: settings.head_bytes,
            whole_bytes: settings.http2_bytes,
            tick_us: clock::tick_us(),
            max_processes: settings.max_processes,
            exceptions,
            max_connections: settings.max_connections,
        };
        match Kernel::load(&options).and_then(|mut kernel| kernel.attach().map(|()| kernel)) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => reason = error.to_string(),
        }
        tracing::debug!(socket_storage, ?user_probes, exceptions, "the kernel refused: {reason}");
    }
    Err(reason)
}

/// Whether the kernel has the first necessities.
pub fn usable(capabilities: &Capabilities) -> Result<(), Failure> {
    if capabilities.lockdown == Lockdown::Confidentiality {
        return Err(Failure::new(Exit::Kernel, "the kernel is locked down in confidentiality mode")
            .because("programs may not read kernel memory then")
            .hint("boot with lockdown=integrity, or use another host"));
    }
    if !capabilities.btf {
        return Err(Failure::new(Exit::Kernel, "this kernel has no type information")
            .because("/sys/kernel/btf/vmlinux is missing or cannot be read")
            .hint("use a kernel of version 5.12 or later built with CONFIG_DEBUG_INFO_BTF=y"));
    }
    Ok(())
}

/// Whether this process may load programs, from the text of `/proc/self/status`.
pub fn permitted(status: &str) -> Result<(), Failure> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return Ok(()); // Unknown: the kernel will say.
    };
    let has = |number: u8| effective & (1 << number) != 0;
    if has(CAP_SYS_ADMIN) {
        return Ok(());
    }
    let missing: Vec<_> = NEEDED.iter().filter(|(number, _)| !has(*number)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::NotAllowed, "not allowed to load kernel programs")
        .because(format!("missing {}", missing.join(" and ")))
        .hint("run it as root: sudo stardust-probe ..."))
}

fn map_failure(error: &LoadError) -> Failure {
    Failure::new(Exit::Kernel, "cannot watch the process").because(error).hint("raise kernel.max_processes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        for (bits, want) in [
            (1_u64 << 21, None),
            (1 << 38 | 1 << 39, None),
            (0, Some("missing CAP_PERFMON and CAP_BPF")),
            (1 << 39, Some("missing CAP_PERFMON;")),
        ] {
            let status = format!("Name:\tx\nCapEff:\t{bits:016x}\n");
            match (permitted(&status), want) {
                (Ok(()), None) => {}
                (Err(failure), Some(want)) => {
                    assert_eq!(failure.exit, Exit::NotAllowed);
                    assert!(failure.to_string().contains(want), "{failure}");
                }
                (got, want) => panic!("{bits:x}: {got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn a_kernel_that_cannot_says_what_to_do() {
        let fine = Capabilities {
            btf: true,
            socket_tracepoints: true,
            socket_functions: true,
            sends_pages: false,
            syscall_tracepoints: true,
            user_probes: UserProbes::Multi,
            lockdown: Lockdown::Integrity,
        };
        assert!(usable(&fine).is_ok());
        let locked = Capabilities { lockdown: Lockdown::Confidentiality, ..fine.clone() };
        assert_eq!(usable(&locked).unwrap_err().exit, Exit::Kernel);
        let bare = Capabilities { btf: false, ..fine };
        assert!(usable(&bare).unwrap_err().to_string().contains("CONFIG_DEBUG_INFO_BTF"));
    }
}
