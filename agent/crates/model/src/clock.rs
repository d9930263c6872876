//! Monotonic time to wall time.

/// Turns monotonic nanoseconds into Unix nanoseconds with one offset, refreshed by the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallClock {
    offset_ns: i64,
}

impl WallClock {
    /// `offset_ns`: wall minus monotonic.
    pub const fn new(offset_ns: i64) -> Self {
        Self { offset_ns }
    }

    /// Wall minus monotonic, in nanoseconds.
    pub const fn offset_ns(self) -> i64 {
        self.offset_ns
    }

    /// Unix nanoseconds of a monotonic time.
    pub const fn unix_ns(self, monotonic_ns: u64) -> u64 {
        monotonic_ns.saturating_add_signed(self.offset_ns)
    }
}
