//! Any bytes, read as a connection's fate, keep the invariants of the parser for MySQL.

#![no_main]

#[path = "../../tests/database/script.rs"]
mod script;

use protocol::database::Kind;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::run(&[Kind::Mysql], bytes));
