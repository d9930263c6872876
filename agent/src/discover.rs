//! What a process is, read from `/proc`.
//!
//! Invariant: reads only, and every read is bounded. A process may go away or change at any moment: that gives
//! an error or a value of one moment, never a panic or a mix that claims to be sure.

mod app_name;
mod command_line;
mod environ;
mod files;
pub mod greenlets;
mod identity;
pub mod interpreter;
mod launcher;
mod maps;
pub mod memory;
mod origin;
pub(crate) mod pages;
mod process_title;
mod python_command;
mod sockets;
mod stat;
mod tree;
mod vitals;
mod watchable;
mod wrapper;

use std::io;
use std::path::PathBuf;

pub use maps::{FileId, MappedFile, Mapping};
pub use origin::Origin;
pub use watchable::Unwatchable;

/// A place where `/proc` is mounted.
#[derive(Debug, Clone)]
pub struct Proc {
    root: PathBuf,
    passwd: PathBuf,
}

impl Default for Proc {
    fn default() -> Self {
        Self { root: "/proc".into(), passwd: "/etc/passwd".into() }
    }
}

impl Proc {
    /// For tests and for hosts seen from a container: another `/proc` and another list of users.
    pub fn at(root: impl Into<PathBuf>, passwd: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), passwd: passwd.into() }
    }

    /// The inode number of the process's network namespace.
    pub fn netns(&self, pid: u32) -> io::Result<u32> {
        let link = std::fs::read_link(self.of(pid).join("ns/net"))?;
        let number =
            link.to_str().and_then(|link| link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
        number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a link to a network namespace"))
    }

    fn of(&self, pid: u32) -> PathBuf {
        self.root.join(pid.to_string())
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
