//! A frame's header (RFC 6455 section 5.2), gathered byte by byte.

use super::{MAX_CONTROL_BYTES, Writer};

/// Longest header: two bytes, eight of length, four of mask.
const MAX_BYTES: usize = 14;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// More of the message before.
    Continuation,
    /// The beginning of a text.
    Text,
    /// The beginning of binary data.
    Binary,
    /// The end of what its writer sends.
    Close,
    /// To be answered with a pong.
    Ping,
    /// The answer to a ping, or none.
    Pong,
}

impl Opcode {
    fn read(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Close, ping or pong: no part of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What a header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub opcode: Opcode,
    pub fin: bool,
    pub payload_bytes: u64,
    pub mask: Option<[u8; 4]>,
}

/// The bytes of a header so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bytes: [u8; MAX_BYTES],
    len: usize,
    start_ns: u64,
}

impl Gathered {
    pub fn push(&mut self, byte: u8, at_ns: u64) {
        if self.len == 0 {
            self.start_ns = at_ns;
        }
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// When its first byte passed.
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// The header, once it is whole. An error if it can be none.
    pub fn read(&self, writer: Writer) -> Result<Option<Header>, ()> {
        let bytes = &self.bytes[..self.len];
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let opcode = Opcode::read(first & 0x0f).ok_or(())?;
        let fin = first & 0x80 != 0;
        // RSV2 and RSV3 belong to no extension that is registered; RSV1 marks compressed messages (RFC 7692
        // section 6), of which control frames are no part.
        if first & 0x30 != 0 || opcode.is_control() && (!fin || first & 0x40 != 0) {
            return Err(());
        }
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let masked = second & 0x80 != 0;
        if masked != (writer == Writer::Client) {
            return Err(());
        }
        let (payload_bytes, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        // The shortest form must be used, and the highest bit be 0.
        let least = match second & 0x7f {
            126 => 126,
            127 => 1 << 16,
            _ => 0,
        };
        if payload_bytes < least
            || payload_bytes >> 63 != 0
            || opcode.is_control() && payload_bytes > MAX_CONTROL_BYTES
        {
            return Err(());
        }
        let mask = match (masked, rest.first_chunk::<4>()) {
            (false, _) => None,
            (true, Some(mask)) => Some(*mask),
            (true, None) => return Ok(None),
        };
        Ok(Some(Header { opcode, fin, payload_bytes, mask }))
    }
}
