//! The probes that see Python's contexts being copied, and what is written in them for later.
//!
//! Invariant: they are in one process, at every site of it or at none; they go when their handle goes.

use std::path::Path;

use crate::kernel::{Kernel, LoadError};
use crate::user_probe::{Placed, UserProbe};

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
    /// Where a stream is given bytes that it sends later: who writes is seen.
    Written(u64),
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
        let (mut given, mut passed, mut greenlets, mut returned) = (vec![], vec![], vec![], vec![]);
        let mut written = vec![];
        for site in sites {
            match *site {
                ContextSite::Given(offset) => given.push(offset),
                ContextSite::Passed(offset) => passed.push(offset),
                ContextSite::Greenlet(offset) => greenlets.push(offset),
                ContextSite::Returned(offset) => returned.push(offset),
                ContextSite::Written(offset) => written.push(offset),
            }
        }
        let placed = [
            Placed::at(&programs.context_given, given),
            Placed::at(&programs.context_passed, passed),
            Placed::at(&programs.greenlet_made, greenlets),
            Placed::at(&programs.stream_written, written),
            Placed::behind(&programs.context_given, returned),
        ];
        self.probe_process("the probes of contexts", pid, file, &placed)
    }
}
