//! End to end tests: real servers, real clients, stand-in back ends.
//!
//! Invariant: nothing started here outlives the value that stands for it.

#![forbid(unsafe_code)]

pub mod caller;
pub mod certificate;
pub mod client;
pub mod clock;
pub mod command;
pub mod curl;
pub mod database;
pub mod encryption;
pub mod failures;
pub mod framing;
pub mod ledger;
pub mod lineage;
pub mod probe;
pub mod process;
pub mod reported;
pub mod script;
pub mod server;
pub mod stardust;
pub mod streams;
pub mod told_client;
pub mod venv;
pub mod watch;
