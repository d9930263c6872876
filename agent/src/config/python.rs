//! Knobs of what is read from Python interpreters.

use serde::{Deserialize, Serialize};

use crate::policy::Terms;

/// When something is looked at that costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// In a process from when it is first needed there, until it was of no use for a while.
    #[default]
    Auto,
    /// From the beginning.
    Always,
    /// Never.
    Off,
}

/// What is read from Python interpreters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PythonConfig {
    /// When exceptions are looked at.
    pub errors: When,
    /// The seconds without a failed request that may have one after which they are no longer looked at.
    pub errors_quiet_s: u32,
    /// How many frames a second exceptions may leave in a process that is looked at.
    pub errors_max_frames_per_s: u32,
    /// When it is looked at which task starts which.
    pub lineage: When,
    /// The seconds without a call that needs it after which it is no longer looked at.
    pub lineage_quiet_s: u32,
    /// How many contexts a second may be copied in a process that is looked at.
    pub lineage_max_copies_per_s: u32,
    /// Read an app's routes from its framework's objects.
    pub routes: bool,
    /// See when garbage is collected.
    pub gc_pauses: bool,
}

impl Default for PythonConfig {
    fn default() -> Self {
        Self {
            errors: When::Auto,
            errors_quiet_s: 600,
            errors_max_frames_per_s: 50_000,
            lineage: When::Auto,
            lineage_quiet_s: 600,
            lineage_max_copies_per_s: 50_000,
            routes: true,
            gc_pauses: false,
        }
    }
}

impl PythonConfig {
    /// When the probe of exceptions is in a process.
    pub fn error_terms(&self) -> Terms {
        Terms {
            when: self.errors,
            quiet_ns: u64::from(self.errors_quiet_s) * 1_000_000_000,
            max_hits_per_s: self.errors_max_frames_per_s.into(),
        }
    }

    /// When the probes of contexts are in a process.
    pub fn lineage_terms(&self) -> Terms {
        Terms {
            when: self.lineage,
            quiet_ns: u64::from(self.lineage_quiet_s) * 1_000_000_000,
            max_hits_per_s: self.lineage_max_copies_per_s.into(),
        }
    }
}
