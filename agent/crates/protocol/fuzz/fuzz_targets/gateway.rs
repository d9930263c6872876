//! Any bytes, read as calls of a connection, keep the invariants of the uwsgi and `FastCGI` parsers.

#![no_main]

#[path = "../../tests/gateway/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::run(bytes));
