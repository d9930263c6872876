//! The interpreters of this host.

use std::path::{Path, PathBuf};

/// Each as a shared library, and Debian's own.
pub(crate) fn interpreters() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = std::fs::read_dir(Path::new(&home).join(".pyenv/versions"));
    let mut libraries: Vec<_> = versions
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|version| std::fs::read_dir(version.path().join("lib")).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".so.1.0"))
        .collect();
    libraries.extend(["/usr/bin/python3.11"].map(PathBuf::from).into_iter().filter(|path| path.exists()));
    libraries
}
