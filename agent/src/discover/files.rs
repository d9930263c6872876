//! Bounded reads of files that may be hostile or endless.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads at most `max` bytes; what is longer is cut.
pub(super) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same as text; bytes that are not UTF-8 are replaced.
pub(super) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    read(path, max).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The parts between NUL bytes, the last NUL ending the last part.
pub(super) fn split_nul(bytes: &[u8]) -> Vec<String> {
    let trimmed = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if trimmed.is_empty() {
        return Vec::new();
    }
    trimmed.split(|&byte| byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The last component of a path written with `/`.
pub(super) fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}
