//! What the pipeline learns of processes, for those who look into them.

use std::sync::Arc;

/// A kind of failed requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// Their spans' name.
    pub name: Arc<str>,
    /// The answer's status. `None`: there was no answer.
    pub status: Option<u16>,
}

/// What happened to a process, for those who look into processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It is known, or has become another program.
    Started(u32),
    /// It has ended.
    Gone(u32),
    /// It has served its first request.
    Served(u32),
    /// A request that it served has failed.
    Failed {
        /// The process.
        pid: u32,
        /// What was raised is known.
        told: bool,
        /// What kind of failure that is.
        failure: Failure,
        /// When the request began.
        since_ns: u64,
    },
}
