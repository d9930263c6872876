//! Any bytes, read as a connection's fate, keep the invariants of the HTTP/2 parser.

#![no_main]

#[path = "../../tests/http2/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::run(bytes));
