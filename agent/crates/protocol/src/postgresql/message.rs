//! The form of messages (PostgreSQL 17 documentation, section 55.7 "Message Formats"): a type, a length that
//! counts itself, a payload. Invariant: what is kept of a message is bounded, and nothing of a password or a row.

use memchr::memchr;

use crate::database::Measure;

/// Most bytes kept of a statement's text with the names before it.
const MAX_STATEMENT_BYTES: usize = 4096;
const MAX_NAME_BYTES: usize = 256;
const MAX_ERROR_BYTES: usize = 512;
/// A length past this is none: the server's own limit (`PQ_LARGE_MESSAGE_LIMIT`, `MaxAllocSize`:
/// src/include/libpq/libpq.h and src/include/utils/memutils.h).
const MAX_MESSAGE_BYTES: u64 = 0x3fff_ffff;

/// A message of the client, once it is past the startup.
pub(super) fn client_framing(bytes: &[u8]) -> Measure {
    let keep = match bytes.first() {
        Some(b'Q' | b'P') => MAX_STATEMENT_BYTES,
        Some(b'B') => 2 * MAX_NAME_BYTES,
        Some(b'E' | b'C') => MAX_NAME_BYTES,
        Some(b'D' | b'F' | b'H' | b'S' | b'X' | b'd' | b'c' | b'f' | b'p') => 0,
        Some(_) => return Measure::Bad,
        None => return Measure::More,
    };
    framing(bytes, keep)
}

/// A message of the server.
pub(super) fn server_framing(bytes: &[u8]) -> Measure {
    let keep = match bytes.first() {
        Some(b'E') => MAX_ERROR_BYTES,
        Some(b'R') => 4,
        Some(
            b'1' | b'2' | b'3' | b'A' | b'C' | b'D' | b'G' | b'H' | b'I' | b'K' | b'N' | b'S' | b'T' | b'V'
            | b'W' | b'Z' | b'c' | b'd' | b'n' | b's' | b't' | b'v',
        ) => 0,
        Some(_) => return Measure::Bad,
        None => return Measure::More,
    };
    framing(bytes, keep)
}

fn framing(bytes: &[u8], keep: usize) -> Measure {
    let [_, a, b, c, d, ..] = *bytes else { return Measure::More };
    let len = u64::from(u32::from_be_bytes([a, b, c, d]));
    match len.checked_sub(4) {
        Some(payload) if len <= MAX_MESSAGE_BYTES => Measure::Known { header: 5, payload, keep },
        _ => Measure::Bad,
    }
}

/// The bytes before the first NUL, or all if there is none (cut off).
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    split_nul(bytes).0
}

/// The bytes before the first NUL, and those behind it.
pub(super) fn split_nul(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr(0, bytes) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// Whether a call of `len` bytes, of which the first are given, is made of whole commands: what is needed where
/// the beginning was not seen. `whole`: all of it is given.
pub(crate) fn looks_like_commands(bytes: &[u8], len: u64, whole: bool) -> bool {
    let mut at = 0_usize;
    let mut text_seen = false;
    loop {
        let Measure::Known { header, payload, .. } = client_framing(&bytes[at..]) else {
            // Cut short by the limit on copying: what stood before must have been convincing.
            return !whole && text_seen && bytes.len() - at < 5;
        };
        let kind = bytes[at];
        let inside = &bytes[at + header..];
        let end = at as u64 + header as u64 + payload;
        if end > len {
            return false;
        }
        match kind {
            b'Q' | b'P' => {
                let text = if kind == b'Q' { inside } else { split_nul(inside).1 };
                let text = until_nul(text);
                let found = crate::sql::summarize(text, crate::sql::Dialect::Postgresql, false);
                if found.operation.is_none() || payload == 0 {
                    return false;
                }
                text_seen = true;
            }
            b'S' | b'H' if payload != 0 => return false,
            // A chain that ends so has shown its lengths to be right.
            b'S' if at > 0 && end == len => return true,
            b'B' | b'E' | b'D' | b'C' | b'H' => {}
            _ => return false,
        }
        if end == len {
            return text_seen;
        }
        match usize::try_from(end) {
            Ok(next) if next < bytes.len() => at = next,
            _ => return !whole && text_seen,
        }
    }
}
