//! The sockets of a process: which it has open, and which of them are established TCP connections.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::Proc;

/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`, as `/proc/net/tcp` prints it.
const ESTABLISHED: &str = "01";
/// About a million connections; a longer list is cut.
const MAX_LIST_BYTES: u64 = 150 << 20;

/// Open descriptors, and the established TCP connections among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Descriptors {
    pub(super) open: u32,
    pub(super) connections: u32,
}

impl Proc {
    /// Whether the process still has this socket under this descriptor.
    pub fn socket_is_open(&self, pid: u32, fd: i32, inode: u64) -> bool {
        let link = fs::read_link(self.of(pid).join("fd").join(fd.to_string()));
        link.is_ok_and(|link| link.to_str().and_then(inode_of) == Some(inode))
    }

    /// Counts; zeros where the process may not be looked into.
    pub(super) fn descriptors(&self, pid: u32) -> Descriptors {
        let mut open = 0;
        let mut sockets = HashSet::new();
        for entry in fs::read_dir(self.of(pid).join("fd")).into_iter().flatten().flatten() {
            open += 1;
            let link = fs::read_link(entry.path()).ok();
            sockets.extend(link.as_ref().and_then(|link| link.to_str()).and_then(inode_of));
        }
        if sockets.is_empty() {
            return Descriptors { open, connections: 0 };
        }
        let lists = ["net/tcp", "net/tcp6"].map(|list| self.of(pid).join(list));
        Descriptors { open, connections: lists.iter().map(|list| established(list, &sockets)).sum() }
    }
}

/// `socket:[1234]`.
fn inode_of(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Counts lines of `/proc/net/tcp` (`Documentation/networking/proc_net_tcp.rst`) in the state, with the inode.
fn established(list: &Path, sockets: &HashSet<u64>) -> u32 {
    let Ok(file) = File::open(list) else { return 0 };
    let lines = BufReader::new(file.take(MAX_LIST_BYTES)).lines().map_while(Result::ok);
    let count = lines.filter(|line| {
        let mut fields = line.split_ascii_whitespace();
        // Number, local, remote, state; then six more up to the inode.
        fields.nth(3) == Some(ESTABLISHED)
            && fields
                .nth(5)
                .and_then(|inode| inode.parse().ok())
                .is_some_and(|inode| sockets.contains(&inode))
    });
    u32::try_from(count.count()).unwrap_or(u32::MAX)
}
