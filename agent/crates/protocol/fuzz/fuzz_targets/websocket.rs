//! Any bytes, read as `WebSocket` frames in pieces, keep the parser's invariants.

#![no_main]

#[path = "../../tests/websocket/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::run(bytes));
