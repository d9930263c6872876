//! End to end tests: real servers, real clients, stand-in back ends.
//!
//! Invariant: nothing started here outlives the value that stands for it.

#![forbid(unsafe_code)]

pub mod stardust;
