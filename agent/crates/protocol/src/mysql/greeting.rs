//! How a connection begins (MySQL source documentation, "Connection Phase"). Invariant: of a login only the
//! database's name and the capabilities are kept.

use super::packet::{length_encoded, u16_at, u32_at};

/// Capabilities (MySQL source documentation, "Capabilities Flags").
const CONNECT_WITH_DB: u32 = 1 << 3;
const COMPRESS: u32 = 1 << 5;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
const AUTH_LENENC: u32 = 1 << 21;
const DEPRECATE_EOF: u32 = 1 << 24;
const ZSTD: u32 = 1 << 26;
const QUERY_ATTRIBUTES: u32 = 1 << 27;

/// What both sides have agreed upon.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Agreement {
    server: u32,
    /// Result sets end with an OK packet. `None`: not known.
    pub(super) deprecate_eof: Option<bool>,
    pub(super) compressed: bool,
    query_attributes: bool,
}

/// What the client answers to the greeting.
#[derive(Debug)]
pub(super) enum Login {
    Encryption,
    Accepted { database: Option<String>, capabilities: u32 },
    Strange,
}

impl Agreement {
    /// From a greeting (`Protocol::HandshakeV10`); whether the server calls itself MariaDB as well.
    pub(super) fn greeted(payload: &[u8]) -> Option<(Self, bool)> {
        let rest = payload.strip_prefix(&[10])?;
        let end = memchr::memchr(0, rest)?;
        let (version, rest) = (&rest[..end], &rest[end + 1..]);
        if !is_version(version) {
            return None;
        }
        // Connection id, eight bytes of a nonce, a filler; then the capabilities in two halves, with the
        // character set and the status between.
        let low = u16_at(rest, 13)?;
        let high = u16_at(rest, 18).unwrap_or(0);
        let server = u32::from(high) << 16 | u32::from(low);
        let mariadb = memchr::memmem::find(version, b"MariaDB").is_some();
        Some((Self { server, ..Self::default() }, mariadb))
    }

    pub(super) fn settle(&mut self, client: u32) {
        // A client asks for nothing that the server has not offered.
        let both = if self.server == 0 { client } else { self.server & client };
        self.deprecate_eof = Some(both & DEPRECATE_EOF != 0);
        self.compressed = both & (COMPRESS | ZSTD) != 0;
        self.query_attributes = both & QUERY_ATTRIBUTES != 0;
    }

    /// The statement in a query's argument: attributes may stand before it (`COM_QUERY`).
    pub(super) fn query_text(self, argument: &[u8]) -> &[u8] {
        // Only queries without attributes are read: two numbers, 0 and 1.
        match argument {
            [0, 1, text @ ..] if self.query_attributes || self.deprecate_eof.is_none() => text,
            text => text,
        }
    }
}

/// The text of a server's version: `8.4.3`, `5.5.5-10.11.6-MariaDB`.
fn is_version(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
        && text.contains(&b'.')
        && text.len() <= 128
        && text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}

/// Whether a server's first bytes, out of `len`, are a greeting. `None`: they may be, once there are more.
pub(crate) fn looks_like_greeting(bytes: &[u8], len: u64) -> Option<bool> {
    let payload_bytes = match bytes {
        [a, b, 0, 0, ..] => u64::from(u16::from_le_bytes([*a, *b])),
        [_, _, 0] | [_, _] | [_] => return None,
        _ => return Some(false),
    };
    // Version 10, and a version's text that begins with a digit.
    let begins = bytes.get(4).is_none_or(|version| *version == 10)
        && bytes.get(5).is_none_or(u8::is_ascii_digit)
        && (40..=1024).contains(&payload_bytes);
    if !begins || len > payload_bytes + 4 {
        return Some(false);
    }
    if len < payload_bytes + 4 {
        return None;
    }
    Some(Agreement::greeted(&bytes[4..]).is_some())
}

/// Whether a payload is the login of a client inside TLS: it says again that it wanted that, and fillers are zero.
pub(super) fn is_login(payload: &[u8]) -> bool {
    let wanted = PROTOCOL_41 | SSL | SECURE_CONNECTION;
    let capable = u32_at(payload, 0).is_some_and(|capabilities| capabilities & wanted == wanted);
    // Behind the greatest packet and the character set; MariaDB keeps further capabilities in the last four.
    capable && payload.get(9..28).is_some_and(|filler| filler.iter().all(|byte| *byte == 0))
}

/// Whether a client's first bytes, out of `len`, are such a login.
pub(crate) fn looks_like_login(bytes: &[u8], len: u64) -> bool {
    let [a, b, 0, 1..=3, ref payload @ ..] = *bytes else { return false };
    u64::from(u16::from_le_bytes([a, b])) + 4 == len && is_login(payload)
}

/// `Protocol::HandshakeResponse41`.
pub(super) fn login(payload: &[u8], payload_bytes: u64) -> Login {
    let Some(capabilities) = u32_at(payload, 0) else { return Login::Strange };
    if capabilities & PROTOCOL_41 == 0 {
        return Login::Strange;
    }
    if capabilities & SSL != 0 && payload_bytes == 32 {
        return Login::Encryption;
    }
    let database = database_of(payload, capabilities);
    Login::Accepted { database, capabilities }
}

fn database_of(payload: &[u8], capabilities: u32) -> Option<String> {
    if capabilities & CONNECT_WITH_DB == 0 {
        return None;
    }
    let rest = payload.get(32..)?;
    let rest = &rest[memchr::memchr(0, rest)? + 1..];
    let rest = if capabilities & AUTH_LENENC != 0 {
        let (len, digits) = length_encoded(rest)?;
        rest.get(digits..)?.get(usize::try_from(len).ok()?..)?
    } else if capabilities & SECURE_CONNECTION != 0 {
        rest.get(1 + usize::from(*rest.first()?)..)?
    } else {
        &rest[memchr::memchr(0, rest)? + 1..]
    };
    text(rest)
}

/// The database in a `COM_CHANGE_USER`: user, a secret with its length before it, database.
pub(super) fn database_of_change(argument: &[u8]) -> Option<String> {
    let rest = &argument[memchr::memchr(0, argument)? + 1..];
    text(rest.get(1 + usize::from(*rest.first()?)..)?)
}

fn text(bytes: &[u8]) -> Option<String> {
    let name = &bytes[..memchr::memchr(0, bytes)?];
    (!name.is_empty() && name.len() <= 128).then(|| String::from_utf8_lossy(name).into_owned())
}
