//! `cargo xtask tidy`: the rules of the repository that no compiler checks.

mod abi;
mod btf;
mod edges;
mod sources;
mod stack;

use anyhow::{Result, bail};

use crate::{shell, workspace};

/// A rule's name and what finds its violations.
type Rule = (&'static str, fn() -> Result<Vec<String>>);

/// Runs every rule, and fails if one is broken.
pub fn run() -> Result<()> {
    let rules: [Rule; 5] = [
        ("crate edges", edges::violations),
        ("sources", || sources::violations(&workspace::root())),
        ("default configuration", || Ok(default_config())),
        ("binary contract", abi::violations),
        ("stack of the kernel programs", || stack::violations(&abi::object()?)),
    ];
    let mut count = 0;
    for (name, violations) in rules {
        shell::step(&format!("tidy: {name}"));
        for violation in violations()? {
            println!("{name}: {violation}");
            count += 1;
        }
    }
    if count > 0 {
        bail!("tidy: {count} violations");
    }
    Ok(())
}

fn default_config() -> Vec<String> {
    let path = "agent/config.default.toml";
    let there = workspace::root().join(path).is_file();
    if there { Vec::new() } else { vec![format!("{path} is missing: it lists every knob")] }
}
