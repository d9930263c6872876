//! The Stardust exporter against a server that answers as it is told to.

mod login;
mod push;
mod reports;
mod rig;
mod stand;
mod tls;
