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

/// Where a program goes in one process.
pub(crate) struct Placed<'a> {
    program: &'a ProgramMut<'a>,
    offsets: Vec<u64>,
    is_behind: bool,
}

impl<'a> Placed<'a> {
    /// At instructions, counted from the start of the file; or at none.
    pub(crate) fn at(program: &'a ProgramMut<'a>, offsets: Vec<u64>) -> Self {
        Self { program, offsets, is_behind: false }
    }

    /// The same for the returns from the functions that begin there.
    pub(crate) fn behind(program: &'a ProgramMut<'a>, offsets: Vec<u64>) -> Self {
        Self { is_behind: true, ..Self::at(program, offsets) }
    }

    fn attach(&self, probes: UserProbes, pid: i32, file: &Path) -> libbpf_rs::Result<Vec<Link>> {
        if self.offsets.is_empty() {
            return Ok(Vec::new());
        }
        if probes == UserProbes::Multi {
            let options = UprobeMultiOpts {
                offsets: self.offsets.iter().map(|offset| *offset as usize).collect(),
                retprobe: self.is_behind,
                ..UprobeMultiOpts::default()
            };
            return Ok(vec![self.program.attach_uprobe_multi_with_opts(pid, file, "", options)?]);
        }
        let one = |offset: &u64| {
            let options = UprobeOpts { retprobe: self.is_behind, ..UprobeOpts::default() };
            self.program.attach_uprobe_with_opts(pid, file, *offset as usize, options)
        };
        self.offsets.iter().map(one).collect()
    }
}

/// A program in place; dropped, it is taken off again.
#[derive(Debug)]
pub struct UserProbe {
    links: Vec<Link>,
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
        let links = match self.user_probes {
            UserProbes::Multi | UserProbes::MultiInAll => {
                multi_link(multi, file, sites).map(|link| vec![link])
            }
            UserProbes::Single => sites.iter().map(|site| single_link(single, file, *site)).collect(),
            UserProbes::None => return Err(LoadError::NoUserProbes),
        };
        let attached = links.map(|links| UserProbe { links });
        attached.map_err(|source| refused(&format!("{program:?}"), file, source))
    }

    /// Puts programs on instructions of a file, in one process. All or none. `name`: how an error calls them.
    pub(crate) fn probe_process(
        &self,
        name: &str,
        pid: u32,
        file: &Path,
        placed: &[Placed<'_>],
    ) -> Result<UserProbe, LoadError> {
        let mut probe = UserProbe { links: Vec::new() };
        for placed in placed {
            let links = placed.attach(self.user_probes, pid.cast_signed(), file);
            probe.links.extend(links.map_err(|source| refused(name, file, source))?);
        }
        Ok(probe)
    }
}

fn refused(name: &str, file: &Path, source: libbpf_rs::Error) -> LoadError {
    LoadError::Attach { program: format!("{name} to {}", file.display()), source }
}

fn multi_link(program: &ProgramMut<'_>, file: &Path, sites: &[UserSite]) -> libbpf_rs::Result<Link> {
    let options = UprobeMultiOpts {
        offsets: sites.iter().map(|site| site.offset as usize).collect(),
        cookies: sites.iter().map(|site| site.cookie).collect(),
        ..UprobeMultiOpts::default()
    };
    program.attach_uprobe_multi_with_opts(EVERY_PROCESS, file, "", options)
}

fn single_link(program: &ProgramMut<'_>, file: &Path, site: UserSite) -> libbpf_rs::Result<Link> {
    let options = UprobeOpts { cookie: site.cookie, ..UprobeOpts::default() };
    program.attach_uprobe_with_opts(EVERY_PROCESS, file, site.offset as usize, options)
}
