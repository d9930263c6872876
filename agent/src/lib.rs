//! The probe as a library: all IO and wiring. The command line is a thin shell around it.
//!
//! Invariant: nothing here ends the process; every failure is a value that carries its exit code.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod discover;
pub mod exit;
pub mod logging;
