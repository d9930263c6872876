//! Exceptions that watched processes raised, in words.

use serde::{Deserialize, Serialize};

use crate::ConnectionId;

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

/// What was raised, or is being handled, where an answer is about to be sent or a connection to be closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceptions {
    /// The connection.
    pub connection: ConnectionId,
    /// The bytes that were sent on it before: where the answer begins that this is about.
    pub sent: u64,
    /// The last one first.
    pub exceptions: Vec<Exception>,
}
