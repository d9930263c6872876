//! Any text has a bounded summary, and no literal in it.

#![no_main]

use protocol::sql::{Dialect, summarize};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for dialect in [Dialect::Postgresql, Dialect::Mysql] {
        assert!(summarize(bytes, dialect, true).summary.len() <= 255);
    }
});
