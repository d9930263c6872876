//! CPython from outside: versions, layouts, where the interpreter keeps its state, and what its objects say.
//!
//! Invariants: pure (bytes in, values out; memory is read through [`Memory`] only) and total: damaged or hostile
//! memory gives `None`. What is not known for certain is not given: an unknown version has no layout.

#![forbid(unsafe_code)]

pub mod builtin;
pub mod code;
mod debug_offsets;
pub mod dispatch;
pub mod exception;
mod interpreter;
pub mod layout;
mod memory;
pub mod modules;
pub mod object;
pub mod routes;
pub mod stacktrace;
pub mod state;
pub mod text;
pub mod traceback;
mod version;

pub use debug_offsets::{DebugOffsets, Mismatch};
pub use interpreter::{Build, File, Unknown};
pub use layout::Layout;
pub use memory::Memory;
pub use version::Version;
