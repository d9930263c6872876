//! Programs on instructions of user code.
//!
//! Invariant: a probe is where it was put or nowhere; it goes when its handle goes, and nobody waits for that.

use std::path::Path;

use libbpf_rs::{Link, ProgramMut, UprobeMultiOpts, UprobeOpts};

use crate::capability::UserProbes;
use crate::kernel::{Kernel, LoadError};
use crate::release::release;

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

/// Where a program goes.
pub(crate) struct Placed<'a> {
    program: &'a ProgramMut<'a>,
    sites: Vec<UserSite>,
    is_behind: bool,
}

impl<'a> Placed<'a> {
    /// At instructions, counted from the start of the file; or at none.
    pub(crate) fn at(program: &'a ProgramMut<'a>, offsets: Vec<u64>) -> Self {
        let sites = offsets.into_iter().map(|offset| UserSite { offset, cookie: 0 }).collect();
        Self { program, sites, is_behind: false }
    }

    /// The same for the returns from the functions that begin there.
    pub(crate) fn behind(program: &'a ProgramMut<'a>, offsets: Vec<u64>) -> Self {
        Self { is_behind: true, ..Self::at(program, offsets) }
    }
}

/// A program in place; dropped, it is taken off again.
#[derive(Debug, Default)]
pub struct UserProbe {
    links: Vec<Link>,
}

impl UserProbe {
    fn put_at_once(&mut self, placed: &Placed<'_>, pid: i32, file: &Path) -> libbpf_rs::Result<()> {
        let options = UprobeMultiOpts {
            offsets: placed.sites.iter().map(|site| site.offset as usize).collect(),
            cookies: placed.sites.iter().map(|site| site.cookie).collect(),
            retprobe: placed.is_behind,
            ..UprobeMultiOpts::default()
        };
        self.links.push(placed.program.attach_uprobe_multi_with_opts(pid, file, "", options)?);
        Ok(())
    }

    fn put_one_by_one(&mut self, placed: &Placed<'_>, pid: i32, file: &Path) -> libbpf_rs::Result<()> {
        for site in &placed.sites {
            let options =
                UprobeOpts { cookie: site.cookie, retprobe: placed.is_behind, ..UprobeOpts::default() };
            let link = placed.program.attach_uprobe_with_opts(pid, file, site.offset as usize, options)?;
            self.links.push(link);
        }
        Ok(())
    }
}

impl Drop for UserProbe {
    fn drop(&mut self) {
        self.links.drain(..).for_each(release);
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
        if self.user_probes == UserProbes::None {
            return Err(LoadError::NoUserProbes);
        }
        let is_multi = self.user_probes.is_multi();
        let chosen = if is_multi { multi } else { single };
        let placed = Placed { program: chosen, sites: sites.to_vec(), is_behind: false };
        put(&format!("{program:?}"), (EVERY_PROCESS, file), &[placed], is_multi)
    }

    /// Puts programs on instructions of a file, in one process. All or none. `name`: how an error calls them.
    pub(crate) fn probe_process(
        &self,
        name: &str,
        pid: u32,
        file: &Path,
        placed: &[Placed<'_>],
    ) -> Result<UserProbe, LoadError> {
        put(name, (pid.cast_signed(), file), placed, self.user_probes == UserProbes::Multi)
    }
}

/// What is in place when one is refused is taken off as any other.
fn put(
    name: &str,
    (pid, file): (i32, &Path),
    placed: &[Placed<'_>],
    is_multi: bool,
) -> Result<UserProbe, LoadError> {
    let mut probe = UserProbe::default();
    for placed in placed.iter().filter(|placed| !placed.sites.is_empty()) {
        let put = if is_multi {
            probe.put_at_once(placed, pid, file)
        } else {
            probe.put_one_by_one(placed, pid, file)
        };
        let program = || format!("{name} to {}", file.display());
        put.map_err(|source| LoadError::Attach { program: program(), source })?;
    }
    Ok(probe)
}
