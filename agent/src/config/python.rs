//! Knobs of what is read from Python interpreters.

use serde::{Deserialize, Serialize};

use crate::exceptions::Terms;

/// When exceptions are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errors {
    /// From the first failed request of a process on that nothing else explains, until no more fail.
    #[default]
    Auto,
    /// From the beginning.
    Always,
    /// Never: failed requests say no more than their status.
    Off,
}

/// What is read from Python interpreters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PythonConfig {
    /// When exceptions are looked at.
    pub errors: Errors,
    /// The seconds without a failed request after which they are no longer looked at.
    pub errors_quiet_s: u32,
    /// How many frames a second exceptions may leave in a process that is looked at.
    pub errors_max_frames_per_s: u32,
}

impl Default for PythonConfig {
    fn default() -> Self {
        Self { errors: Errors::Auto, errors_quiet_s: 600, errors_max_frames_per_s: 50_000 }
    }
}

impl PythonConfig {
    /// When the probe of exceptions is in a process.
    pub fn terms(&self) -> Terms {
        Terms {
            errors: self.errors,
            quiet_ns: u64::from(self.errors_quiet_s) * 1_000_000_000,
            max_hits_per_s: self.errors_max_frames_per_s.into(),
        }
    }
}
