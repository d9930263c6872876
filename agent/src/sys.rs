//! Calls into the C library that Rust has no safe form of.
//!
//! Invariant: the only module of the agent with `unsafe`.

#![allow(unsafe_code)]

/// Gives free memory back to the kernel. glibc keeps what lies below the top of its heap, so that after a rush of
/// connections the probe would stay as large as it was then (`malloc_trim(3)`).
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer and touches only the allocator's own state, under its locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
