//! One direction of a protocol whose messages say their length in front. Invariant: a message that is told of
//! began where the one before it ended; where that cannot be known, the lane is lost until it is set upright.

use super::input::{Input, Piece};

const MAX_HEADER_BYTES: usize = 8;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// More bytes are needed.
    More,
    /// The header is so long, and so many bytes follow it; of these, so many are to be kept.
    Known { header: usize, payload: u64, keep: usize },
    /// No header looks so.
    Bad,
}

/// How a protocol's headers are read.
pub(crate) type Framing = fn(&[u8]) -> Measure;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) header: [u8; MAX_HEADER_BYTES],
    /// The first bytes after the header, as far as they are kept and were copied.
    pub(crate) payload: Vec<u8>,
    /// How long the payload is.
    pub(crate) payload_bytes: u64,
    /// The whole message, with its header.
    pub(crate) bytes: u64,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) position: u64,
    /// Its last bytes were missed: it is told late, when something behind it has been seen.
    pub(crate) unseen_end: bool,
}

impl Frame {
    /// Where the next message begins.
    pub(crate) fn end(&self) -> u64 {
        self.position.saturating_add(self.bytes)
    }
}

/// What comes next in a direction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Frame(Frame),
    /// The place of the next message is not known any more.
    Lost,
    /// The call is used up.
    End,
}

/// What was missed of a direction before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    Nothing,
    /// Bytes of a message whose length is known; where the next one begins is still certain.
    Within,
    /// It is not known any more where messages begin.
    Framing,
}

#[derive(Debug)]
enum State {
    Header { header: [u8; MAX_HEADER_BYTES], have: usize, start_ns: u64 },
    Payload { frame: Frame, left: u64, keep: usize },
    Lost,
}

/// A direction.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Where the next byte stands, once the first call has come.
    at: Option<u64>,
    /// When the last call passed.
    pub(crate) last_ns: u64,
    state: State,
    /// The message that is over has its end in what was missed.
    unseen_end: bool,
    /// What the last call ended with, if that was copied.
    pub(crate) last_bytes: Option<[u8; 2]>,
}

const UPRIGHT: State = State::Header { header: [0; MAX_HEADER_BYTES], have: 0, start_ns: 0 };

impl Lane {
    /// `upright`: the first byte begins a message.
    pub(crate) fn new(upright: bool) -> Self {
        let state = if upright { UPRIGHT } else { State::Lost };
        Self { at: upright.then_some(0), last_ns: 0, state, unseen_end: false, last_bytes: None }
    }

    /// What is new in a chunk, and what was missed before it.
    pub(crate) fn open<'a>(&mut self, chunk: &crate::Chunk<'a>) -> (Option<Input<'a>>, Missed) {
        let known = self.at.unwrap_or(chunk.position);
        let Some(input) = Input::after(known, chunk) else { return (None, Missed::Nothing) };
        self.at = Some(input.position.saturating_add(input.left()));
        self.last_bytes = input.ending().last_chunk().copied();
        let missing = chunk.position.saturating_sub(known);
        (Some(input), self.miss(missing))
    }

    /// The next message of a call.
    pub(crate) fn next(&mut self, input: &mut Input<'_>, framing: Framing) -> Step {
        loop {
            if let State::Payload { left: 0, .. } = self.state
                && let State::Payload { mut frame, .. } = std::mem::replace(&mut self.state, UPRIGHT)
            {
                frame.unseen_end = std::mem::take(&mut self.unseen_end);
                // The end of what was missed is not known, so it is not later than the call before it.
                frame.end_ns = if frame.unseen_end { self.last_ns } else { input.at_ns };
                return Step::Frame(frame);
            }
            match (&mut self.state, input.peek()) {
                (State::Lost, _) => {
                    input.skip_all();
                    self.last_ns = input.at_ns;
                    return Step::End;
                }
                (_, Piece::End) => {
                    self.last_ns = input.at_ns;
                    return Step::End;
                }
                (State::Header { .. }, Piece::Bytes(bytes)) => {
                    let Some(taken) = self.head(bytes, input, framing) else { return self.lose(input) };
                    input.take(taken as u64);
                }
                (State::Payload { frame, left, keep }, Piece::Bytes(bytes)) => {
                    let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let wanted = taken.min(*keep);
                    frame.payload.extend_from_slice(&bytes[..wanted]);
                    *keep -= wanted;
                    *left -= taken as u64;
                    input.take(taken as u64);
                }
                (State::Payload { left, keep, .. }, Piece::Missing(hole)) => {
                    let taken = hole.min(*left);
                    *left -= taken;
                    *keep = 0;
                    input.take(taken);
                }
                (State::Header { .. }, Piece::Missing(_)) => return self.lose(input),
            }
        }
    }

    /// Reads on in a header; how many bytes that took. `None`: no header looks so.
    fn head(&mut self, bytes: &[u8], input: &Input<'_>, framing: Framing) -> Option<usize> {
        let State::Header { header, have, start_ns } = &mut self.state else { return None };
        if *have == 0 {
            *start_ns = input.at_ns;
        }
        let taken = bytes.len().min(MAX_HEADER_BYTES - *have);
        header[*have..*have + taken].copy_from_slice(&bytes[..taken]);
        match framing(&header[..*have + taken]) {
            Measure::More if *have + taken < MAX_HEADER_BYTES => {
                *have += taken;
                Some(taken)
            }
            Measure::Known { header: len, payload, keep } if len >= *have && len <= *have + taken => {
                header[len..].fill(0);
                let frame = Frame {
                    header: *header,
                    payload: Vec::new(),
                    payload_bytes: payload,
                    bytes: payload.saturating_add(len as u64),
                    start_ns: *start_ns,
                    end_ns: 0,
                    position: input.position.saturating_sub(*have as u64),
                    unseen_end: false,
                };
                let taken = len - *have;
                self.state = State::Payload { frame, left: payload, keep };
                Some(taken)
            }
            _ => None,
        }
    }

    fn lose(&mut self, input: &mut Input<'_>) -> Step {
        self.state = State::Lost;
        self.last_ns = input.at_ns;
        input.skip_all();
        Step::Lost
    }

    /// So many bytes never came.
    fn miss(&mut self, bytes: u64) -> Missed {
        if bytes == 0 {
            return Missed::Nothing;
        }
        match &mut self.state {
            State::Payload { left, keep, .. } if bytes <= *left => {
                *left -= bytes;
                *keep = 0;
                self.unseen_end = *left == 0;
                Missed::Within
            }
            State::Lost => Missed::Nothing,
            _ => {
                self.state = State::Lost;
                Missed::Framing
            }
        }
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

    /// Gives the framing up.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Lost;
    }

    /// The next byte begins a message.
    pub(crate) fn set_upright(&mut self) {
        self.state = UPRIGHT;
    }
}
