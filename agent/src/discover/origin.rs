//! Which file the kernel puts a probe on.
//!
//! Containers of one image have their files through an overlayfs each. Such files differ in device, but a probe goes to the file
//! below (`d_real_inode` in `kernel/trace/bpf_trace.c` and `kernel/trace/trace_uprobe.c`), which may be the same for all.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::maps::{FileId, MappedFile};
use crate::sys::file_handle;

/// `OVL_FILEID_V1` (`fs/overlayfs/overlayfs.h`): the bytes name the file below and that one's file system (`struct ovl_fb`). They are
/// told since Linux 6.6, without any option of the mount.
const OF_OVERLAYFS: i32 = 0xf8;

/// A file that probes are put on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// As it is mapped.
    Itself(FileId),
    /// Below overlayfs.
    Below(Layered),
}

/// A file below overlayfs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layered {
    handle: Vec<u8>,
    /// Not every file system has a number of its own, nor gives one to its files once only.
    bytes: u64,
    modified: (i64, i64),
}

impl MappedFile {
    /// What a probe of it is put on.
    pub fn origin(&self) -> Origin {
        let below = || {
            let (_, handle) = file_handle(&self.path).ok().filter(|(kind, _)| *kind == OF_OVERLAYFS)?;
            let metadata = fs::metadata(&self.path).ok()?;
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            Some(Layered { handle, bytes: metadata.len(), modified })
        };
        below().map_or(Origin::Itself(self.id), Origin::Below)
    }
}
