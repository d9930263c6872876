//! The kernel programs, their binary contract, and the only place that loads them.
//!
//! Invariant: what comes out of the kernel is checked before it is believed. Without the feature `kernel`
//! only the contract and its decoder remain, and neither clang nor libbpf is needed.

#[cfg(feature = "kernel")]
mod capability;
#[cfg(feature = "kernel")]
mod collections;
#[cfg(feature = "kernel")]
mod contexts;
#[cfg(feature = "kernel")]
mod exceptions;
#[cfg(feature = "kernel")]
mod kernel;
#[cfg(feature = "kernel")]
mod processes;
#[cfg(feature = "kernel")]
mod release;
#[cfg(feature = "kernel")]
mod ring;
#[cfg(feature = "kernel")]
mod skeleton;
#[cfg(feature = "kernel")]
mod tls_libraries;
#[cfg(feature = "kernel")]
mod user_probe;
#[cfg(feature = "kernel")]
mod wishes;

pub mod abi;
pub mod record;

#[cfg(feature = "kernel")]
pub use capability::{Capabilities, Lockdown, UserProbes, Way};
#[cfg(feature = "kernel")]
pub use contexts::ContextSite;
#[cfg(feature = "kernel")]
pub use exceptions::ExceptionSite;
#[cfg(feature = "kernel")]
pub use kernel::{Kernel, LoadError, Options, ProgramStatus};
#[cfg(feature = "kernel")]
pub use release::UntilReleased;
#[cfg(feature = "kernel")]
pub use ring::Ring;
#[cfg(feature = "kernel")]
pub use user_probe::{UserProbe, UserProgram, UserSite};
#[cfg(feature = "kernel")]
pub use wishes::FrameBegin;
