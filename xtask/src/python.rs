//! Python virtual environments below the target directory.
//!
//! Invariant: an environment is made once for one list of requirements, and made anew when the list changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{packages, shell, workspace};

/// Makes the environment `target/NAME` with what `requirements` lists, and gives its folder.
pub fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = workspace::target()?.join(name);
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("read the requirements {}", requirements.display()))?;
    let stamp = folder.join("requirements.installed");
    let works = shell::succeeds(Command::new(folder.join("bin/python")).args(["-m", "pip", "--version"]));
    if works && fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    packages::ensure(&[packages::PYTHON_APPS])?;
    shell::step(&format!("making the Python environment {}", folder.display()));
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("make a Python environment: Debian keeps it in python3-venv")?;
    shell::run(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(requirements),
    )
    .context("install the Python packages: is the package index reachable?")?;
    fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))?;
    Ok(folder)
}
