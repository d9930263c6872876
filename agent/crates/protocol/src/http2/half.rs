//! One direction: cuts its bytes into frames and says what they mean.
//!
//! Invariant: `at` is the position of the next byte, and every byte, seen or not, moves it once; after `Done`
//! nothing is said.

use model::Origin;

use super::block::Block;
use super::detect::is_chain;
use super::frame::{ACK, END_HEADERS, END_STREAM, FrameHeader, HEADER_BYTES, Kind, PREFACE};
use super::head::Head;
use super::payload::{Payload, Place};
use super::piece::{Content, Piece};
use super::{Part, Sender};
use crate::Chunk;
use crate::call::Call;
use crate::hpack::Decoder;

/// Calls and bytes that are searched for frames before a direction is given up.
const MAX_SEARCH_CALLS: u32 = 1024;
const MAX_SEARCH_BYTES: u64 = 64 * 1024 * 1024;
/// Room that an idle direction keeps for header blocks.
const KEPT_BYTES: usize = 1024;
/// `SETTINGS_HEADER_TABLE_SIZE` (RFC 9113 section 6.5.2).
const HEADER_TABLE_SIZE: u16 = 1;

/// Where parts go.
type Sink<'a> = dyn FnMut(Part<'_>) + 'a;

#[derive(Debug)]
pub(super) struct Half {
    /// The position of the next byte.
    at: u64,
    /// `at` is known.
    anchored: bool,
    last_ns: u64,
    state: State,
    decoder: Decoder,
    /// A frame has been seen. From the start the first one holds settings (RFC 9113 section 3.4).
    opened: bool,
    /// Where frames begin is certain: followed from the start, or a header block was found where one was to be.
    certain: bool,
    /// The header block that is not over yet.
    block: Option<Block>,
    /// For the next header block.
    spare: Vec<u8>,
    /// A table size that the other side may use from now on.
    table_bytes: Option<u32>,
    searched_calls: u32,
    searched_bytes: u64,
}

#[derive(Debug)]
enum State {
    /// So many bytes of the preface have passed.
    Preface(usize),
    /// In a frame header, or between two frames.
    Header {
        bytes: [u8; HEADER_BYTES],
        have: usize,
        start_ns: u64,
        position: u64,
    },
    Payload(Payload),
    /// Looking for a call that begins with frames.
    Searching,
    Done,
}

const BETWEEN: State = State::Header { bytes: [0; HEADER_BYTES], have: 0, start_ns: 0, position: 0 };

impl Half {
    pub fn new(sender: Sender, origin: Origin) -> Self {
        let from_start = origin == Origin::Start;
        let state = match (sender, from_start) {
            (_, false) => State::Searching,
            (Sender::Client, true) => State::Preface(0),
            (Sender::Server, true) => BETWEEN,
        };
        Self {
            at: 0,
            anchored: from_start,
            last_ns: 0,
            state,
            decoder: Decoder::new(from_start),
            opened: !from_start,
            certain: from_start,
            block: None,
            spare: Vec::new(),
            table_bytes: None,
            searched_calls: 0,
            searched_bytes: 0,
        }
    }

    /// The table size that this side's settings allow the other, once.
    pub fn take_table_bytes(&mut self) -> Option<u32> {
        self.table_bytes.take()
    }

    /// The other side's settings allow this one such a table.
    pub fn allow_table(&mut self, bytes: u32) {
        self.decoder.allow(bytes);
    }

    /// Where the next frame begins, if that is certain: behind the bytes that have passed, or behind the present frame.
    pub fn next_frame(&self) -> Option<u64> {
        if !(self.anchored && self.certain) {
            return None;
        }
        match &self.state {
            State::Header { have: 0, .. } => Some(self.at),
            State::Payload(payload) => Some(self.at + u64::from(payload.left())),
            State::Preface(_) | State::Header { .. } | State::Searching | State::Done => None,
        }
    }

