//! How a connection begins (PostgreSQL 17 documentation, section 55.2.1 and 55.7). Invariant: of the startup
//! message only the database's name is kept.

use super::message::split_nul;
use crate::database::{Frame, Measure};

/// `MAX_STARTUP_PACKET_LENGTH` (src/include/libpq/pqcomm.h).
const MAX_STARTUP_BYTES: u32 = 10_000;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// What the first message of a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// It asks whether the rest may be encrypted.
    Encryption,
    Cancel,
    Startup {
        database: Option<String>,
    },
    Strange,
}

/// A message without a type: a length that counts itself, then a version or a request's code.
pub(super) fn startup_framing(bytes: &[u8]) -> Measure {
    let Some((len, code)) = two_numbers(bytes) else { return Measure::More };
    if is_hello(len, code) {
        Measure::Known { header: 8, payload: u64::from(len) - 8, keep: MAX_STARTUP_BYTES as usize }
    } else {
        Measure::Bad
    }
}

fn two_numbers(bytes: &[u8]) -> Option<(u32, u32)> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*len), u32::from_be_bytes(*rest.first_chunk::<4>()?)))
}

/// Whether a connection may begin with these two numbers.
pub(crate) fn is_hello(len: u32, code: u32) -> bool {
    match code {
        SSL_REQUEST | GSSENC_REQUEST => len == 8,
        CANCEL_REQUEST => (16..=264).contains(&len),
        // Version 3, any minor version.
        _ => code >> 16 == 3 && (9..=MAX_STARTUP_BYTES).contains(&len),
    }
}

pub(super) fn hello(frame: &Frame) -> Hello {
    match two_numbers(&frame.header).map_or(0, |(_, code)| code) {
        SSL_REQUEST | GSSENC_REQUEST => Hello::Encryption,
        CANCEL_REQUEST => Hello::Cancel,
        code if code >> 16 == 3 => {
            let (mut user, mut database) = (None, None);
            let mut rest = &frame.payload[..];
            while !rest.is_empty() && rest[0] != 0 {
                let (key, after) = split_nul(rest);
                let (value, after) = split_nul(after);
                match key {
                    b"user" => user = Some(value),
                    b"database" => database = Some(value),
                    _ => {}
                }
                rest = after;
            }
            // Without a name the database is called as the user is.
            let named = database.or(user).filter(|name| !name.is_empty() && name.len() <= 128);
            Hello::Startup { database: named.map(|name| String::from_utf8_lossy(name).into_owned()) }
        }
        _ => Hello::Strange,
    }
}

/// Whether a connection's first bytes are a client's first message. `None`: they may be, once there are more.
pub(crate) fn looks_like_hello(bytes: &[u8]) -> Option<bool> {
    let Some((len, code)) = two_numbers(bytes) else {
        // The lengths that can be begin with two zeros, and no text does.
        return if bytes.iter().take(2).all(|byte| *byte == 0) && !bytes.is_empty() {
            None
        } else {
            Some(false)
        };
    };
    // A startup's parameters begin with a name in plain letters.
    let named = code >> 16 != 3 || bytes.get(8).is_none_or(|byte| byte.is_ascii_lowercase() || *byte == b'_');
    Some(is_hello(len, code) && named)
}
