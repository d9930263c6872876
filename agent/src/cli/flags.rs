//! The flags, and what each of them sets in the configuration.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use trace::WithSdk;

use crate::config::{Config, LogFormat, LogLevel, OutputFormat, Secret};

const USAGE: &str = "\
stardust-probe --pid PID [--pid PID]... [OPTIONS]
       stardust-probe check | record | replay [OPTIONS]";
const EXAMPLES: &str = "\
Examples:
  sudo stardust-probe --pid 1234                      a live table of the requests of process 1234
  sudo stardust-probe --pid 1234 --format json | jq   the same as JSON lines
  sudo stardust-probe --pid 1234 --server http://star.example.com:6600 --secret-file /etc/probe.secret
  stardust-probe check --pid 1234                     what this host and kernel allow

Every knob also has a variable: kernel.ring_bytes is STARDUST_PROBE_KERNEL_RING_BYTES.
The app's secret comes from --secret-file or STARDUST_PROBE_SECRET.
Exit codes: 0 ok, 64 usage, 66 no such process or file, 69 kernel cannot, 70 internal, 74 io, 77 not allowed.";

/// See the HTTP requests of running web services from outside, and report them to Stardust or the terminal.
///
/// Watches the named processes and their children. Nothing in them is changed.
#[derive(Debug, Parser)]
#[command(name = "stardust-probe", version, override_usage = USAGE, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) watch: Watch,
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what this host and kernel allow, and which way socket calls would be seen
    Check {
        /// The process to be watched
        #[arg(long, value_name = "PID", value_parser = pid())]
        pid: Option<u32>,
        /// How the answer looks [default: table]
        #[arg(long, value_enum)]
        format: Option<Format>,
    },
    /// Write the raw events of processes to FILE, to be replayed later
    Record {
        /// The file to write
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Make spans from a recorded FILE
    Replay {
        /// The file to read
        file: PathBuf,
        /// How spans look [default: table on a terminal, else json]
        #[arg(long, value_enum)]
        format: Option<Format>,
    },
}

/// How answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What becomes of spans of which a tracing SDK in the process makes its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SdkChoice {
    /// Its calls are left to it; the span of the request names its trace.
    Link,
    /// Requests that it traces are left to it as a whole.
    Skip,
}

#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct Target {
    /// A process to watch, with its children; may be given again
    #[arg(long = "pid", value_name = "PID", value_parser = pid(), value_delimiter = ',')]
    pub(super) pids: Vec<u32>,
    /// The app's name [default: from the process's environment or command line]
    #[arg(long, value_name = "NAME")]
    app_id: Option<String>,
    /// Stop after so many seconds
    #[arg(long = "duration", value_name = "SECONDS")]
    duration_s: Option<u32>,
}

#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct Watch {
    #[command(flatten)]
    pub(super) target: Target,
    /// A Stardust server to report to; further ones take over when it fails
    #[arg(long = "server", value_name = "URL", value_delimiter = ',')]
    servers: Vec<String>,
    /// The file that holds the app's secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// PEM certificates to trust for HTTPS [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Where secrets handed out by the server are kept
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The share of spans sent one by one, 0 to 1; counts stay exact
    #[arg(long, value_name = "RATE")]
    sampling_rate: Option<f64>,
    /// What to do where a tracing SDK in the process has spans of its own [default: link]
    #[arg(long, value_enum, value_name = "WHAT")]
    with_sdk: Option<SdkChoice>,
    /// How spans look on stdout [default: table on a terminal, else json, or nothing with --server]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Read this configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
    /// Print the merged configuration and leave
    #[arg(long, global = true)]
    pub(super) print_config: bool,
    /// How much to say on stderr
    #[arg(long, value_enum, value_name = "LEVEL", global = true)]
    log_level: Option<LogLevel>,
    /// How a log line looks
    #[arg(long, value_enum, value_name = "FORMAT", global = true)]
    log_format: Option<LogFormat>,
}

fn pid() -> clap::builder::RangedI64ValueParser<u32> {
    // PID_MAX_LIMIT of include/linux/threads.h.
    clap::value_parser!(u32).range(1..=4_194_304)
}

impl Cli {
    /// Sets what the flags say.
    pub(super) fn apply(&self, config: &mut Config) {
        self.watch.apply(config);
        match &self.command {
            Some(Command::Record { target, .. }) => target.apply(config),
            Some(Command::Replay { format, .. }) => apply_format(*format, config),
            Some(Command::Check { .. }) | None => {}
        }
        set(&mut config.log.level, self.common.log_level.as_ref());
        set(&mut config.log.format, self.common.log_format.as_ref());
    }
}

impl Target {
    fn apply(&self, config: &mut Config) {
        set(&mut config.target.app_id, self.app_id.as_ref());
        set(&mut config.target.duration_s, self.duration_s.as_ref());
    }
}

impl Watch {
    fn apply(&self, config: &mut Config) {
        self.target.apply(config);
        let stardust = &mut config.stardust;
        if !self.servers.is_empty() {
            stardust.servers.clone_from(&self.servers);
        }
        if let Some(file) = &self.secret_file {
            stardust.secret_file.clone_from(file);
            stardust.secret = Secret::default();
        }
        set(&mut stardust.ca_file, self.ca_file.as_ref());
        set(&mut stardust.state_dir, self.state_dir.as_ref());
        set(&mut config.sampling.rate, self.sampling_rate.as_ref());
        match self.with_sdk {
            Some(SdkChoice::Link) => config.trace.with_sdk = WithSdk::Link,
            Some(SdkChoice::Skip) => config.trace.with_sdk = WithSdk::Skip,
            None => {}
        }
        apply_format(self.format, config);
    }
}

fn apply_format(format: Option<Format>, config: &mut Config) {
    match format {
        Some(Format::Table) => config.output.format = OutputFormat::Table,
        Some(Format::Json) => config.output.format = OutputFormat::Json,
        None => {}
    }
}

fn set<T: Clone>(slot: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        slot.clone_from(value);
    }
}
