//! HTTP/2 as a listener reads it: both directions over any cutting, with holes, and from the middle.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod gaps;
mod harness;
mod midway;
mod plain;
mod properties;
mod script;
