//! Knobs of what is watched and how spans are made of it.

use serde::{Deserialize, Serialize};

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
    /// Networks whose forwarding headers are believed, as `10.0.0.0/8`.
    pub trusted_networks: Vec<String>,
    /// Names of headers to record.
    pub headers: Vec<String>,
    /// Names of further headers whose values are never shown.
    pub redact_headers: Vec<String>,
    /// Names of further query parameters whose values are never shown.
    pub redact_query: Vec<String>,
    /// Patterns (`*`, `?`) of span names or paths that are not reported.
    pub excludes: Vec<String>,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            max_names: 500,
            trusted_networks: Vec::new(),
            headers: Vec::new(),
            redact_headers: Vec::new(),
            redact_query: Vec::new(),
            excludes: Vec::new(),
        }
    }
}

/// Which spans are sent one by one. What is counted does not depend on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// The share of spans that is kept, 0 to 1. Errors and slow requests are kept anyway.
    pub rate: f64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self { rate: 1.0 }
    }
}
