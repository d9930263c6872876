//! `WebSocket` frames (RFC 6455 section 5) from one direction of a connection, after its handshake.
//!
//! Only frame headers and the payloads of control frames are read; other payloads are passed over by their
//! length, whatever an extension has made of them and whether they were copied or not. Bytes missed in a
//! header, or a header that cannot be, end the reading: where the next frame begins is not known then, and
//! not guessed.
//!
//! Invariants: what is told does not depend on how the bytes were cut; after `Lost` nothing is told.

mod header;

use header::{Gathered, Header};

pub use header::Opcode;

use crate::Chunk;
use crate::call::Call;

/// Longest payload of a control frame (section 5.5).
const MAX_CONTROL_BYTES: u64 = 125;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A frame whose last byte has passed.
    Frame(Frame),
    /// The rest of this direction cannot be read.
    Lost(Loss),
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub opcode: Opcode,
    /// It is the last of its message.
    pub fin: bool,
    /// Bytes of payload on the wire.
    pub payload_bytes: u64,
    /// A control frame's payload without its mask. `None` if not all of it was copied, and for other frames.
    pub control: Option<Vec<u8>>,
    /// When the chunk with its first byte passed.
    pub start_ns: u64,
    /// When the chunk with its last byte passed.
    pub end_ns: u64,
}

impl Frame {
    /// It ends a message: the last frame of a text or of binary data.
    pub fn ends_message(&self) -> bool {
        self.fin && !self.opcode.is_control()
    }

    /// The status code of a close frame, if it has one (section 5.5.1).
    pub fn close_code(&self) -> Option<u16> {
        let code = self.control.as_ref().filter(|_| self.opcode == Opcode::Close)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*code))
    }
}

/// Why a direction cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Bytes of a frame's header were missed.
    Missed,
    /// What stands where a frame must begin is none.
    Broken,
}

/// Which end wrote the frames: a client must mask them, a server must not (section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The end that asked for the handshake.
    Client,
    /// The end that agreed to it.
    Server,
}

/// Reads the frames of one direction. Feed chunks in order; the first position is 0.
#[derive(Debug)]
pub struct FrameParser {
    writer: Writer,
    /// The position of the next byte.
    at: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Header(Gathered),
    Payload(Payload),
    Lost,
}

/// A frame whose payload is passing.
#[derive(Debug)]
struct Payload {
    header: Header,
    start_ns: u64,
    left: u64,
    /// What was copied of a control frame; `None` once something was missed.
    control: Option<Vec<u8>>,
}

impl FrameParser {
    /// From the first byte after the handshake on.
    pub fn new(writer: Writer) -> Self {
        Self { writer, at: 0, state: State::Header(Gathered::default()) }
    }

    /// Takes the next chunk and tells the parts it completes.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(Part)) {
        let Some(call) = Call::after(self.at, chunk) else { return };
        self.miss(call.position - self.at, call.at_ns, sink);
        self.run(call.head, call.at_ns, sink);
        self.miss(call.hole, call.at_ns, sink);
        self.run(call.tail, call.at_ns, sink);
    }

    fn run(&mut self, mut bytes: &[u8], at_ns: u64, sink: &mut dyn FnMut(Part)) {
        self.at += bytes.len() as u64;
        while let [first, ..] = *bytes {
            match &mut self.state {
                State::Lost => return,
                State::Header(gathered) => {
                    bytes = &bytes[1..];
                    gathered.push(first, at_ns);
                    match gathered.read(self.writer) {
                        Ok(None) => {}
                        Ok(Some(header)) => {
                            let control = header.opcode.is_control().then(Vec::new);
                            let left = header.payload_bytes;
                            let start_ns = gathered.start_ns();
                            self.state = State::Payload(Payload { header, start_ns, left, control });
                            self.end_if_over(at_ns, sink);
                        }
                        Err(()) => self.lose(Loss::Broken, sink),
                    }
                }
                State::Payload(payload) => {
                    let taken =
                        usize::try_from(payload.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    payload.left -= taken as u64;
                    if let Some(control) = &mut payload.control {
                        control.extend_from_slice(&bytes[..taken]);
                    }
                    bytes = &bytes[taken..];
                    self.end_if_over(at_ns, sink);
                }
            }
        }
    }

    /// Passes bytes that were not seen.
    fn miss(&mut self, mut gap: u64, at_ns: u64, sink: &mut dyn FnMut(Part)) {
        self.at += gap;
        if gap > 0
            && let State::Payload(payload) = &mut self.state
        {
            let passed = gap.min(payload.left);
            payload.left -= passed;
            payload.control = None;
            gap -= passed;
            self.end_if_over(at_ns, sink);
        }
        if gap > 0 && !matches!(self.state, State::Lost) {
            self.lose(Loss::Missed, sink);
        }
    }

    fn end_if_over(&mut self, at_ns: u64, sink: &mut dyn FnMut(Part)) {
        let State::Payload(Payload { header, start_ns, left: 0, control }) = &mut self.state else { return };
        let mut control = control.take();
        if let (Some(control), Some(mask)) = (&mut control, header.mask) {
            control.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
        let Header { opcode, fin, payload_bytes, .. } = *header;
        let frame = Frame { opcode, fin, payload_bytes, control, start_ns: *start_ns, end_ns: at_ns };
        self.state = State::Header(Gathered::default());
        sink(Part::Frame(frame));
    }

    fn lose(&mut self, loss: Loss, sink: &mut dyn FnMut(Part)) {
        self.state = State::Lost;
        sink(Part::Lost(loss));
    }
}
