//! The command line: what to do, and with which configuration.
//!
//! Invariant: parsing does no more IO than reading the configuration and secret files, and takes the environment
//! as a value. A secret is never taken from an argument, where every user of the host could read it.

mod flags;
mod terminal;

pub use flags::Format;
pub use terminal::{columns, print};

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use crate::config::{self, Config, Environment};
use crate::exit::Failure;
use flags::{Cli, Command, Watch};

/// What the user wants, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// What to do.
    pub task: Task,
    /// How.
    pub config: Config,
}

/// What the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Print a text and leave: help, version, the merged configuration.
    Print(String),
    /// Watch processes and report their requests.
    Watch {
        /// The processes, without duplicates; never empty.
        pids: Vec<u32>,
    },
    /// Say what this host and kernel allow.
    Check {
        /// The process to be watched, if one is named.
        pid: Option<u32>,
        /// JSON instead of text.
        json: bool,
    },
    /// Write the raw events of processes to a file.
    Record {
        /// The file.
        file: PathBuf,
        /// The processes, without duplicates; never empty.
        pids: Vec<u32>,
    },
    /// Make spans from a recorded file.
    Replay {
        /// The file.
        file: PathBuf,
    },
}

/// Reads arguments (the first is the program's name) and environment.
pub fn parse<A, E, K, V>(arguments: A, environment: E) -> Result<Invocation, Failure>
where
    A: IntoIterator<Item: Into<OsString> + Clone>,
    E: IntoIterator<Item = (K, V)>,
    K: Into<OsString>,
    V: Into<OsString>,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let task = Task::Print(error.render().to_string());
            return Ok(Invocation { task, config: Config::default() });
        }
        Err(error) => return Err(usage(&error)),
    };
    if cli.command.is_some() && cli.watch != Watch::default() {
        return Err(Failure::usage("flags for watching stand before a subcommand")
            .hint("put the subcommand first and its flags behind it, see --help"));
    }
    let environment: Environment = environment.into_iter().collect();
    let mut config = config::load(cli.common.config.as_deref(), &environment, |config| cli.apply(config))?;
    if cli.common.print_config {
        return Ok(Invocation { task: Task::Print(config.to_toml()), config });
    }
    let task = task(cli)?;
    config::read_secret(&mut config)?;
    Ok(Invocation { task, config })
}

fn task(cli: Cli) -> Result<Task, Failure> {
    Ok(match cli.command {
        None => Task::Watch { pids: named(cli.watch.target.pids)? },
        Some(Command::Check { pid, format }) => Task::Check { pid, json: format == Some(Format::Json) },
        Some(Command::Record { file, target }) => Task::Record { file, pids: named(target.pids)? },
        Some(Command::Replay { file, .. }) => Task::Replay { file },
    })
}

fn named(mut pids: Vec<u32>) -> Result<Vec<u32>, Failure> {
    if pids.is_empty() {
        return Err(Failure::usage("no process named").hint("give --pid PID, or see --help"));
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// clap's message without its decoration: the first paragraph, on one line.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    Failure::usage(first.trim_start_matches("error:").trim()).hint("see --help")
}

#[cfg(test)]
mod tests;
