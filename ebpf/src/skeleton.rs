//! What libbpf-cargo wrote from the compiled object.

#![allow(clippy::all, clippy::pedantic, clippy::unwrap_used, missing_docs, unused, unsafe_op_in_unsafe_fn)]

include!(concat!(env!("OUT_DIR"), "/probe.skel.rs"));
