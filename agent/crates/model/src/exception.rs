//! Exceptions that watched processes raised, in words.

use serde::{Deserialize, Serialize};

use crate::{ConnectionId, TlsSessionId};

/// An exception that left the code that serves requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// When it left its first frame, in nanoseconds of the monotonic clock. 0: not seen, but it is being handled now.
    pub raised_ns: u64,
    /// `module.QualName`; built-in ones without their module.
    pub type_name: String,
    /// What it says. `None`: not known.
    pub message: Option<String>,
    /// As the language's own runtime writes it, the innermost frame last.
    pub stacktrace: String,
}

/// What an answer is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Bearer {
    /// A connection.
    Connection(ConnectionId),
    /// What stands for a connection in a TLS library.
    TlsSession(TlsSessionId),
}

/// What was raised, or is being handled, where an answer is about to be sent or a connection to be closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceptions {
    /// What the answer is sent on.
    pub on: Bearer,
    /// The bytes that were sent on it before, inside TLS of the clear text: where the answer begins that this is about.
    pub sent: u64,
    /// The stream that the answer is for, in HTTP/2.
    pub stream: Option<u32>,
    /// When the last was raised of what had to give way to others' before this was told, if anything had to.
    #[serde(default)]
    pub displaced_ns: Option<u64>,
    /// The last one first.
    pub exceptions: Vec<Exception>,
}
