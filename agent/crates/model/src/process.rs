//! What a watched process is.

use serde::{Deserialize, Serialize};

/// Where an app's name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppIdSource {
    /// `--app-id` or the configuration.
    Flag,
    /// `STARDUST_APP_ID` in the target's environment.
    StardustEnv,
    /// `OTEL_SERVICE_NAME` in the target's environment.
    OtelEnv,
    /// The target's command line.
    CommandLine,
}

/// A watched process and the app it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The thread group id.
    pub pid: u32,
    /// The parent's pid.
    pub parent_pid: u32,
    /// The app: workers of one master share it.
    pub app_id: String,
    /// How the name was found.
    pub app_id_source: AppIdSource,
    /// The app's version, if the environment tells one (`OTEL_SERVICE_VERSION` and the like).
    pub version: Option<String>,
    /// The short command name (`comm`).
    pub name: String,
    /// The command line, arguments joined by a space, secrets removed.
    pub command_line: String,
    /// The user's name, or the number where it has none.
    pub user: String,
    /// When it started, in milliseconds of Unix time.
    pub start_unix_ms: i64,
}
