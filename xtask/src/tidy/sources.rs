//! Rules for single source files: a description on top, no left-overs, not too long.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Lines a file may have, unless its module documentation says `Long because`.
const LINES_MAX: usize = 400;
const LONG_REASON: &str = "Long because";
/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", "fuzz/corpus", "fuzz/artifacts", "__pycache__"];
/// Generated from kernel types or fetched whole: not ours to shape.
const FOREIGN: &[&str] = &["vmlinux.h"];

/// What is wrong in the Rust and C files below `root`.
pub fn violations(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    visit(root, root, &mut found)?;
    found.sort();
    Ok(found)
}

fn visit(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        let shown = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            if !SKIPPED.iter().any(|skipped| shown == *skipped || shown.ends_with(&format!("/{skipped}"))) {
                visit(root, &path, found)?;
            }
            continue;
        }
        let language = match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => Language::Rust,
            Some("c" | "h") if !FOREIGN.contains(&name.as_ref()) => Language::C,
            _ => continue,
        };
        let text = fs::read_to_string(&path).with_context(|| format!("read {shown}"))?;
        found.extend(faults(language, &text).into_iter().map(|fault| format!("{shown}{fault}")));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Language {
    Rust,
    C,
}

/// The faults of one file, each with `:LINE` where it has one.
fn faults(language: Language, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let described = match language {
        Language::Rust => text.starts_with("//!"),
        Language::C => text.starts_with("/*") || text.starts_with("//"),
    };
    if !described {
        found.push(": does not begin by saying what it is for".to_owned());
    }
    let lines = text.lines().count();
    let is_on_top = |line: &&str| ["//", "/*", " *"].iter().any(|begins| line.starts_with(begins));
    let reason = text.lines().take_while(is_on_top).any(|line| line.contains(LONG_REASON));
    if lines > LINES_MAX && !reason {
        found.push(format!(": {lines} lines, more than {LINES_MAX}, without a `{LONG_REASON}` on top"));
    }
    // Put together so that this file passes its own check.
    let leftovers = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("dbg", "!(")];
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        for leftover in leftovers {
            if line.contains(leftover) {
                found.push(format!(":{number}: {leftover}"));
            }
        }
        if line.ends_with([' ', '\t', '\r']) {
            found.push(format!(":{number}: white space at the end"));
        }
        if language == Language::Rust && line.contains('\t') {
            found.push(format!(":{number}: a tab"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_with_its_place() {
        let long = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
        let excused = long.replace("//! Long.", "//! A table.\n//! Long because it is one table.");
        let excused_c = format!("/* A table.\n * Long because it is one. */\n{}", "\n".repeat(LINES_MAX));
        let cases: [(Language, &str, &[&str]); 10] = [
            (Language::Rust, "//! Good.\nfn main() {}\n", &[]),
            (Language::Rust, "fn main() {}\n", &[": does not begin by saying what it is for"]),
            (Language::Rust, "//! Good.\nlet a = 1; \n", &[":2: white space at the end"]),
            (Language::Rust, "//! Good.\n\tlet a = 1;\n", &[":2: a tab"]),
            (Language::Rust, concat!("//! Good.\n// TO", "DO: more\n"), &[concat!(":2: TO", "DO")]),
            (Language::Rust, concat!("//! Good.\ndbg", "!(1);\n"), &[concat!(":2: dbg", "!(")]),
            (Language::Rust, &long, &[": 401 lines, more than 400, without a `Long because` on top"]),
            (Language::Rust, &excused, &[]),
            (Language::C, &excused_c, &[]),
            (Language::C, "int a;\n\tint b;\n", &[": does not begin by saying what it is for"]),
        ];
        for (language, text, expected) in cases {
            assert_eq!(faults(language, text), expected, "{text:.40}");
        }
    }

    #[test]
    fn only_sources_outside_the_skipped_folders_are_read() {
        let root = std::env::temp_dir().join(format!("xtask-sources-{}", std::process::id()));
        for file in
            ["a/bad.rs", "target/bad.rs", "a/fuzz/corpus/bad.rs", "a/vmlinux.h", "a/bad.h", "a/notes.md"]
        {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "bad\n").unwrap();
        }
        let found = violations(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            found,
            [
                "a/bad.h: does not begin by saying what it is for",
                "a/bad.rs: does not begin by saying what it is for"
            ]
        );
    }
}
