//! The kernel programs, their binary contract, and the only place that loads them.
//!
//! Invariant: what comes out of the kernel is checked before it is believed. Without the feature `kernel`
//! only the contract and its decoder remain, and neither clang nor libbpf is needed.

#[cfg(feature = "kernel")]
mod capability;
#[cfg(feature = "kernel")]
mod kernel;
#[cfg(feature = "kernel")]
mod skeleton;

pub mod abi;
pub mod record;

#[cfg(feature = "kernel")]
pub use capability::{Capabilities, Lockdown, Way};
#[cfg(feature = "kernel")]
pub use kernel::{Kernel, LoadError, Options, ProgramStatus};
