//! The times around a call, as far as the kernel tells them.

/// What the kernel tells of the times around a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// CPU time that the thread had used by then. Counts from a beginning of its own, and may wrap: only differences
    /// mean something, of one thread.
    pub ran_ns: Option<u64>,
    /// How long the bytes that were read had been there.
    pub waited: Option<Waited>,
    /// When the bytes were written, if that is known and an event loop has sent them later.
    pub written_ns: Option<u64>,
}

/// How long bytes had waited to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// So long, or at most a step more or less.
    pub for_ns: u64,
    /// How finely the kernel counts it.
    pub step_ns: u64,
}
