//! Exceptions of every kind, held by each interpreter at hand, are read from outside and compared with what its own
//! `traceback` module says of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use python::code::Codes;
use python::object::Objects;
use python::{Layout, Memory, Version, exception, stacktrace};
use serde_json::Value;

struct ProcessMemory(File);

impl Memory for ProcessMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.0.read_exact_at(into, address).is_ok()
    }
}

/// Interpreters of this machine that have a layout.
fn interpreters() -> Vec<(Version, PathBuf)> {
    let mut folders = vec![PathBuf::from("/usr/bin")];
    if let Some(home) = std::env::var_os("HOME") {
        let versions = PathBuf::from(home).join(".pyenv/versions").read_dir();
        folders.extend(versions.into_iter().flatten().flatten().map(|entry| entry.path().join("bin")));
    }
    let mut found = Vec::new();
    for folder in folders {
        for minor in 8..=14 {
            let path = folder.join(format!("python3.{minor}"));
            if path.is_file() {
                found.push((Version::release(3, minor), path));
            }
        }
    }
    found
}

#[test]
fn what_the_interpreter_says_is_read_from_outside() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exceptions.py");
    let interpreters = interpreters();
    assert!(!interpreters.is_empty(), "no Python 3.8 to 3.14 on this machine");
    for (version, path) in interpreters {
        let mut child = Command::new(&path)
            .args(["-I", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let memory = ProcessMemory(File::open(format!("/proc/{}/mem", child.id())).unwrap());
        let objects = Objects { memory: &memory, layout: Layout::of(version).unwrap() };
        let mut codes = Codes::default();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Nothing is read before all was printed: printing makes garbage, and could move nothing, but be sure.
        let cases: Vec<String> =
            lines.by_ref().map(Result::unwrap).take_while(|line| line != "end").collect();
        assert!(cases.len() > 30, "{}", path.display());
        for case in cases {
            compare(&path, &serde_json::from_str(&case).unwrap(), &objects, &mut codes);
        }
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}

fn compare(path: &std::path::Path, want: &Value, objects: &Objects<'_>, codes: &mut Codes) {
    let case = format!("{} of {}", want["case"], path.display());
    let found = exception::read(objects, codes, want["address"].as_u64().unwrap());
    let found = found.unwrap_or_else(|| panic!("{case} is not found"));
    assert_eq!(found.name.full(), want["name"].as_str().unwrap(), "{case}");

    let frames: Vec<Value> = found
        .traceback
        .frames()
        .map(|frame| serde_json::json!([&*frame.file, frame.line, &*frame.function]))
        .collect();
    let wanted = want["frames"].as_array().unwrap();
    let kept = frames.len();
    assert_eq!(wanted.len(), kept + found.traceback.left_out as usize, "{case}");
    let (outer, inner) = (found.traceback.outer.len(), found.traceback.inner.len());
    assert_eq!(frames[..outer], wanted[..outer], "{case}");
    assert_eq!(frames[outer..], wanted[wanted.len() - inner..], "{case}");

    let message = found.message.as_deref().unwrap();
    match (want["case"].as_str().unwrap(), want["message"].as_str()) {
        ("says nothing", _) => assert_eq!(message, "argument"),
        ("an object", _) => assert_eq!(message, "<shop.stock.Plain object>"),
        ("long", Some(wanted)) => {
            let kept = message.strip_suffix('\u{2026}').unwrap();
            assert!(kept.len() == 1024 && wanted.starts_with(kept), "{case}");
        }
        (_, wanted) => assert_eq!(Some(message), wanted, "{case}"),
    }
    let told = match want["case"].as_str().unwrap() {
        "long" | "says nothing" | "an object" | "deep recursion" => return,
        _ => want["stacktrace"].as_str().unwrap(),
    };
    assert_eq!(stacktrace::write(&found), told.trim_end(), "{case}");
}
