//! The record layer of one direction. Invariants: memory is bounded by one hello message; any cutting of the same
//! bytes gives the same parts.

use super::hello::{ClientHello, ServerHello};
use super::{Alert, HEADER_BYTES, MAX_RECORD_BYTES, Part};
use crate::Chunk;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Handshake message types (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// Longer hello messages are skipped.
const MAX_HELLO_BYTES: usize = 16384;

/// Reads one direction from where a record begins.
#[derive(Debug)]
pub struct Reader {
    /// Where the next byte is to stand.
    position: u64,
    state: State,
    message: Message,
    /// A change of keys has passed.
    encrypted: bool,
    data_told: bool,
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; HEADER_BYTES], have: usize },
    Content { kind: u8, length: u16, left: u16, first: [u8; 2] },
    Over,
}

/// The handshake messages: they may span records, and several may share one.
#[derive(Debug)]
enum Message {
    Header {
        bytes: [u8; 4],
        have: usize,
    },
    Wanted {
        kind: u8,
        left: usize,
        bytes: Vec<u8>,
    },
    Skipped {
        left: usize,
    },
    /// The hello has passed, or its place is not known any more.
    Over,
}

impl Reader {
    /// Of a direction whose first record begins at this position.
    pub fn new(position: u64) -> Self {
        Self {
            position,
            state: HEADER,
            message: Message::Header { bytes: [0; 4], have: 0 },
            encrypted: false,
            data_told: false,
        }
    }
}

const HEADER: State = State::Header { bytes: [0; HEADER_BYTES], have: 0 };

/// Type and length, if this is a header.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, u16)> {
    let [kind @ CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3, 0..=4, high, low, ..] = *bytes else { return None };
    let length = u16::from_be_bytes([high, low]);
    // Only application data may be empty (RFC 8446 section 5.1).
    let possible = length <= MAX_RECORD_BYTES && (length > 0 || kind == APPLICATION_DATA);
    possible.then_some((kind, length))
}

impl Reader {
    /// Takes the next chunk and tells the parts that it completes.
    pub fn push(&mut self, chunk: &Chunk<'_>, on_part: &mut dyn FnMut(Part)) {
        if matches!(self.state, State::Over) {
            return;
        }
        match chunk.position.checked_sub(self.position) {
            Some(missing) => self.skip(missing, on_part),
            None => self.end(Part::Lost, on_part),
        }
        self.position = chunk.position.saturating_add(chunk.len);
        self.feed(chunk.head, chunk.at_ns, on_part);
        let copied = (chunk.head.len() + chunk.tail.len()) as u64;
        self.skip(chunk.len.saturating_sub(copied), on_part);
        self.feed(chunk.tail, chunk.at_ns, on_part);
    }

    fn end(&mut self, part: Part, on_part: &mut dyn FnMut(Part)) {
        self.state = State::Over;
        on_part(part);
    }

