//! Knobs of what is watched and how spans are made of it.

use serde::{Deserialize, Serialize};
use trace::sample::{RuleError, Rules};
use trace::{Settings, WithSdk};

use super::Config;

/// What is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetConfig {
    /// The app's name; empty: found out for each process.
    pub app_id: String,
    /// Stop after so many seconds; 0: run until told to stop.
    pub duration_s: u32,
}

/// What counts as an error or as slow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The lowest status that makes a request a watched process served an error.
    pub server_error_status: u16,
    /// The lowest status that makes a call a watched process made an error.
    pub client_error_status: u16,
    /// From how many milliseconds on a request is slow, and kept by sampling; 0: never.
    pub slow_ms: u32,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { server_error_status: 500, client_error_status: 400, slow_ms: 5000 }
    }
}

/// How spans are named, what they hold and what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceConfig {
    /// How many span names an app may have; the rest share one.
    pub max_names: u32,
    /// How many different segments one place of a path may have before they become one placeholder.
    pub max_path_children: u32,
    /// Peers whose forwarding headers are believed: networks, addresses, `unix`.
    pub trusted_networks: Vec<String>,
    /// Names of headers to record.
    pub headers: Vec<String>,
    /// Patterns of further header names whose values are never shown.
    pub redact_headers: Vec<String>,
    /// Patterns of further query parameters whose values are never shown.
    pub redact_query: Vec<String>,
    /// Record what databases are asked, without literals.
    pub database_statements: bool,
    /// See what TLS connections carry.
    pub tls: bool,
    /// Patterns (`*`, `?`) of span names, routes or paths that are not reported.
    pub excludes: Vec<String>,
    /// A connection of which nothing was heard for so many seconds is forgotten.
    pub idle_timeout_s: u32,
    /// How often, in seconds, sessions and responses that go on are reported; 0: only when they end.
    pub progress_s: u32,
    /// What becomes of spans of which a tracing SDK in the process makes its own.
    pub with_sdk: WithSdk,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            max_names: 500,
            max_path_children: 64,
            trusted_networks: ["127.0.0.0/8", "::1/128", "unix"].map(str::to_owned).to_vec(),
            headers: Vec::new(),
            redact_headers: Vec::new(),
            redact_query: Vec::new(),
            database_statements: false,
            tls: true,
            excludes: Vec::new(),
            idle_timeout_s: 3600,
            progress_s: 60,
            with_sdk: WithSdk::Link,
        }
    }
}

/// Which spans are sent one by one, until the config center says otherwise. What is counted does not depend on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// The share of spans that is kept, 0 to 1. Errors and slow requests are kept anyway.
    pub rate: f64,
    /// Rules that go before the rate: a JSON array as in the key `probe.sampling.rules`; empty: none.
    pub rules: String,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self { rate: 1.0, rules: String::new() }
    }
}

impl Config {
    /// What the tracer is to be told.
    pub fn trace_settings(&self) -> Settings {
        let (http, trace) = (&self.http, &self.trace);
        Settings {
            server_error_status: http.server_error_status,
            client_error_status: http.client_error_status,
            // The tracer knows no "never"; this is longer than any request.
            slow_ms: if http.slow_ms == 0 { u64::MAX } else { http.slow_ms.into() },
            max_names: trace.max_names as usize,
            max_path_children: trace.max_path_children as usize,
            trusted_networks: trace.trusted_networks.clone(),
            headers: trace.headers.clone(),
            redact_headers: trace.redact_headers.clone(),
            redact_query: trace.redact_query.clone(),
            database_statements: trace.database_statements,
            excludes: trace.excludes.clone(),
            max_connections: self.kernel.max_connections as usize,
            idle_timeout_s: trace.idle_timeout_s.into(),
            progress_s: trace.progress_s.into(),
            with_sdk: trace.with_sdk,
        }
    }

    /// The sampling rules of every app until its remote configuration brings others.
    pub fn sampling_rules(&self) -> Result<Rules, RuleError> {
        let rules = &self.sampling;
        let values =
            [("probe.sampling.rate", rules.rate.to_string()), ("probe.sampling.rules", rules.rules.clone())];
        Rules::parse(&values.map(|(key, value)| (key.to_owned(), value)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_tracers_own() {
        assert_eq!(Config::default().trace_settings(), Settings::default());
        assert_eq!(Config::default().sampling_rules(), Ok(Rules::default()));
    }

    #[test]
    fn slow_can_be_never() {
        let mut config = Config::default();
        config.http.slow_ms = 0;
        assert_eq!(config.trace_settings().slow_ms, u64::MAX);
    }
}
