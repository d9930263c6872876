//! Any bytes, read as the content of a gRPC stream in pieces, are counted right or not at all.

#![no_main]

#[path = "../../tests/grpc/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::run(bytes));
