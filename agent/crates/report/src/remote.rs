//! What a back end asks of the probe.

use std::collections::BTreeMap;

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
