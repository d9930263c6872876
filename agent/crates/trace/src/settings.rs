//! What a user can set, and the form the tracer works with. Invariant: a `Policy` exists only if every
//! setting makes sense.

use model::SpanKind;
use serde::{Deserialize, Serialize};

use crate::network::Networks;
use crate::pattern::Pattern;
use crate::redact::Redactor;

/// What becomes of spans of which a tracing SDK in the watched process makes its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithSdk {
    /// A request's span says which trace the SDK has for it, and its calls are left to the SDK.
    #[default]
    Link,
    /// Requests that the SDK traces are left to it as a whole.
    Skip,
}

/// The tracer's settings. The defaults are those of [`Settings::default`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A server span is an error from this status on. Default 500.
    pub server_error_status: u16,
    /// A client span is an error from this status on. Default 400.
    pub client_error_status: u16,
    /// A request that takes this many milliseconds is slow, and kept by sampling. Default 5000.
    pub slow_ms: u64,
    /// Most names of one app; what is beyond shares one name. Default 500.
    pub max_names: usize,
    /// Most different segments in one place of a path before they become one `{*}`. Default 64.
    pub max_path_children: usize,
    /// Peers whose forwarding headers are believed: networks, addresses, and `unix` for unix sockets.
    /// Default `127.0.0.0/8`, `::1/128`, `unix`.
    pub trusted_networks: Vec<String>,
    /// Headers to record, of requests and responses. Default none.
    pub headers: Vec<String>,
    /// Patterns of more header names whose values are hidden. Default none beside the built-in ones.
    pub redact_headers: Vec<String>,
    /// Patterns of more query keys whose values are hidden. Default none beside the built-in ones.
    pub redact_query: Vec<String>,
    /// Record what databases are asked: statements without their literals, keys. Default false: verbs and tables
    /// only.
    pub database_statements: bool,
    /// Patterns (`*` and `?`, case does not matter) of names, routes or paths not to report. Default none.
    pub excludes: Vec<String>,
    /// Most connections followed at once. Default 65536.
    pub max_connections: usize,
    /// A connection of which nothing was heard for this many seconds is forgotten. Default 3600.
    pub idle_timeout_s: u64,
    /// How often sessions and responses that go on are reported, in seconds; 0: only when they end. Default 60.
    pub progress_s: u64,
    /// What becomes of spans of which a tracing SDK in the process makes its own. Default link.
    pub with_sdk: WithSdk,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server_error_status: 500,
            client_error_status: 400,
            slow_ms: 5000,
            max_names: 500,
            max_path_children: 64,
            trusted_networks: ["127.0.0.0/8", "::1/128", "unix"].map(str::to_owned).to_vec(),
            headers: Vec::new(),
            redact_headers: Vec::new(),
            redact_query: Vec::new(),
            database_statements: false,
            excludes: Vec::new(),
            max_connections: 65536,
            idle_timeout_s: 3600,
            progress_s: 60,
            with_sdk: WithSdk::Link,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A trusted network is neither a network, nor an address, nor `unix`.
    #[error("trusted_networks: `{0}` is not a network such as 10.0.0.0/8, an address, or `unix`")]
    Network(String),
    /// A pattern is empty or too long.
    #[error("{key}: `{text}` is not a pattern of 1 to 256 characters")]
    Pattern {
        /// The setting.
        key: &'static str,
        /// Its text.
        text: String,
    },
    /// A name is not a header's.
    #[error("headers: `{0}` is not a header's name")]
    Header(String),
    /// A number must be at least one.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

/// The settings, ready for use.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) server_error_status: u16,
    pub(crate) client_error_status: u16,
    pub(crate) slow_ns: u64,
    pub(crate) max_names: usize,
    pub(crate) max_path_children: usize,
    pub(crate) trusted: Networks,
    /// In lower case.
    pub(crate) headers: Vec<String>,
    pub(crate) redactor: Redactor,
    pub(crate) database_statements: bool,
    pub(crate) excludes: Vec<Pattern>,
    pub(crate) max_connections: usize,
    pub(crate) idle_timeout_ns: u64,
    /// `None`: never.
    pub(crate) progress_ns: Option<u64>,
    pub(crate) with_sdk: WithSdk,
}

