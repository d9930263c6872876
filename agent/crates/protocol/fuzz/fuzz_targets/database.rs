//! Any bytes, read as a connection's fate, keep the invariants of the database parsers.

#![no_main]

#[path = "../../tests/database/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::run(bytes));
