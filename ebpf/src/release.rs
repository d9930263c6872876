//! Lets go of links so that the kernel's own threads take off what hangs on them.
//!
//! Invariant: no thread of this process is the last to hold a link on user code while it can be killed. One that is killed while it
//! takes breakpoints off leaves them where they are for good, in each process (`get_user_pages_remote` gives up for it, and
//! `uprobe_unregister_nosync` then says "leaking uprobe", kernel/events/uprobes.c of Linux 6.18). So a link gets a name in a file
//! system of its own before it is closed, and the name is removed: `bpf_link_put` leaves the rest to a worker of the kernel
//! (kernel/bpf/syscall.c), which nobody can kill. Nor does anybody wait for it; it takes a tenth of a second on a busy machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libbpf_rs::Link;
use libbpf_rs::query::ProgInfoIter;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Most that the end of the process waits.
const LIMIT: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A file system that nobody else sees and that ends with this process. `None`: the kernel does not allow it.
static NAMES: LazyLock<Option<OwnedFd>> = LazyLock::new(|| {
    let names = mount();
    if let Err(error) = &names {
        tracing::debug!("no file system for the names of links: {error}");
    }
    names.ok()
});

/// The programs whose links were let go of.
static RELEASED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Dropped, it waits until the programs that user code was left by are gone, so that who looks after this process's end finds
/// nothing. What is still attached then, and so in use, is waited for in vain: drop that first.
#[derive(Debug)]
pub struct UntilReleased;

impl Drop for UntilReleased {
    fn drop(&mut self) {
        let released = std::mem::take(&mut *RELEASED.lock().unwrap_or_else(PoisonError::into_inner));
        let begin = Instant::now();
        while begin.elapsed() < LIMIT && ProgInfoIter::default().any(|program| released.contains(&program.id))
        {
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Takes a link off. Soon, not at once.
pub(crate) fn release(mut link: Link) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    if let Ok(info) = link.info() {
        RELEASED.lock().unwrap_or_else(PoisonError::into_inner).insert(info.prog_id);
    }
    let Some(names) = NAMES.as_ref() else { return };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = PathBuf::from(format!("/proc/self/fd/{}/{number}", names.as_raw_fd()));
    if let Err(error) = link.pin(&name) {
        // It is closed here then.
        return tracing::debug!("a link gets no name: {error}");
    }
    drop(link);
    if let Err(error) = fs::remove_file(&name) {
        tracing::debug!("a link keeps its name, and goes with this process: {error}");
    }
}

fn mount() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
