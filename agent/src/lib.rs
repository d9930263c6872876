//! The probe as a library: all IO and wiring. The command line is a thin shell around it.
//!
//! Invariant: nothing here ends the process; every failure is a value that carries its exit code.

#![deny(unsafe_code)]

mod attach;
mod check;
pub mod cli;
mod clock;
mod collections;
pub mod config;
mod decode;
pub mod discover;
mod exceptions;
pub mod exit;
mod file_sites;
mod followed_probe;
mod frame;
mod interpreters;
mod lineage;
mod live;
pub mod logging;
mod outputs;
mod pipeline;
mod policy;
mod probe_site;
mod routes;
mod run;
mod sys;
mod tls;
mod watch;

pub use run::run;
