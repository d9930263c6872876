//! Where things lie, and what cargo says about the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell;

/// The folder with the root `Cargo.toml`.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// What `cargo metadata` says: the workspace's own packages, without their dependencies' dependencies.
pub fn metadata() -> Result<Value> {
    let text = shell::read(
        shell::cargo().args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root()),
    )?;
    serde_json::from_str(&text).context("read what cargo metadata printed")
}

/// The folder cargo builds into.
pub fn target() -> Result<PathBuf> {
    let metadata = metadata()?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}
