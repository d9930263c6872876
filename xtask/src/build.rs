//! `cargo xtask build`: what the build needs, then the probe itself.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{packages, shell, workspace};

/// What to build.
#[derive(clap::Args)]
pub struct Options {
    /// Optimise.
    #[arg(long)]
    release: bool,
}

/// Installs what is missing and builds `stardust-probe`.
pub fn run(options: &Options) -> Result<()> {
    let binary = probe(options.release)?;
    println!("{}", binary.display());
    Ok(())
}

/// A probe that has been built already, for comparing two builds.
const BUILT: &str = "PROBE_UNDER_TEST";

/// The release build of the probe, or the one that `PROBE_UNDER_TEST` names.
pub fn release() -> Result<PathBuf> {
    std::env::var_os(BUILT).map_or_else(|| probe(true), |path| Ok(path.into()))
}

/// Builds the probe and says where it lies.
fn probe(release: bool) -> Result<PathBuf> {
    packages::ensure(&[packages::BUILD])?;
    shell::step(if release { "building stardust-probe (release)" } else { "building stardust-probe" });
    let mut build = shell::cargo();
    build.args(["build", "--package", "stardust-probe", "--bin", "stardust-probe"]);
    if release {
        build.arg("--release");
    }
    shell::run(build.current_dir(workspace::root())).context(
        "the build failed: see the first error above; `cargo xtask build` checks what the machine must have",
    )?;
    Ok(workspace::target()?.join(if release { "release" } else { "debug" }).join("stardust-probe"))
}
