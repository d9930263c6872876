//! Byte streams through the parsers, as the kernel would cut, shorten and lose them.

mod harness;
mod plain;