    /// Takes the next chunk and tells the parts it completes.
    pub fn push(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        if matches!(self.state, State::Done) {
            return;
        }
        if !self.anchored {
            self.anchored = true;
            self.at = chunk.position;
        }
        let Some(call) = Call::after(self.at, chunk) else { return };
        // The end of what was lost is not known, so nothing in it is later than the call before it.
        self.pass(Piece::Missed(call.position - self.at), self.last_ns, sink);
        if matches!(self.state, State::Searching) && call.begins {
            self.greet(&call);
        }
        for piece in [Piece::Seen(call.head), Piece::Missed(call.hole), Piece::Seen(call.tail)] {
            self.pass(piece, call.at_ns, sink);
        }
        self.last_ns = call.at_ns;
        self.bound_search(call.len(), sink);
    }

    /// A call begins while frames are looked for.
    fn greet(&mut self, call: &Call<'_>) {
        if call.head.starts_with(PREFACE) {
            self.state = State::Preface(0);
            self.certain = true;
        } else if is_chain(call.head, call.len()) {
            self.opened = true;
            self.state = BETWEEN;
        } else {
            return;
        }
        self.searched_calls = 0;
        self.searched_bytes = 0;
    }

    fn pass(&mut self, mut piece: Piece<'_>, at_ns: u64, sink: &mut Sink<'_>) {
        while piece.len() > 0 {
            let before = piece.len();
            piece = self.step(piece, at_ns, sink);
            self.at += before - piece.len();
        }
    }

    /// Takes at least one byte, or changes to a state that does.
    fn step<'a>(&mut self, piece: Piece<'a>, at_ns: u64, sink: &mut Sink<'_>) -> Piece<'a> {
        let nothing = Piece::Seen(&[]);
        match (&mut self.state, piece) {
            (State::Searching | State::Done, _) => nothing,
            (State::Payload(_), _) => self.step_payload(piece, at_ns, sink),
            (State::Preface(_) | State::Header { .. }, Piece::Missed(_)) => {
                self.lose(sink);
                nothing
            }
            (State::Preface(have), Piece::Seen(bytes)) => {
                let want = &PREFACE[*have..];
                let (first, rest) = bytes.split_at(bytes.len().min(want.len()));
                if !want.starts_with(first) {
                    self.give_up(sink);
                    return nothing;
                }
                *have += first.len();
                if *have == PREFACE.len() {
                    self.state = BETWEEN;
                }
                Piece::Seen(rest)
            }
            (State::Header { bytes, have, start_ns, position }, Piece::Seen(seen)) => {
                if *have == 0 {
                    (*start_ns, *position) = (at_ns, self.at);
                }
                let (first, rest) = seen.split_at(seen.len().min(HEADER_BYTES - *have));
                bytes[*have..*have + first.len()].copy_from_slice(first);
                *have += first.len();
                if *have == HEADER_BYTES {
                    let (frame, start_ns, position) = (FrameHeader::read(bytes), *start_ns, *position);
                    self.begin(frame, (start_ns, position), at_ns, sink);
                }
                Piece::Seen(rest)
            }
        }
    }

    /// A frame's header has been read.
    fn begin(
        &mut self,
        frame: FrameHeader,
        (start_ns, position): (u64, u64),
        at_ns: u64,
        sink: &mut Sink<'_>,
    ) {
        if !std::mem::replace(&mut self.opened, true) && frame.kind != Kind::Settings {
            return self.give_up(sink);
        }
        if !frame.is_valid() {
            return self.lose(sink);
        }
        let continues = frame.kind == Kind::Continuation
            && self.block.as_ref().is_some_and(|block| block.stream == frame.stream);
        if !continues {
            // A block must not be interrupted (RFC 9113 section 6.10): what is open stays without its end.
            self.close_block(true, sink);
        }
        match frame.kind {
            Kind::Headers | Kind::PushPromise => {
                let bytes = std::mem::take(&mut self.spare);
                self.block = Some(Block {
                    stream: frame.stream,
                    promise: frame.kind == Kind::PushPromise,
                    end_stream: frame.kind == Kind::Headers && frame.has(END_STREAM),
                    start_ns,
                    last_ns: at_ns,
                    position,
                    wire_bytes: 0,
                    bytes,
                    cut: false,
                });
            }
            // The end of a block whose beginning was not seen.
            Kind::Continuation if !continues => self.decoder.lose(),
            _ => {}
        }
        self.state = State::Payload(Payload::new(frame));
        if frame.length == 0 {
            self.step_payload(Piece::Seen(&[]), at_ns, sink);
        }
    }

