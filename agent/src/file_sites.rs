//! The places of one kind of probe in the files that processes execute.
//!
//! Invariant: each file is looked through once, however many processes have mapped it.

use std::path::Path;

use rustc_hash::FxHashMap;

use crate::discover::{FileId, MappedFile, Proc};
use crate::probe_site::NoSite;

/// The places, by file.
pub struct FileSites<S> {
    proc: Proc,
    find: fn(&Path) -> Result<S, NoSite>,
    known: FxHashMap<FileId, Result<S, NoSite>>,
}

impl<S> FileSites<S> {
    /// None known yet; `find` looks through a file.
    pub fn new(find: fn(&Path) -> Result<S, NoSite>) -> Self {
        Self { proc: Proc::default(), find, known: FxHashMap::default() }
    }

    /// The places in the file that a process knows by this path; the error says why there are none.
    pub fn of(&mut self, pid: u32, path: &str) -> anyhow::Result<(MappedFile, &S)> {
        let file = self.proc.mapped_file(pid, path)?;
        let sites = self.known.entry(file.id).or_insert_with(|| (self.find)(&file.path));
        let sites = sites.as_ref().map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
        Ok((file, sites))
    }
}
