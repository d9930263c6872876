//! One direction of a protocol made of lines, some of which say how many bytes follow. Invariant: as
//! [`Lane`](super::Lane): a line that is told of began where what was before it ended.

use memchr::memchr;

use super::input::{Input, Piece};
use super::lane::Missed;

/// Most bytes kept of a line, and most it may have.
const MAX_KEPT_BYTES: usize = 512;
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// A line or a block, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// Without the line's end.
    pub(crate) bytes: Vec<u8>,
    /// How long it was, with its end.
    pub(crate) len: u64,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) position: u64,
    /// See [`Frame`](super::Frame).
    pub(crate) unseen_end: bool,
}

impl Text {
    /// When it ended, and where.
    pub(crate) fn end(&self) -> (u64, u64) {
        (self.end_ns, self.position.saturating_add(self.len))
    }
}

/// What comes next in a direction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TextStep {
    Line(Text),
    /// The block that was waited for.
    Block(Text),
    /// The place of the next line is not known any more. With it what was known of the line that was cut.
    Lost(Text),
    /// The call is used up.
    End,
}

#[derive(Debug)]
enum State {
    Line,
    Block { left: u64, keep: usize },
    Lost,
}

/// A direction.
#[derive(Debug)]
pub(crate) struct TextLane {
    at: Option<u64>,
    /// When the last call passed.
    pub(crate) last_ns: u64,
    state: State,
    text: Text,
    /// What the last call ended with, if that was copied.
    pub(crate) last_bytes: Option<[u8; 2]>,
}

const NOTHING: Text =
    Text { bytes: Vec::new(), len: 0, start_ns: 0, end_ns: 0, position: 0, unseen_end: false };

impl TextLane {
    /// `upright`: the first byte begins a line.
    pub(crate) fn new(upright: bool) -> Self {
        let state = if upright { State::Line } else { State::Lost };
        Self { at: upright.then_some(0), last_ns: 0, state, text: NOTHING, last_bytes: None }
    }

    /// What is new in a chunk, and what was missed before it.
    pub(crate) fn open<'a>(&mut self, chunk: &crate::Chunk<'a>) -> (Option<Input<'a>>, Missed) {
        let known = self.at.unwrap_or(chunk.position);
        let Some(input) = Input::after(known, chunk) else { return (None, Missed::Nothing) };
        self.at = Some(input.position.saturating_add(input.left()));
        self.last_bytes = input.ending().last_chunk().copied();
        (Some(input), self.miss(chunk.position.saturating_sub(known)))
    }

    /// A block of so many bytes comes next, of which so many are kept.
    pub(crate) fn expect_block(&mut self, bytes: u64, keep: usize) {
        self.state = State::Block { left: bytes, keep };
    }

    /// When the last call passed, and where it ended.
    pub(crate) fn reach(&self) -> (u64, u64) {
        (self.last_ns, self.at.unwrap_or(0))
    }

    /// The first byte of the direction has position 0, whether or not it was seen.
    pub(crate) fn anchor(&mut self) {
        self.at.get_or_insert(0);
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// The next byte begins a line.
    pub(crate) fn set_upright(&mut self) {
        self.state = State::Line;
        self.text = NOTHING;
    }

    /// Gives the framing up.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Lost;
        self.text = NOTHING;
    }

    /// The next line or block of a call.
    pub(crate) fn next(&mut self, input: &mut Input<'_>) -> TextStep {
        loop {
            if let State::Block { left: 0, .. } = self.state {
                self.state = State::Line;
                return TextStep::Block(self.finish(input));
            }
            let piece = input.peek();
            if piece == Piece::End {
                self.last_ns = input.at_ns;
                return TextStep::End;
            }
            if self.text.len == 0 {
                (self.text.start_ns, self.text.position) = (input.at_ns, input.position);
            }
            match (&mut self.state, piece) {
                (State::Lost, _) | (_, Piece::End) => {
                    input.skip_all();
                    self.text = NOTHING;
                    self.last_ns = input.at_ns;
                    return TextStep::End;
                }
                (State::Line, Piece::Bytes(bytes)) => {
                    let end = memchr(b'\n', bytes);
                    let taken = end.map_or(bytes.len(), |at| at + 1);
                    let room = MAX_KEPT_BYTES - self.text.bytes.len();
                    self.text.bytes.extend_from_slice(&bytes[..taken.min(room)]);
                    self.text.len += taken as u64;
                    input.take(taken as u64);
                    if end.is_some() {
                        let mut line = self.finish(input);
                        if line.bytes.ends_with(b"\n") {
                            line.bytes.pop();
                        }
                        if line.bytes.ends_with(b"\r") {
                            line.bytes.pop();
                        }
                        return TextStep::Line(line);
                    }
                    if self.text.len > MAX_LINE_BYTES {
                        return self.lose(input);
                    }
                }
                (State::Block { left, keep }, Piece::Bytes(bytes)) => {
                    let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let wanted = taken.min(*keep);
                    self.text.bytes.extend_from_slice(&bytes[..wanted]);
                    *keep -= wanted;
                    *left -= taken as u64;
                    self.text.len += taken as u64;
                    input.take(taken as u64);
                }
                (State::Block { left, keep }, Piece::Missing(hole)) => {
                    let taken = hole.min(*left);
                    *left -= taken;
                    *keep = 0;
                    self.text.len += taken;
                    input.take(taken);
                }
                (State::Line, Piece::Missing(_)) => return self.lose(input),
            }
        }
    }

    fn finish(&mut self, input: &Input<'_>) -> Text {
        let mut text = std::mem::replace(&mut self.text, NOTHING);
        text.end_ns = if text.unseen_end { self.last_ns } else { input.at_ns };
        text
    }

    fn lose(&mut self, input: &mut Input<'_>) -> TextStep {
        self.state = State::Lost;
        self.last_ns = input.at_ns;
        input.skip_all();
        TextStep::Lost(self.finish(input))
    }

    fn miss(&mut self, bytes: u64) -> Missed {
        if bytes == 0 {
            return Missed::Nothing;
        }
        match &mut self.state {
            State::Block { left, keep } if bytes <= *left => {
                *left -= bytes;
                *keep = 0;
                self.text.len += bytes;
                self.text.unseen_end = *left == 0;
                Missed::Within
            }
            State::Lost => Missed::Nothing,
            State::Line | State::Block { .. } => {
                self.give_up();
                Missed::Framing
            }
        }
    }
}