impl Policy {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        for (key, value) in [
            ("max_names", settings.max_names),
            ("max_path_children", settings.max_path_children),
            ("max_connections", settings.max_connections),
            ("idle_timeout_s", usize::from(settings.idle_timeout_s > 0)),
        ] {
            if value == 0 {
                return Err(SettingsError::Zero(key));
            }
        }
        let headers = settings.headers.iter().map(|name| parse_header_name(name).ok_or(name));
        Ok(Self {
            server_error_status: settings.server_error_status,
            client_error_status: settings.client_error_status,
            slow_ns: settings.slow_ms.saturating_mul(1_000_000),
            max_names: settings.max_names,
            max_path_children: settings.max_path_children,
            trusted: Networks::parse(&settings.trusted_networks)
                .map_err(|text| SettingsError::Network(text.to_owned()))?,
            headers: headers.collect::<Result<_, _>>().map_err(|name| SettingsError::Header(name.clone()))?,
            redactor: Redactor {
                headers: parse_patterns("redact_headers", &settings.redact_headers)?,
                query: parse_patterns("redact_query", &settings.redact_query)?,
            },
            database_statements: settings.database_statements,
            excludes: parse_patterns("excludes", &settings.excludes)?,
            max_connections: settings.max_connections,
            idle_timeout_ns: settings.idle_timeout_s.saturating_mul(1_000_000_000),
            progress_ns: (settings.progress_s > 0).then(|| settings.progress_s.saturating_mul(1_000_000_000)),
            with_sdk: settings.with_sdk,
        })
    }

    /// The status from which on a span of this kind is an error.
    pub(crate) fn error_status(&self, kind: SpanKind) -> u16 {
        match kind {
            SpanKind::Server => self.server_error_status,
            SpanKind::Client => self.client_error_status,
        }
    }
}

fn parse_patterns(key: &'static str, texts: &[String]) -> Result<Vec<Pattern>, SettingsError> {
    let parse = |text: &String| {
        Pattern::parse(text).ok_or_else(|| SettingsError::Pattern { key, text: text.clone() })
    };
    texts.iter().map(parse).collect()
}

/// A header's name in lower case, if it is one (RFC 9110 section 5.6.2).
pub(crate) fn parse_header_name(name: &str) -> Option<String> {
    let name = name.trim();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!name.is_empty() && name.bytes().all(is_token)).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        let policy = Policy::new(&Settings::default()).unwrap();
        assert_eq!(policy.slow_ns, 5_000_000_000);
        assert_eq!(policy.error_status(SpanKind::Server), 500);
        assert_eq!(policy.error_status(SpanKind::Client), 400);
    }

    #[test]
    fn broken_settings_are_named() {
        let text = |text: &str| vec![text.to_owned()];
        let base = Settings::default;
        for (settings, want) in [
            (Settings { trusted_networks: text("10/8"), ..base() }, "trusted_networks: `10/8`"),
            (Settings { excludes: text(""), ..base() }, "excludes: ``"),
            (Settings { redact_query: text(" "), ..base() }, "redact_query: ` `"),
            (Settings { redact_headers: text(""), ..base() }, "redact_headers: ``"),
            (Settings { headers: text("a b"), ..base() }, "headers: `a b`"),
            (Settings { max_names: 0, ..base() }, "max_names must"),
            (Settings { max_path_children: 0, ..base() }, "max_path_children must"),
            (Settings { max_connections: 0, ..base() }, "max_connections must"),
            (Settings { idle_timeout_s: 0, ..base() }, "idle_timeout_s must"),
        ] {
            let error = Policy::new(&settings).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
