//! The probes that see Python's contexts being copied.
//!
//! Invariant: they are in one process, at every site of it or at none; they go when their handle goes.

use std::path::Path;

use crate::kernel::{Kernel, LoadError};
use crate::user_probe::{UserProbe, place};

/// An instruction of a file at which a new context can be seen, counted from the file's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextSite {
    /// Behind the call that gives it.
    Given(u64),
    /// The call that is given it first.
    Passed(u64),
    /// Where the function begins that gives it: the context is seen when it returns.
    Returned(u64),
    /// The call of what makes a greenlet, which is as good as a context.
    Greenlet(u64),
}

impl Kernel {
    /// Puts the probes on these places of a file, in one process.
    pub fn probe_contexts(
        &self,
        pid: u32,
        file: &Path,
        sites: &[ContextSite],
    ) -> Result<UserProbe, LoadError> {
        let programs = &self.skeleton.progs;
        let attach = |site: &ContextSite| match *site {
            ContextSite::Given(offset) => place(&programs.context_given, pid, file, offset, false),
            ContextSite::Passed(offset) => place(&programs.context_passed, pid, file, offset, false),
            ContextSite::Greenlet(offset) => place(&programs.greenlet_made, pid, file, offset, false),
            ContextSite::Returned(offset) => place(&programs.context_given, pid, file, offset, true),
        };
        let links = sites.iter().map(attach).collect::<Result<_, _>>().map_err(|source| {
            LoadError::Attach { program: format!("the probes of contexts to {}", file.display()), source }
        })?;
        Ok(UserProbe::of(links))
    }
}
