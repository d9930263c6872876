//! How busy a process was.

/// How busy the threads of a process were that serve requests, over a stretch of time. May be added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// The process.
    pub pid: u32,
    /// Threads that have read requests lately.
    pub workers: u32,
    /// Of the time that is known of them: with a request open; of event loops, on the CPU.
    pub busy_ns: u64,
    /// The time that is known of them, together.
    pub known_ns: u64,
    /// The longest that a request had waited when an event loop read it. `None`: none read any.
    pub loop_lag_ns: Option<u64>,
    /// Requests that are not over at the end.
    pub open_requests: u32,
    /// Requests that have begun.
    pub requests: u64,
}

impl Load {
    /// What follows it.
    pub fn add(&mut self, later: &Self) {
        (self.pid, self.workers, self.open_requests) = (later.pid, later.workers, later.open_requests);
        self.busy_ns += later.busy_ns;
        self.known_ns += later.known_ns;
        self.requests += later.requests;
        self.loop_lag_ns = self.loop_lag_ns.max(later.loop_lag_ns);
    }

    /// The share of their time in which they were busy, 0 to 1.
    pub fn saturation(&self) -> Option<f64> {
        (self.known_ns > 0).then(|| (self.busy_ns as f64 / self.known_ns as f64).min(1.0))
    }
}
