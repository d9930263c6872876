//! Knobs of the Stardust exporter.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A secret: never printed, never written.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; empty if there is none.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}

/// The Stardust server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StardustConfig {
    /// Base URLs, tried in order; none: spans stay on the terminal.
    pub servers: Vec<String>,
    /// The file that holds the app's secret; empty: none.
    pub secret_file: PathBuf,
    /// A file of PEM certificates to trust for HTTPS; empty: the system's.
    pub ca_file: PathBuf,
    /// Where secrets handed out by the server are kept.
    pub state_dir: PathBuf,
    /// How often spans are reported, in seconds, until the server says otherwise.
    pub period_s: u32,
    /// How long a request to the server may take, in seconds.
    pub timeout_s: u32,
    /// How many span groups wait for an unreachable server.
    pub max_queue: u32,
    /// The scope to ask the config center for; empty: the server decides.
    pub config_scope: String,
    /// The app's secret. From a file or the environment, never part of the tree.
    #[serde(skip)]
    pub secret: Secret,
}

impl Default for StardustConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            secret_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            state_dir: "/var/lib/stardust-probe".into(),
            period_s: 60,
            timeout_s: 15,
            max_queue: 1024,
            config_scope: String::new(),
            secret: Secret::default(),
        }
    }
}
