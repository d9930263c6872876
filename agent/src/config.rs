//! Every knob of the probe: one tree, its defaults, and what is allowed.
//!
//! Invariant: no key is optional (an empty text or list means "not set"), so that the tree of defaults
//! names every knob, and file, environment and `--print-config` can be checked against it.
//! Sources in order, later ones win: defaults, file, environment, flags.

mod environment;
mod kernel;
mod load;
mod log;
mod output;
mod probe;
mod python;
mod stardust;
mod validate;

pub use environment::Environment;
pub use kernel::{KernelConfig, Uprobes, Way};
pub use load::{load, read_secret};
pub use log::{LogConfig, LogFormat, LogLevel};
pub use output::{Color, OutputConfig, OutputFormat};
pub use probe::{HttpConfig, SamplingConfig, TargetConfig, TraceConfig};
pub use python::{PythonConfig, When};
pub use stardust::{Secret, StardustConfig};

use serde::{Deserialize, Serialize};

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is watched.
    pub target: TargetConfig,
    /// The kernel side.
    pub kernel: KernelConfig,
    /// Bytes to messages.
    pub http: HttpConfig,
    /// Messages to spans.
    pub trace: TraceConfig,
    /// Which spans are sent one by one.
    pub sampling: SamplingConfig,
    /// What is read from Python interpreters.
    pub python: PythonConfig,
    /// The terminal.
    pub output: OutputConfig,
    /// The Stardust server.
    pub stardust: StardustConfig,
    /// The probe's own log lines.
    pub log: LogConfig,
}

impl Config {
    /// The merged configuration as TOML. Never holds a secret.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a tree of plain tables is always TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../config.default.toml");

    fn keys(table: &toml::Table, prefix: &str, into: &mut Vec<String>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value.as_table() {
                Some(inner) => keys(inner, &path, into),
                None => into.push(path),
            }
        }
    }

    #[test]
    fn the_shipped_file_is_the_defaults() {
        let shipped: Config = toml::from_str(SHIPPED).unwrap();
        assert_eq!(shipped, Config::default());
    }

    #[test]
    fn the_shipped_file_names_and_explains_every_key() {
        let (mut shipped, mut known) = (Vec::new(), Vec::new());
        keys(&toml::from_str(SHIPPED).unwrap(), "", &mut shipped);
        keys(&toml::Table::try_from(Config::default()).unwrap(), "", &mut known);
        shipped.sort();
        known.sort();
        assert_eq!(shipped, known);
        let mut explained = false;
        for line in SHIPPED.lines() {
            assert!(!line.contains(" = ") || line.starts_with('#') || explained, "no comment above: {line}");
            explained = line.starts_with("# ") || (explained && !line.is_empty() && !line.ends_with('"'));
            if line.contains(" = ") && !line.starts_with('#') {
                explained = false;
            }
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let mut config = Config::default();
        config.stardust.secret = Secret::new("hush");
        let printed = config.to_toml();
        assert!(!printed.contains("hush"));
        let back: Config = toml::from_str(&printed).unwrap();
        assert_eq!(back, Config::default());
    }
}
