//! Conversations played through the tracer as a source would see them.

#![allow(missing_docs, reason = "a test binary has no public items")]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod budget;
mod closing;
mod connects;
mod context;
mod context_at_random;
mod conversation;
mod copies;
mod copies_at_random;
mod cutting;
mod databases;
mod encrypted;
mod ends;
mod exceptions;
mod follower;
mod frame_begins;
mod frames;
mod front_server;
mod http2;
mod later;
mod left_out_at_random;
mod losses;
mod losses_at_random;
mod pairing;
mod parents;
mod preface;
mod remote;
mod sdk;
mod speed;
mod streaming;
mod tasks;
mod tasks_at_random;
mod threads;
mod threads_at_random;
mod turns_at_random;
mod websocket;
