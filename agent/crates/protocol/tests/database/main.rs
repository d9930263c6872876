//! The database protocols: what is read of whole conversations, cut anyhow, truncated, and joined midway.

mod bytes;
mod harness;
mod memcached;
mod mysql;
mod postgresql;
mod properties;
mod redis;
mod script;
