//! Programs on instructions of user code.
//!
//! Invariant: a probe is where it was put or nowhere; it goes when its handle goes, and nobody waits for that.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use libbpf_rs::{Link, ProgramMut, UprobeMultiOpts, UprobeOpts};

use crate::capability::UserProbes;
use crate::kernel::{Kernel, LoadError};

/// The process number that stands for every process.
const EVERY_PROCESS: i32 = -1;

/// A program that can be put on user code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserProgram {
    /// Calls of a TLS library; cookies are `TLS_SITE_*`.
    Tls,
}

/// An instruction in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserSite {
    /// From the start of the file.
    pub offset: u64,
    /// What the program is told when it runs there.
    pub cookie: u64,
}

/// Enough to close a link.
const DETACH_STACK_BYTES: usize = 64 << 10;

/// The threads that take links off.
static DETACHING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Dropped, it waits until all probes that were dropped before have been taken off. A thread that is killed while it takes one
/// off, as all are at the end of their process, leaves the breakpoints where they are for good, in each process
/// (`get_user_pages_remote` gives up for it, and `uprobe_unregister_nosync` then says "leaking uprobe", kernel/events/uprobes.c).
#[derive(Debug)]
pub struct UntilDetached;

impl Drop for UntilDetached {
    fn drop(&mut self) {
        loop {
            let thread = DETACHING.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(thread) = thread else { return };
            // It has nothing to say, and cannot panic.
            drop(thread.join());
        }
    }
}

/// A program in place; dropped, it is taken off again.
#[derive(Debug)]
pub struct UserProbe {
    links: Vec<Link>,
}

impl UserProbe {
    pub(crate) fn of(links: Vec<Link>) -> Self {
        Self { links }
    }
}

impl Drop for UserProbe {
    /// The instruction is what it was at once, but then the kernel waits until nobody can be in the program any more
    /// (`uprobe_unregister_sync`, kernel/events/uprobes.c): a tenth of a second on a busy machine. One after the other, the
    /// last one would go on being hit meanwhile. See [`UntilDetached`] for the end of the process.
    fn drop(&mut self) {
        let mut detaching = DETACHING.lock().unwrap_or_else(PoisonError::into_inner);
        detaching.retain(|thread| !thread.is_finished());
        for link in self.links.drain(..) {
            let detach = thread::Builder::new().name("detach".into()).stack_size(DETACH_STACK_BYTES);
            // Without a thread it is dropped here.
            detaching.extend(detach.spawn(move || drop(link)));
        }
    }
}

impl Kernel {
    /// Puts a program on instructions of a file, in every process that has it mapped now or later; what it does
    /// with processes that are not watched is its own affair. All sites or none.
    pub fn probe_user(
        &mut self,
        program: UserProgram,
        file: &Path,
        sites: &[UserSite],
    ) -> Result<UserProbe, LoadError> {
        let programs = &self.skeleton.progs;
        let (multi, single) = match program {
            UserProgram::Tls => (&programs.user_tls_multi, &programs.user_tls_single),
        };
        let links = match self.user_probes {
            UserProbes::Multi => multi_link(multi, file, sites).map(|link| vec![link]),
            UserProbes::Single => {
                sites.iter().map(|site| single_link(single, EVERY_PROCESS, file, *site)).collect()
            }
            UserProbes::None => return Err(LoadError::NoUserProbes),
        };
        let links = links.map_err(|source| LoadError::Attach {
            program: format!("{program:?} to {}", file.display()),
            source,
        })?;
        Ok(UserProbe::of(links))
    }
}

fn multi_link(program: &ProgramMut<'_>, file: &Path, sites: &[UserSite]) -> libbpf_rs::Result<Link> {
    let options = UprobeMultiOpts {
        offsets: sites.iter().map(|site| site.offset as usize).collect(),
        cookies: sites.iter().map(|site| site.cookie).collect(),
        ..UprobeMultiOpts::default()
    };
    program.attach_uprobe_multi_with_opts(EVERY_PROCESS, file, "", options)
}

/// Puts a program on one instruction of one process, or on the return from the function that begins there.
pub(crate) fn place(
    program: &ProgramMut<'_>,
    pid: u32,
    file: &Path,
    offset: u64,
    retprobe: bool,
) -> libbpf_rs::Result<Link> {
    let options = UprobeOpts { retprobe, ..UprobeOpts::default() };
    program.attach_uprobe_with_opts(pid.cast_signed(), file, offset as usize, options)
}

fn single_link(program: &ProgramMut<'_>, pid: i32, file: &Path, site: UserSite) -> libbpf_rs::Result<Link> {
    let options = UprobeOpts { cookie: site.cookie, ..UprobeOpts::default() };
    program.attach_uprobe_with_opts(pid, file, site.offset as usize, options)
}
