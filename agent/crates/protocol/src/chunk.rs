//! A run of bytes that passed in one direction of a connection, as far as it was copied.

/// One socket call's bytes. The middle may be missing: `head` are the first bytes, `tail` the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// When the call returned, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// Where the chunk begins in its direction. A step from the end of the chunk before is a loss.
    pub position: u64,
    /// How many bytes passed. `head.len() + tail.len() <= len`.
    pub len: u64,
    /// The first bytes.
    pub head: &'a [u8],
    /// The last bytes; empty where `head` reaches the end.
    pub tail: &'a [u8],
}
