//! Builds, shows, tests and measures the probe: `cargo xtask COMMAND`.
//!
//! Invariant: whatever a command starts is stopped before it returns, also on an error, a panic or Ctrl-C.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod fuzz;
mod interrupt;
mod kernels;
mod packages;
mod probe;
mod procfs;
mod python;
mod service;
mod shell;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, shows, tests and measures stardust-probe.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the build needs and build the probe.
    Build(build::Options),
    /// Show the probe on a live Flask app under gunicorn.
    Demo(demo::Options),
    /// Run every check and test.
    Test(test::Options),
    /// Measure what the probe costs.
    Bench(bench::Options),
    /// Check the rules of the repository.
    Tidy,
    /// Feed the parsers arbitrary bytes.
    Fuzz(fuzz::Options),
    /// Try the probe on other kernels, in an emulator.
    Kernels(kernels::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Build(options) => build::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Tidy => tidy::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Kernels(options) => kernels::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
