//! Byte streams through the parsers, as the kernel would cut, shorten and lose them.

mod cut_heads;
mod gaps;
mod harness;
mod midway;
mod plain;
mod properties;
mod script;
