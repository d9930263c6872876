//! The probes that see Python's collections of garbage.
//!
//! Invariant: they are in one process, at every site of it or at none; they go when their handle goes.

use std::path::Path;

use libbpf_rs::{MapCore, MapFlags};

use crate::kernel::{Kernel, LoadError};
use crate::user_probe::{Placed, UserProbe};

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
        let ends = Placed::at(&programs.collection_ends, end.to_vec());
        let begins = Placed::at(&programs.collection_begins, begin.to_vec());
        self.probe_process("the probes of collections", pid, file, &[ends, begins])
    }

    /// How many collections of a process were seen so far.
    pub fn collections(&self, pid: u32) -> Option<u64> {
        let value = self.skeleton.maps.collections.lookup(&pid.to_ne_bytes(), MapFlags::ANY).ok()??;
        Some(u64::from_ne_bytes(value.get(NUMBER)?.try_into().ok()?))
    }
}
