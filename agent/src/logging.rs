//! The probe's own log lines, to stderr only: stdout belongs to the spans.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::exit::{Exit, Failure};

/// The crates whose lines follow the configured level. Libraries speak up for warnings only.
const OWN_CRATES: [&str; 6] = ["stardust_probe", "ebpf", "model", "protocol", "report", "trace"];

/// Starts logging. To be called once, before any thread is started.
pub fn start(config: &LogConfig) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter(config.level));
    match config.format {
        LogFormat::Text => {
            let colours =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            registry.with(lines.with_ansi(colours).with_target(false)).try_init()
        }
        LogFormat::Json => registry.with(lines.json()).try_init(),
    }
    .map_err(|error| Failure::new(Exit::Internal, "cannot start logging").because(error))
}

fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let others = own.min(LevelFilter::WARN);
    Targets::new().with_default(others).with_targets(OWN_CRATES.map(|name| (name, own)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_level_is_for_our_own_crates() {
        let cases = [
            (LogLevel::Off, "report", Level::ERROR, false),
            (LogLevel::Info, "stardust_probe::run", Level::INFO, true),
            (LogLevel::Info, "stardust_probe::run", Level::DEBUG, false),
            (LogLevel::Trace, "hyper::client", Level::DEBUG, false),
            (LogLevel::Trace, "hyper::client", Level::WARN, true),
            (LogLevel::Error, "hyper::client", Level::WARN, false),
        ];
        for (level, target, line, shown) in cases {
            assert_eq!(filter(level).would_enable(target, &line), shown, "{level:?} {target} {line}");
        }
    }
}
