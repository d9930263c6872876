//! The probes that see Python's collections of garbage.
//!
//! Invariant: they are in one process, at every site of it or at none; they go when their handle goes.

use std::path::Path;

use libbpf_rs::{MapCore, MapFlags};

use crate::kernel::{Kernel, LoadError};
use crate::user_probe::{UserProbe, place};

/// Where the count stands in the kernel side's `struct collecting`.
const NUMBER: std::ops::Range<usize> = 8..16;

impl Kernel {
    /// Puts the probes on these places of a file, counted from its start, in one process: where collections begin, and
    /// where they end.
    pub fn probe_collections(
        &self,
        pid: u32,
        file: &Path,
        (begin, end): (&[u64], &[u64]),
    ) -> Result<UserProbe, LoadError> {
        let programs = &self.skeleton.progs;
        let begins = begin.iter().map(|offset| place(&programs.collection_begins, pid, file, *offset, false));
        let ends = end.iter().map(|offset| place(&programs.collection_ends, pid, file, *offset, false));
        let links = ends.chain(begins).collect::<Result<_, _>>().map_err(|source| LoadError::Attach {
            program: format!("the probes of collections to {}", file.display()),
            source,
        })?;
        Ok(UserProbe::of(links))
    }

    /// How many collections of a process were seen so far.
    pub fn collections(&self, pid: u32) -> Option<u64> {
        let value = self.skeleton.maps.collections.lookup(&pid.to_ne_bytes(), MapFlags::ANY).ok()??;
        Some(u64::from_ne_bytes(value.get(NUMBER)?.try_into().ok()?))
    }
}