    fn step_payload<'a>(&mut self, piece: Piece<'a>, at_ns: u64, sink: &mut Sink<'_>) -> Piece<'a> {
        let State::Payload(payload) = &mut self.state else { return piece };
        let (taken, place, rest) = payload.pass(piece);
        let (frame, over) = (payload.frame, payload.is_over());
        match (frame.kind, &mut self.block) {
            (Kind::Data, _) => {
                let content = match (place, taken) {
                    (Place::Unsure, _) => Content::Unknown,
                    (Place::Content, Piece::Missed(len)) => Content::Missed(len),
                    (Place::Content, Piece::Seen(bytes)) => Content::Seen(bytes),
                    (Place::Beside, _) => Content::Seen(&[]),
                };
                let bytes = std::mem::take(&mut payload.untold);
                let end_stream = over && frame.has(END_STREAM);
                sink(Part::Data { stream: frame.stream, at_ns, bytes, content, end_stream });
            }
            (Kind::Headers | Kind::PushPromise | Kind::Continuation, Some(block)) => {
                match place {
                    Place::Content => block.take(taken),
                    Place::Unsure => block.cut = true,
                    Place::Beside => {}
                }
                block.wire_bytes += std::mem::take(&mut payload.untold);
                block.last_ns = at_ns;
                if over && frame.has(END_HEADERS) {
                    self.close_block(false, sink);
                }
            }
            (Kind::Settings, _) if !frame.has(ACK) => {
                payload.each_setting(taken, |id, value| {
                    if id == HEADER_TABLE_SIZE {
                        self.table_bytes = Some(value);
                    }
                });
            }
            (Kind::RstStream, _) if over => {
                let code =
                    payload.fields().and_then(|fields| Some(u32::from_be_bytes(*fields.first_chunk()?)));
                sink(Part::Reset { stream: frame.stream, code, at_ns });
            }
            (Kind::GoAway, _) if over => {
                if let Some(&[a, b, c, d, ref code @ ..]) = payload.fields()
                    && let Some(code) = code.first_chunk()
                {
                    let last_stream = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
                    sink(Part::GoAway { last_stream, code: u32::from_be_bytes(*code), at_ns });
                }
            }
            _ => {}
        }
        if over {
            self.state = BETWEEN;
        }
        rest
    }

    /// The header block that is open is over, or what is left of it will not be seen.
    fn close_block(&mut self, cut: bool, sink: &mut Sink<'_>) {
        let Some(mut block) = self.block.take() else { return };
        let whole = !(cut || block.cut);
        let mut head = Box::<Head>::default();
        let extent = self.decoder.decode(&block.bytes, whole, &mut |field| head.add(field));
        head.truncated |= extent != crate::hpack::Extent::Whole;
        self.certain |= whole && extent == crate::hpack::Extent::Whole;
        block.bytes.clear();
        block.bytes.shrink_to(KEPT_BYTES);
        self.spare = std::mem::take(&mut block.bytes);
        if block.promise {
            return;
        }
        sink(Part::Head {
            stream: block.stream,
            head,
            start_ns: block.start_ns,
            end_ns: block.last_ns,
            position: block.position,
            bytes: block.wire_bytes,
            cut,
            end_stream: block.end_stream,
        });
    }

    /// It is not known any more where frames begin.
    fn lose(&mut self, sink: &mut Sink<'_>) {
        self.close_block(true, sink);
        self.decoder.lose();
        self.certain = false;
        self.state = State::Searching;
        sink(Part::Lost);
    }

    fn give_up(&mut self, sink: &mut Sink<'_>) {
        self.state = State::Done;
        sink(Part::NotHttp);
    }

    /// Gives the direction up once it has been searched for long enough.
    fn bound_search(&mut self, call_bytes: u64, sink: &mut Sink<'_>) {
        if !matches!(self.state, State::Searching) {
            return;
        }
        self.searched_calls = self.searched_calls.saturating_add(1);
        self.searched_bytes = self.searched_bytes.saturating_add(call_bytes);
        if self.searched_calls > MAX_SEARCH_CALLS || self.searched_bytes > MAX_SEARCH_BYTES {
            self.give_up(sink);
        }
    }
}
