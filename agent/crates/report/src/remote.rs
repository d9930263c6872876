//! What a back end asks of the probe.
//!
//! Invariant: what becomes of a wish is told once, after it is in force.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

/// What became of a wish: in force, or refused with the reason. An error of the receiver: the probe stops.
pub type Outcome = oneshot::Receiver<Result<(), String>>;

/// A wish of the back end, for one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// The configuration center's keys for this app, all of them. Replaces what was there before.
    Config {
        /// The app.
        app_id: String,
        /// Key to value, as stored.
        values: BTreeMap<String, String>,
    },
    /// How many traces to flag for keeping at their start.
    HeadLimits {
        /// The app.
        app_id: String,
        /// The limits.
        limits: HeadLimits,
    },
}

/// Head sampling: the first `max_samples` requests of each name in each period are flagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// The reporting period in seconds.
    pub period_s: u32,
    /// Flagged requests per name and period.
    pub max_samples: u32,
}
