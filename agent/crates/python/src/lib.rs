//! CPython from outside: versions, layouts, and where the interpreter keeps its state.
//!
//! Invariants: pure (bytes in, values out; memory is read through [`Memory`] only) and total: damaged or hostile
//! memory gives `None`. What is not known for certain is not given: an unknown version has no layout.

#![forbid(unsafe_code)]

mod debug_offsets;
pub mod layout;
mod memory;
mod version;

pub use debug_offsets::{DebugOffsets, Mismatch};
pub use layout::Layout;
pub use memory::Memory;
pub use version::Version;
