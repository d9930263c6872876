//! What the user decides about reporting to Stardust.
//!
//! Invariant: a secret is never shown, not even by `Debug`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// A shared secret. `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// How to reach Stardust and what to tell it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base URLs (`http://star.example.com:6600`), tried in this order. At least one.
    pub servers: Vec<String>,
    /// The secret all apps log in with, until the server hands back another one.
    pub secret: Option<Secret>,
    /// PEM certificates to trust beside the system's own.
    pub ca_file: Option<PathBuf>,
    /// Where identities that the server handed back are kept.
    pub state_dir: PathBuf,
    /// Send the secret itself over plain HTTP when its salted hash is refused. Over HTTPS that needs no leave.
    pub allow_plain_secret: bool,
    /// The code of the host's own Stardust agent, so that the server can link the apps to the host.
    pub node_code: Option<String>,
    /// Batches a process may have waiting while the server is away.
    pub queue_batches: usize,
    /// Names that all waiting batches may have together: what bounds their memory.
    pub queue_builders: usize,
    /// Names a process may have in one period; the rest are counted under one name.
    pub names_per_period: usize,
    /// Fetch the configuration center's keys.
    pub config_enabled: bool,
    /// The scope to ask the configuration center for; empty lets the server choose.
    pub scope: String,
    /// Leave server spans with status 404 out altogether, as the official client does.
    pub skip_not_found: bool,
    /// When to do what.
    pub timing: Timing,
}

/// The official client's times.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From a process's first span to its first report.
    pub first_report: Duration,
    /// From the login to the first ping.
    pub first_ping: Duration,
    /// Between pings, until the server says otherwise.
    pub ping: Duration,
    /// Between looks at the configuration center.
    pub config: Duration,
    /// Added to the wait for the next try after each failed login; also the first wait of anything else that failed.
    pub retry_step: Duration,
    /// The longest wait between logins.
    pub login_retry_max: Duration,
    /// The longest wait for a server that went away.
    pub retry_max: Duration,
    /// The wait where only a person can help: approval, a disabled app, a wrong server.
    pub retry_slow: Duration,
    /// How long a server that failed is passed over while there is another.
    pub shield: Duration,
    /// The longest a call may take.
    pub call: Duration,
    /// How long spans of a process that is gone may still come in.
    pub exit_grace: Duration,
    /// The longest the last reports may take when the probe stops.
    pub stop: Duration,
}

/// Why the exporter cannot start.
#[derive(Debug, Error)]
pub enum StardustError {
    /// The list of servers is empty.
    #[error("no Stardust server is given: set one like http://star.example.com:6600")]
    NoServer,
    /// A server's URL is not one.
    #[error("'{url}' is no Stardust server's address ({why}): write it like http://star.example.com:6600")]
    BadServer {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The CA file cannot be used.
    #[error("cannot use the CA file {}: {why}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS or the HTTP client cannot be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
}

impl Secret {
    /// Wraps `secret`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the wire and the state file only.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            secret: None,
            ca_file: None,
            state_dir: PathBuf::from("/var/lib/stardust-probe"),
            allow_plain_secret: false,
            node_code: None,
            queue_batches: 2880,
            queue_builders: 100_000,
            names_per_period: 2000,
            config_enabled: true,
            scope: String::new(),
            skip_not_found: false,
            timing: Timing::default(),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first_report: Duration::from_secs(5),
            first_ping: Duration::from_secs(3),
            ping: Duration::from_mins(1),
            config: Duration::from_mins(1),
            retry_step: Duration::from_secs(5),
            login_retry_max: Duration::from_secs(30),
            retry_max: Duration::from_mins(1),
            retry_slow: Duration::from_mins(1),
            shield: Duration::from_mins(1),
            call: Duration::from_secs(15),
            exit_grace: Duration::from_millis(500),
            stop: Duration::from_millis(3500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let settings = Settings { secret: Some(Secret::new("hunter2")), ..Settings::default() };
        let shown = format!("{settings:?}");
        assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }
}
