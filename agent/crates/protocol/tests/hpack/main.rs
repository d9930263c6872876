//! HPACK as a listener reads it: exactly what real encoders wrote from the start, and nothing wrong later.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod appendix;
mod encoders;
mod harness;
