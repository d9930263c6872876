//! The C and the Rust side of the binary contract say the same.
//!
//! Invariant: what the kernel programs were compiled with is compared, not what their source says.

use std::path::PathBuf;

use anyhow::{Result, bail};
use ebpf::abi::{CONSTANTS, LAYOUT, StructLayout};

use super::btf::Types;
use crate::{packages, shell, workspace};

/// Where the build script of `ebpf` leaves the object, below the target directory.
const OBJECT: &str = "ebpf/probe.bpf.o";
/// The C struct whose fields are every struct of the contract.
const CONTRACT: &str = "contract";

/// Where the two sides differ.
pub fn violations() -> Result<Vec<String>> {
    let types = Types::read(&object()?)?;
    let mut found = Vec::new();
    for layout in LAYOUT {
        found.extend(differences(&types, layout)?);
    }
    for part in types.parts(CONTRACT) {
        if !LAYOUT.iter().any(|layout| layout.name == part) {
            found.push(format!("struct {part} is in the object, but not in abi.rs"));
        }
    }
    for &(name, value) in CONSTANTS {
        match types.constant(name) {
            Some(compiled) if compiled == value => {}
            Some(compiled) => found.push(format!("{name} is {compiled} in C, {value} in Rust")),
            None => found.push(format!("{name} is no enum constant of the object")),
        }
    }
    Ok(found)
}

/// The object as the last build left it; built now where there is none, or where its sources are newer.
pub fn object() -> Result<PathBuf> {
    let path = workspace::target()?.join(OBJECT);
    packages::ensure(&[packages::BUILD])?;
    // Cargo knows whether it is up to date; this costs little where it is.
    shell::run(
        shell::cargo().args(["build", "--quiet", "--package", "ebpf"]).current_dir(workspace::root()),
    )?;
    if !path.is_file() {
        bail!("building ebpf left no {}", path.display());
    }
    Ok(path)
}

fn differences(types: &Types, rust: &StructLayout) -> Result<Vec<String>> {
    let name = rust.name;
    let Some(c) = types.layout(name)? else {
        return Ok(vec![format!("struct {name} is in abi.rs, but not in the object")]);
    };
    let mut found = Vec::new();
    if c.size_bytes != rust.size_bytes {
        found.push(format!("struct {name} has {} bytes in C, {} in Rust", c.size_bytes, rust.size_bytes));
    }
    let rust_fields: Vec<(String, usize, usize)> =
        rust.fields.iter().map(|&(field, offset, size)| (field.to_owned(), offset, size)).collect();
    for field in c.fields.iter().filter(|field| !rust_fields.contains(field)) {
        found.push(format!("struct {name}: only in C: {}", shown(field)));
    }
    for field in rust_fields.iter().filter(|field| !c.fields.contains(field)) {
        found.push(format!("struct {name}: only in Rust: {}", shown(field)));
    }
    Ok(found)
}

fn shown((name, offset, size): &(String, usize, usize)) -> String {
    format!("{name}, {size} bytes at {offset}")
}

#[cfg(test)]
mod tests {
    use super::super::btf::tests::compile;
    use super::*;

    #[test]
    fn every_difference_is_told() {
        let types = compile("differences");
        let told = |name, size_bytes, fields| {
            differences(&types, &StructLayout { name, size_bytes, fields }).unwrap().join("; ")
        };
        assert_eq!(told("inner", 8, &[("a", 0, 2), ("b", 2, 6)]), "");
        assert_eq!(told("missing", 8, &[]), "struct missing is in abi.rs, but not in the object");
        assert_eq!(
            told("inner", 12, &[("a", 0, 2), ("b", 4, 6), ("c", 10, 2)]),
            "struct inner has 8 bytes in C, 12 in Rust; struct inner: only in C: b, 6 bytes at 2; \
             struct inner: only in Rust: b, 6 bytes at 4; struct inner: only in Rust: c, 2 bytes at 10"
        );
    }
}
