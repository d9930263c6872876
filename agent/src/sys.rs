//! Calls into the C library that Rust has no safe form of.
//!
//! Invariant: the only module of the agent with `unsafe`.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// `MAX_HANDLE_SZ` (include/linux/exportfs.h).
const HANDLE_BYTES: usize = 128;

/// What a file system tells its files apart by: the kind, and the bytes (`name_to_handle_at(2)`, with `AT_HANDLE_FID` since
/// Linux 6.5).
pub fn file_handle(path: &Path) -> io::Result<(i32, Vec<u8>)> {
    /// `struct file_handle` with room behind it.
    #[repr(C)]
    struct Handle {
        bytes: libc::c_uint,
        kind: libc::c_int,
        room: [u8; HANDLE_BYTES],
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut handle = Handle { bytes: HANDLE_BYTES as libc::c_uint, kind: 0, room: [0; HANDLE_BYTES] };
    let mut mount: libc::c_int = 0;
    let flags = libc::AT_HANDLE_FID | libc::AT_SYMLINK_FOLLOW;
    // SAFETY: the path ends with a zero, the handle begins as the kernel's does and says how much room is behind that, and
    // all three outlive the call.
    let result = unsafe {
        libc::name_to_handle_at(
            libc::AT_FDCWD,
            path.as_ptr(),
            (&raw mut handle).cast(),
            &raw mut mount,
            flags,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = handle.room.get(..handle.bytes as usize).unwrap_or_default();
    Ok((handle.kind, bytes.to_vec()))
}

/// Gives free memory back to the kernel. glibc keeps what lies below the top of its heap, so that after a rush of
/// connections the probe would stay as large as it was then (`malloc_trim(3)`).
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer and touches only the allocator's own state, under its locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
