//! gRPC's messages in the content of streams, however it is cut and whatever of it is missed.

#![allow(missing_docs, reason = "a test binary has no public items")]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod properties;
mod script;
