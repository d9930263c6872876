//! What TLS shows without keys: records, the hello messages, alerts in the clear (RFC 8446, RFC 5246).
//!
//! Invariant: a record's length is believed, its content is not: what is encrypted is skipped by length.

mod cipher;
mod hello;
mod record;

pub use cipher::CipherSuite;
pub use hello::{ClientHello, ServerHello, Version};
pub use record::Reader;

/// Bytes of a record's header (RFC 8446 section 5.1).
const HEADER_BYTES: usize = 5;
/// A record's content is at most 2^14 bytes; encryption may add 2048 (RFC 5246 section 6.2.3).
const MAX_RECORD_BYTES: u16 = (1 << 14) + 2048;

/// A part of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The client's first message.
    ClientHello {
        /// When its last byte passed.
        at_ns: u64,
        /// What it says.
        hello: ClientHello,
    },
    /// The server's answer.
    ServerHello {
        /// When its last byte passed.
        at_ns: u64,
        /// What it says.
        hello: ServerHello,
    },
    /// What follows in this direction is encrypted with the new keys (TLS 1.2), or looks so (1.3).
    ChangeCipherSpec {
        /// When it passed.
        at_ns: u64,
    },
    /// The direction's first record that is marked as application data: in TLS 1.3 the rest of the handshake is, too.
    ApplicationData {
        /// When its header passed.
        at_ns: u64,
    },
    /// One side tells the other what is wrong, in the clear. Alerts after the handshake are encrypted.
    Alert {
        /// When it passed.
        at_ns: u64,
        /// What it says.
        alert: Alert,
    },
    /// Bytes that held a record's header are missing: nothing more can be told of this direction.
    Lost,
    /// This is not TLS.
    NotTls,
}

/// An alert (RFC 8446 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// `AlertLevel` 2. TLS 1.3 ignores the level.
    pub fatal: bool,
    /// `AlertDescription`.
    pub description: u8,
}

impl Alert {
    /// The description's name in RFC 8446 and RFC 5246; `None` for a number they do not know.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.description {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            111 => "certificate_unobtainable",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            114 => "bad_certificate_hash_value",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => return None,
        })
    }
}

/// Whether a direction's first bytes are the beginning of a handshake: a record of that type with a hello message.
/// Six bytes are needed.
pub fn begins_handshake(bytes: &[u8]) -> bool {
    // Content type handshake, then the message type: client_hello or server_hello.
    record::header(bytes).is_some_and(|(kind, _)| kind == record::HANDSHAKE)
        && matches!(bytes.get(HEADER_BYTES), Some(1 | 2))
}

/// Whether bytes may be the beginning of any record. Five bytes are needed.
pub fn begins_record(bytes: &[u8]) -> bool {
    record::header(bytes).is_some()
}
