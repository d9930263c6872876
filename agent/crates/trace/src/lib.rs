//! Events to spans: connections, exchanges, lineage, names, redaction, sampling.
//!
//! Invariants: no clock is read and no IO done, so that the same events give the same spans; memory is
//! bounded whatever comes in; nothing secret leaves.

#![forbid(unsafe_code)]

mod app;
mod assemble;
mod binding;
mod budget;
mod client_address;
mod connect;
mod connection;
pub mod context;
mod counts;
mod crossing;
mod exchange;
#[cfg(test)]
mod fixture;
mod framework;
mod handed_on;
mod head;
mod ids;
mod lineage;
mod naming;
mod network;
mod pattern;
mod place;
mod process;
mod raised;
mod redact;
mod resets;
mod route;
pub mod sample;
mod sdk;
mod settings;
mod target;
mod text;
mod tracer;
mod traces;
mod written;

pub use counts::Counts;
pub use lineage::CopyCounts;
pub use settings::{Settings, SettingsError, WithSdk};
pub use tracer::{FrameBegin, Tracer};
