//! What is allowed, beyond what the types say.
//!
//! Invariant: a refusal names the key, its value and what would be right.

use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;

use trace::Tracer;

use super::Config;
use crate::exit::Failure;

/// A ring of such a size is a multiple of every page size Linux has (4, 16 and 64 KiB).
const RING_BYTES: RangeInclusive<u32> = 65_536..=1 << 30;

impl Config {
    /// Checks every knob; the first wrong one is the error.
    pub fn check(&self) -> Result<(), Failure> {
        let kernel = &self.kernel;
        if !kernel.ring_bytes.is_power_of_two() || !RING_BYTES.contains(&kernel.ring_bytes) {
            return Err(refuse(
                "kernel.ring_bytes",
                kernel.ring_bytes,
                "a power of two from 65536 to 1073741824",
            ));
        }
        within("kernel.head_bytes", kernel.head_bytes, 128..=ebpf::abi::HEAD_BYTES_MAX)?;
        within("kernel.http2_bytes", kernel.http2_bytes, 128..=ebpf::abi::WHOLE_BYTES_MAX)?;
        within("kernel.max_processes", kernel.max_processes, 1..=1 << 20)?;
        within("kernel.max_connections", kernel.max_connections, 1024..=1 << 24)?;
        within("kernel.drain_ms", kernel.drain_ms, 1..=25)?;
        within("http.server_error_status", self.http.server_error_status, 100..=1000)?;
        within("http.client_error_status", self.http.client_error_status, 100..=1000)?;
        within("trace.max_path_children", self.trace.max_path_children, 1..=100_000)?;
        within("trace.idle_timeout_s", self.trace.idle_timeout_s, 1..=86_400)?;
        within("trace.progress_s", self.trace.progress_s, 0..=86_400)?;
        within("trace.max_names", self.trace.max_names, 1..=100_000)?;
        within("python.errors_quiet_s", self.python.errors_quiet_s, 1..=86_400)?;
        within("python.errors_max_frames_per_s", self.python.errors_max_frames_per_s, 1..=1_000_000)?;
        within("python.lineage_quiet_s", self.python.lineage_quiet_s, 1..=86_400)?;
        within("python.lineage_max_copies_per_s", self.python.lineage_max_copies_per_s, 1..=1_000_000)?;
        within("sampling.rate", self.sampling.rate, 0.0..=1.0)?;
        within("stardust.ping_s", self.stardust.ping_s, 1..=3600)?;
        within("stardust.config_s", self.stardust.config_s, 1..=86_400)?;
        within("stardust.timeout_s", self.stardust.timeout_s, 1..=300)?;
        within("stardust.login_retry_s", self.stardust.login_retry_s, 1..=3600)?;
        within("stardust.queue_batches", self.stardust.queue_batches, 1..=1 << 20)?;
        within("stardust.queue_builders", self.stardust.queue_builders, 100..=10_000_000)?;
        within("stardust.names_per_period", self.stardust.names_per_period, 1..=100_000)?;
        Tracer::new(&self.trace_settings(), 0)
            .map_err(|error| Failure::usage("bad value in section trace").because(error))?;
        self.sampling_rules().map_err(|error| {
            Failure::usage(format!("bad value sampling.rules = {:?}", self.sampling.rules))
                .because(error.reason)
        })?;
        each(
            "stardust.servers",
            &self.stardust.servers,
            is_server,
            "a URL such as http://star.example.com:6600",
        )?;
        if self.target.app_id.chars().any(char::is_control) || self.target.app_id.chars().count() > 50 {
            return Err(refuse("target.app_id", &self.target.app_id, "at most 50 printable characters"));
        }
        Ok(())
    }
}

fn refuse(key: &str, value: impl Debug, allowed: &str) -> Failure {
    Failure::usage(format!("bad value {key} = {value:?}")).because(format!("must be {allowed}"))
}

fn within<T: PartialOrd + Display + Debug + Copy>(
    key: &str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Result<(), Failure> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(refuse(key, value, &format!("from {} to {}", allowed.start(), allowed.end())))
}

fn each(key: &str, values: &[String], good: fn(&str) -> bool, allowed: &str) -> Result<(), Failure> {
    values.iter().find(|value| !good(value)).map_or(Ok(()), |value| Err(refuse(key, value, allowed)))
}

fn is_server(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':', '?', '#'])
            && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_refusal_names_key_value_and_what_is_right() {
        let cases = [
            ("kernel.ring_bytes = 1000000", "kernel.ring_bytes = 1000000: must be a power of two from 65536"),
            ("kernel.ring_bytes = 4096", "kernel.ring_bytes"),
            ("kernel.head_bytes = 100", "kernel.head_bytes = 100: must be from 128 to 8192"),
            ("kernel.drain_ms = 0", "kernel.drain_ms = 0: must be from 1 to 25"),
            ("kernel.max_connections = 1", "kernel.max_connections"),
            ("http.server_error_status = 50", "http.server_error_status"),
            ("sampling.rate = 1.5", "sampling.rate = 1.5: must be from 0 to 1"),
            ("sampling.rate = nan", "sampling.rate = NaN"),
            (
                "trace.trusted_networks = ['10.0.0.0/33']",
                "section trace: trusted_networks: `10.0.0.0/33` is not",
            ),
            ("trace.headers = ['a b']", "section trace: headers: `a b`"),
            ("trace.excludes = ['']", "section trace: excludes: ``"),
            ("trace.max_path_children = 0", "trace.max_path_children = 0: must be from 1 to 100000"),
            ("sampling.rules = '{}'", "sampling.rules = \"{}\": "),
            ("stardust.servers = ['star:6600']", "stardust.servers = \"star:6600\": must be a URL"),
            ("stardust.servers = ['http://']", "stardust.servers"),
            ("stardust.servers = ['http://u:p@star']", "stardust.servers"),
            ("target.app_id = \"a\\u0007\"", "target.app_id"),
        ];
        for (text, expected) in cases {
            let config: Config = toml::from_str(text).unwrap();
            let failure = config.check().unwrap_err().to_string();
            assert!(failure.contains(expected), "{text}: {failure}");
        }
    }
}
