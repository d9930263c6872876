//! A watched process's own figures, read from outside.

use std::sync::Arc;

/// Figures of one process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vitals {
    /// CPU time used since the start, user and system, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory in bytes.
    pub working_set_bytes: u64,
    /// Threads.
    pub threads: u32,
    /// Open file descriptors.
    pub handles: u32,
    /// TCP connections, established.
    pub connections: u32,
}

/// Reads the figures of a process; `None` if it is gone.
pub type VitalsSource = Arc<dyn Fn(u32) -> Option<Vitals> + Send + Sync>;
