//! `cargo xtask fuzz`: arbitrary bytes for the parsers, with libFuzzer on the nightly toolchain.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{shell, workspace};

/// The fuzz targets: folder and name.
const TARGETS: &[(&str, &str)] = &[
    ("agent/crates/protocol/fuzz", "http1"),
    ("agent/crates/protocol/fuzz", "http2"),
    ("agent/crates/protocol/fuzz", "grpc"),
    ("agent/crates/protocol/fuzz", "hpack"),
    ("agent/crates/protocol/fuzz", "tls"),
    ("agent/crates/protocol/fuzz", "postgresql"),
    ("agent/crates/protocol/fuzz", "mysql"),
    ("agent/crates/protocol/fuzz", "redis"),
    ("agent/crates/protocol/fuzz", "memcached"),
    ("agent/crates/protocol/fuzz", "sql"),
    ("agent/crates/protocol/fuzz", "proxy"),
    ("agent/crates/protocol/fuzz", "gateway"),
    ("agent/crates/protocol/fuzz", "websocket"),
    ("agent/crates/trace/fuzz", "context"),
    ("ebpf/fuzz", "record"),
];

/// How long, and what.
#[derive(clap::Args)]
pub struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
}

/// Runs each target. A crash is an error that names its input.
pub fn run(options: &Options) -> Result<()> {
    let wanted = |name: &str| options.target.as_deref().is_none_or(|only| only == name);
    let targets: Vec<_> = TARGETS.iter().filter(|(_, name)| wanted(name)).collect();
    if targets.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|(_, name)| *name).collect();
        bail!("no such fuzz target; there are: {}", names.join(", "));
    }
    install()?;
    for (folder, name) in targets {
        shell::step(&format!("fuzzing {name} for {} s", options.seconds));
        shell::run(
            nightly("cargo")
                .args(["fuzz", "run", "--fuzz-dir", folder, name, "--"])
                .arg(format!("-max_total_time={}", options.seconds))
                .current_dir(workspace::root()),
        )
        .with_context(|| format!("{name} failed: the input that did it is in {folder}/artifacts"))?;
    }
    println!("no crash");
    Ok(())
}

fn install() -> Result<()> {
    if !shell::succeeds(nightly("rustc").arg("--version")) {
        shell::step("installing the nightly toolchain");
        shell::run(Command::new("rustup").args(["toolchain", "install", "nightly", "--profile", "minimal"]))
            .context("cargo-fuzz needs a nightly toolchain: install rustup")?;
    }
    if shell::succeeds(nightly("cargo").args(["fuzz", "--version"])) {
        return Ok(());
    }
    shell::step("installing cargo-fuzz");
    shell::run(shell::cargo().args(["install", "--locked", "cargo-fuzz"]))
}

/// A program of the nightly toolchain. Cargo has told us to use its own; that must not be inherited.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}
