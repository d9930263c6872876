//! Knobs of the Stardust exporter.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use report::stardust;
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
    /// Send the secret itself over plain HTTP when its salted hash is refused.
    pub allow_plain_secret: bool,
    /// The code of the host's own Stardust agent, to link the apps to the host; empty: none.
    pub node_code: String,
    /// How often a ping is sent, in seconds, until the server says otherwise.
    pub ping_s: u32,
    /// How long a request to the server may take, in seconds.
    pub timeout_s: u32,
    /// How long to wait before a login is tried again that only a person can help, in seconds.
    pub login_retry_s: u32,
    /// How many batches a process may have waiting while the server is away.
    pub queue_batches: u32,
    /// How many names all waiting batches may have together.
    pub queue_builders: u32,
    /// How many names a process may have in one period; the rest are counted under one.
    pub names_per_period: u32,
    /// Fetch the config center's keys.
    pub config_enabled: bool,
    /// How often the config center is asked, in seconds.
    pub config_s: u32,
    /// The scope to ask the config center for; empty: the server decides.
    pub config_scope: String,
    /// Leave server spans with status 404 out, as the official client does.
    pub skip_not_found: bool,
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
            allow_plain_secret: false,
            node_code: String::new(),
            ping_s: 60,
            timeout_s: 15,
            login_retry_s: 60,
            queue_batches: 2880,
            queue_builders: 100_000,
            names_per_period: 2000,
            config_enabled: true,
            config_s: 60,
            config_scope: String::new(),
            skip_not_found: false,
            secret: Secret::default(),
        }
    }
}

impl StardustConfig {
    /// What the exporter is to be told.
    pub fn settings(&self) -> stardust::Settings {
        let path = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        stardust::Settings {
            servers: self.servers.clone(),
            secret: text(self.secret.expose()).map(stardust::Secret::new),
            ca_file: path(&self.ca_file),
            state_dir: self.state_dir.clone(),
            allow_plain_secret: self.allow_plain_secret,
            node_code: text(&self.node_code),
            queue_batches: self.queue_batches as usize,
            queue_builders: self.queue_builders as usize,
            names_per_period: self.names_per_period as usize,
            config_enabled: self.config_enabled,
            scope: self.config_scope.clone(),
            skip_not_found: self.skip_not_found,
            timing: stardust::Timing {
                ping: Duration::from_secs(self.ping_s.into()),
                config: Duration::from_secs(self.config_s.into()),
                call: Duration::from_secs(self.timeout_s.into()),
                retry_slow: Duration::from_secs(self.login_retry_s.into()),
                ..stardust::Timing::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_exporters_own() {
        let ours = format!("{:?}", StardustConfig::default().settings());
        assert_eq!(ours, format!("{:?}", stardust::Settings::default()));
    }

    #[test]
    fn what_is_set_arrives_and_the_secret_is_not_shown() {
        let config = StardustConfig {
            ca_file: "/ca.pem".into(),
            node_code: "n".into(),
            timeout_s: 3,
            secret: Secret::new("hush"),
            ..StardustConfig::default()
        };
        let settings = config.settings();
        assert_eq!(settings.ca_file, Some("/ca.pem".into()));
        assert_eq!(settings.node_code.as_deref(), Some("n"));
        assert_eq!(settings.timing.call, Duration::from_secs(3));
        assert_eq!(settings.secret, Some(stardust::Secret::new("hush")));
        assert!(!format!("{config:?}{settings:?}").contains("hush"));
    }
}
