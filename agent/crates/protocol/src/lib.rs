//! Bytes to messages.
//!
//! Invariants: pure (no clock, no IO), total (any bytes give parts, never a panic or an error), and
//! for a stream that was seen whole, independent of how its bytes were cut into chunks.

#![forbid(unsafe_code)]

mod call;
mod chunk;
pub mod database;
pub mod fastcgi;
pub mod gateway;
pub mod grpc;
pub mod hpack;
pub mod http1;
pub mod http2;
pub mod memcached;
pub mod mysql;
pub mod postgresql;
pub mod proxy;
pub mod redis;
pub mod sql;
pub mod tls;
pub mod uwsgi;
pub mod websocket;

pub use chunk::Chunk;
