//! Which crate may use which.
//!
//! Invariant: data flows one way, and nobody depends on the binary.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;

/// Every crate of the workspace with those of its fellows that it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("protocol", &["model"]),
    ("python", &["model"]),
    ("report", &["model"]),
    ("trace", &["model", "protocol"]),
    ("ebpf", &[]),
    ("stardust-probe", &["ebpf", "model", "protocol", "python", "report", "trace"]),
    ("tests", &[]),
    // The contract only, to compare it with the object's BTF.
    ("xtask", &["ebpf"]),
];

/// Edges between the workspace's crates that are not allowed.
pub fn violations() -> Result<Vec<String>> {
    forbidden(&workspace::metadata()?)
}

fn forbidden(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            found.push(format!("{name} is a new crate: say in xtask/src/tidy/edges.rs what it may use"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            if names.contains(&used) && !allowed.contains(&used) {
                found.push(format!("{name} must not use {used}"));
            }
            if name == "xtask" && used == "ebpf" && dependency["uses_default_features"] != false {
                found.push("xtask must use ebpf without its default features".to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, uses: &[&str]) -> Value {
        let dependencies: Vec<Value> =
            uses.iter().map(|used| json!({"name": used, "uses_default_features": true})).collect();
        json!({"name": name, "dependencies": dependencies})
    }

    #[test]
    fn only_the_drawn_edges_pass() {
        let metadata = json!({"packages": [
            package("model", &["serde"]),
            package("trace", &["model", "protocol", "serde_json"]),
            package("protocol", &["model", "trace"]),
            package("report", &["stardust-probe"]),
            package("stardust-probe", &["ebpf", "trace"]),
            package("ebpf", &["model"]),
            package("tests", &["anyhow"]),
            package("extra", &[]),
            package("xtask", &["ebpf"]),
        ]});
        assert_eq!(
            forbidden(&metadata).unwrap(),
            [
                "protocol must not use trace",
                "report must not use stardust-probe",
                "ebpf must not use model",
                "extra is a new crate: say in xtask/src/tidy/edges.rs what it may use",
                "xtask must use ebpf without its default features",
            ]
        );
    }
}
