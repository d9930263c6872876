//! `WebSocket` frames, whole and cut, masked and not, with holes.

#![allow(missing_docs, reason = "a test binary has no public items")]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod frames;
mod script;
