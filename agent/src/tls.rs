//! Where the plaintext of TLS connections is seen: at calls of OpenSSL's reading and writing functions.
//!
//! Invariant: no function is probed at two places that would both count its bytes, and no return probe is set: a
//! result is read at an instruction behind the call, which is right on any stack.

mod behind;
mod callers;
mod imports;
mod plan;
mod probes;
mod role;

use std::fmt;

use ebpf::abi;

use crate::discover::MappedFile;
use crate::probe_site::{Site, TextField};

pub use behind::Behind;
pub use plan::Planner;
pub use probes::Probes;

/// What a site stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call that reads; its result is the length.
    Read,
    /// A call that reads; its fourth argument says where the length goes.
    ReadEx,
    /// A call that writes; its result is the length.
    Write,
    /// A call that writes; its fourth argument says where the length goes.
    WriteEx,
    /// A call that writes and has flags; its fifth argument says where the length goes.
    WriteEx2,
    /// A call that sends from a file; its result is the length.
    SendFile,
    /// A step of the handshake.
    Handshake,
    /// Behind a call that reads or writes.
    Return,
    /// Behind a call that reads or writes, and all that is to be known of it is had there.
    Behind(Behind),
    /// The end of what is sent is told.
    Shutdown,
    /// The connection's object is given up.
    Free,
}

/// A site with what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The function of the library.
    pub function: &'static str,
    /// What happens there.
    pub kind: Kind,
    /// Where.
    pub site: Site,
}

/// Where a library keeps what is read of its connections, as far as that can be had: bytes behind a connection's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields {
    /// The BIO that it reads from.
    pub bio_bytes: Option<u32>,
    /// What was said of its end.
    pub state_bytes: Option<u32>,
    /// The protocol that its handshake has agreed on.
    pub agreed: Option<TextField>,
}

/// What is done with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The file.
    pub file: MappedFile,
    /// Its sites. Empty: none can be used.
    pub sites: Vec<Placed>,
    /// It is a module that calls the library; which one that is may differ by process.
    pub is_module: bool,
    /// Those of the library whose calls are seen there, in the process that was looked at.
    pub fields: Fields,
    /// What could not be placed, and why.
    pub refused: Vec<String>,
}

impl Fields {
    /// As the kernel programs know it: a field that is not known is at 0, where none of these is.
    fn library(self) -> abi::TlsLibrary {
        let agreed = self.agreed;
        abi::TlsLibrary {
            bio: self.bio_bytes.unwrap_or_default(),
            agreed: agreed.map_or(0, |field| field.at),
            agreed_within: agreed.and_then(|field| field.within).unwrap_or_default(),
            agreed_if_zero: agreed.is_some_and(|field| field.if_zero).into(),
            state: self.state_bytes.unwrap_or_default(),
            differs: 0,
        }
    }
}

impl Kind {
    /// Whether it is about a call that reads or writes.
    fn moves(self) -> bool {
        !matches!(self, Self::Handshake | Self::Shutdown | Self::Free)
    }

    /// As the kernel programs know it; `library`: the number under which they know the library; `in_module`: the site is
    /// in a module that calls it.
    pub fn cookie(self, library: u8, in_module: bool) -> u64 {
        let of_library = u64::from(library) << abi::TLS_LIBRARY | u64::from(in_module) << abi::TLS_IN_MODULE;
        match self {
            Self::Read => abi::TLS_SITE_READ,
            Self::ReadEx => abi::TLS_SITE_READ_EX,
            Self::Write => abi::TLS_SITE_WRITE,
            Self::WriteEx => abi::TLS_SITE_WRITE_EX,
            Self::WriteEx2 => abi::TLS_SITE_WRITE_EX2,
            Self::SendFile => abi::TLS_SITE_SENDFILE,
            Self::Handshake => abi::TLS_SITE_HANDSHAKE,
            Self::Return => abi::TLS_SITE_RETURN | of_library,
            Self::Behind(behind) => behind.cookie(library),
            Self::Shutdown => abi::TLS_SITE_SHUTDOWN | of_library,
            Self::Free => abi::TLS_SITE_FREE,
        }
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Return => write!(f, "behind {} at {}", self.function, self.site),
            Kind::Behind(behind) => write!(f, "behind {} at {}, {behind}", self.function, self.site),
            _ => write!(f, "{} at {}", self.function, self.site),
        }
    }
}