    fn feed(&mut self, mut bytes: &[u8], at_ns: u64, on_part: &mut dyn FnMut(Part)) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header { bytes: header_bytes, have } => {
                    let more = bytes.len().min(HEADER_BYTES - *have);
                    header_bytes[*have..*have + more].copy_from_slice(&bytes[..more]);
                    *have += more;
                    bytes = &bytes[more..];
                    if *have < HEADER_BYTES {
                        continue;
                    }
                    let Some((kind, length)) = header(header_bytes) else {
                        return self.end(Part::NotTls, on_part);
                    };
                    self.state = State::Content { kind, length, left: length, first: [0; 2] };
                    if kind == APPLICATION_DATA && !self.data_told {
                        self.data_told = true;
                        on_part(Part::ApplicationData { at_ns });
                    }
                    self.finish_record(at_ns, on_part);
                }
                State::Content { kind, length, left, first } => {
                    let more = bytes.len().min(usize::from(*left));
                    let (now, rest) = bytes.split_at(more);
                    let at = usize::from(*length - *left);
                    for (slot, byte) in first.iter_mut().skip(at).zip(now) {
                        *slot = *byte;
                    }
                    *left -= more as u16;
                    bytes = rest;
                    if *kind == HANDSHAKE && !self.encrypted {
                        self.message.feed(now, at_ns, on_part);
                    }
                    self.finish_record(at_ns, on_part);
                }
                State::Over => return,
            }
        }
    }

    /// Passes over bytes that were not copied.
    fn skip(&mut self, mut missing: u64, on_part: &mut dyn FnMut(Part)) {
        while missing > 0 {
            match &mut self.state {
                State::Header { .. } => return self.end(Part::Lost, on_part),
                State::Content { kind, left, .. } => {
                    let more = missing.min((*left).into()) as u16;
                    *left -= more;
                    missing -= u64::from(more);
                    if *kind == HANDSHAKE && !self.encrypted {
                        self.message.skip(more.into());
                    }
                    if *left > 0 {
                        continue;
                    }
                    // An alert or a change of keys that was not copied is one that was not seen.
                    self.encrypted |= *kind == CHANGE_CIPHER_SPEC;
                    self.state = HEADER;
                }
                State::Over => return,
            }
        }
    }

    fn finish_record(&mut self, at_ns: u64, on_part: &mut dyn FnMut(Part)) {
        let State::Content { kind, length, left: 0, first } = self.state else { return };
        self.state = HEADER;
        match kind {
            CHANGE_CIPHER_SPEC => {
                self.encrypted = true;
                on_part(Part::ChangeCipherSpec { at_ns });
            }
            // Encrypted ones are longer.
            ALERT if length == 2 && !self.encrypted => {
                let alert = Alert { fatal: first[0] == 2, description: first[1] };
                on_part(Part::Alert { at_ns, alert });
            }
            _ => {}
        }
    }
}

impl Message {
    fn feed(&mut self, mut bytes: &[u8], at_ns: u64, on_part: &mut dyn FnMut(Part)) {
        while !bytes.is_empty() {
            match self {
                Self::Header { bytes: header, have } => {
                    let more = bytes.len().min(header.len() - *have);
                    header[*have..*have + more].copy_from_slice(&bytes[..more]);
                    *have += more;
                    bytes = &bytes[more..];
                    if *have == header.len() {
                        let [kind, high, middle, low] = *header;
                        let left = u32::from_be_bytes([0, high, middle, low]) as usize;
                        let wanted = matches!(kind, CLIENT_HELLO | SERVER_HELLO) && left <= MAX_HELLO_BYTES;
                        *self = if wanted {
                            Self::Wanted { kind, left, bytes: Vec::with_capacity(left) }
                        } else {
                            Self::Skipped { left }
                        };
                        self.finish(at_ns, on_part);
                    }
                }
                Self::Wanted { left, bytes: kept, .. } => {
                    let more = bytes.len().min(*left);
                    kept.extend_from_slice(&bytes[..more]);
                    *left -= more;
                    bytes = &bytes[more..];
                    self.finish(at_ns, on_part);
                }
                Self::Skipped { left } => {
                    let more = bytes.len().min(*left);
                    *left -= more;
                    bytes = &bytes[more..];
                    self.finish(at_ns, on_part);
                }
                Self::Over => return,
            }
        }
    }

    fn finish(&mut self, at_ns: u64, on_part: &mut dyn FnMut(Part)) {
        match self {
            Self::Wanted { kind, left: 0, bytes } => {
                let part = if *kind == CLIENT_HELLO {
                    ClientHello::parse(bytes).map(|hello| Part::ClientHello { at_ns, hello })
                } else {
                    ServerHello::parse(bytes).map(|hello| Part::ServerHello { at_ns, hello })
                };
                // One direction has one of them; a second one is the answer to a retry and says no more.
                *self = Self::Over;
                part.into_iter().for_each(on_part);
            }
            Self::Skipped { left: 0 } => *self = Self::Header { bytes: [0; 4], have: 0 },
            _ => {}
        }
    }

    fn skip(&mut self, missing: usize) {
        match self {
            Self::Skipped { left } if missing < *left => *left -= missing,
            Self::Skipped { left } if missing == *left => *self = Self::Header { bytes: [0; 4], have: 0 },
            _ if missing == 0 => {}
            // A hello with a hole is not read, and where the next message begins is not known.
            _ => *self = Self::Over,
        }
    }
}
