//! HTTP/2: any number of exchanges at once on one connection, one for each stream. Invariants: a stream has one
//! exchange; how many are open is bounded; after a loss nothing is put together that may not belong together.

mod grpc;
mod requests;
mod responses;
mod stream;

use std::collections::{BTreeMap, VecDeque};

use model::{Direction, End, Exceptions, Origin, Protocol, Span, SpanKind, TcpState};
use protocol::http2::{Parser, Part, Sender};

use super::closing::Closing;
use super::conversation::{Conversation, Verdict};
use super::dialogue::count_gap_before;
use super::{Passage, carries_requests};
use crate::assemble::Assembler;
use crate::exchange::Exchange;
use crate::place::{Place, Thread};
use stream::Stream;

/// Most streams with an open exchange on one connection.
const MAX_OPEN: usize = 4096;
/// Most calls remembered of a frame's header, to know the thread of its first byte.
const MAX_CALLS: usize = 16;
/// The stream of a request that was sent before the connection changed to HTTP/2 (RFC 9113 section 3.2 of its
/// predecessor, RFC 7540).
const UPGRADED_STREAM: u32 = 1;

/// An HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Multiplex {
    parser: Parser,
    streams: Streams,
    /// Where the next byte of each direction is to stand: requests, responses.
    positions: [Option<u64>; 2],
    closing: Closing,
    /// Nothing more can be told of its exchanges.
    over: bool,
}

/// What is open.
#[derive(Debug)]
struct Streams {
    place: Place,
    /// By the stream's number, so that what ends together ends in the order of the requests.
    open: BTreeMap<u32, Stream>,
    next_number: u64,
    /// The probe joined while streams may have been open.
    midway: bool,
    /// The first request that was seen, and the last: streams beside them are told apart by these.
    first_stream: Option<u32>,
    last_stream: u32,
    /// The last calls in the direction of the requests: where they began, and on which thread.
    calls: VecDeque<(u64, Thread)>,
    /// The stream that the call in hand opened, if it opened one.
    opened: Option<u32>,
    /// Bytes before this position of the direction in hand were missed.
    unseen_before: u64,
    /// Answers may have been missed since anything was last seen of any.
    answers_missed: bool,
    /// A direction does not hold HTTP/2.
    strange: bool,
}

impl Multiplex {
    pub(super) fn new(place: Place, origin: Origin) -> Self {
        Self {
            parser: Parser::new(origin, origin),
            closing: Closing::new(place.kind),
            streams: Streams {
                place,
                open: BTreeMap::new(),
                next_number: 0,
                midway: origin == Origin::Midway,
                first_stream: None,
                last_stream: 0,
                calls: VecDeque::new(),
                opened: None,
                unseen_before: 0,
                answers_missed: origin == Origin::Midway,
                strange: false,
            },
            positions: [None; 2],
            over: false,
        }
    }

    /// A connection on which this exchange asked to go on in HTTP/2, and will be answered there.
    pub(super) fn upgraded(place: Place, exchange: Exchange) -> Self {
        let mut multiplex = Self::new(place, Origin::Start);
        let streams = &mut multiplex.streams;
        streams.next_number = exchange.number + 1;
        streams.first_stream = Some(UPGRADED_STREAM);
        streams.last_stream = UPGRADED_STREAM;
        streams.open.insert(UPGRADED_STREAM, Stream::upgraded(exchange));
        multiplex
    }

    /// A side has ended its bytes in good order.
    fn close(&mut self, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if !self.over {
            self.over = true;
            self.abandon(self.closing.cut(), assembler, out);
        }
    }

    fn sender(&self, direction: Direction) -> Sender {
        if carries_requests(self.streams.place.kind, direction) { Sender::Client } else { Sender::Server }
    }
}

impl Conversation for Multiplex {
    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> Verdict {
        if self.over {
            return Verdict::Stay;
        }
        let sender = self.sender(passage.direction);
        let chunk = &passage.chunk;
        let next = &mut self.positions[usize::from(sender == Sender::Server)];
        let missed = count_gap_before(next, chunk, assembler);
        let streams = &mut self.streams;
        streams.unseen_before = if missed { chunk.position } else { 0 };
        if sender == Sender::Client {
            streams.calls.push_back((chunk.position, passage.thread));
            if streams.calls.len() > MAX_CALLS {
                streams.calls.pop_front();
            }
        }
        streams.opened = None;
        self.parser.push(sender, chunk, &mut |sender, part| match sender {
            Sender::Client => streams.ask(part, passage.thread, assembler, out),
            Sender::Server => streams.answer(part, passage.thread, assembler, out),
        });
        if !streams.strange {
            return Verdict::Stay;
        }
        assembler.counts.not_http_bytes += chunk.len;
        self.abandon(End::ProbeLost, assembler, out);
        Verdict::Stranger
    }

    fn end_of_stream(&mut self, _at_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.closing.end_of_stream();
        // A client that has closed its sending side may still read; its exchanges end with the connection.
        if self.streams.place.kind == SpanKind::Client {
            self.close(assembler, out);
        }
    }

    fn fail(
        &mut self,
        _at_ns: u64,
        (direction, errno): (Direction, i32),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        if let Some(end) = self.closing.failed(direction, errno) {
            self.over = true;
            self.abandon(end, assembler, out);
        }
    }

    fn state(
        &mut self,
        _at_ns: u64,
        (new, errno): (TcpState, i32),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        self.closing.state(new);
        let is_gone = matches!(new, TcpState::Close | TcpState::TimeWait);
        if is_gone && let Some(end) = self.closing.gone_by(errno) {
            self.over = true;
            self.abandon(end, assembler, out);
        }
        if is_gone || self.closing.answers_no_more(new) {
            self.close(assembler, out);
        }
    }

    fn raised(&mut self, (_, stream): (u64, Option<u32>), raised: &Exceptions) {
        if self.streams.place.kind == SpanKind::Server
            && let Some(stream) = stream.and_then(|stream| self.streams.open.get_mut(&stream))
            && !stream.answered
        {
            stream.exchange.raised(raised);
        }
    }

    fn abandon(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.streams.abandon(end, assembler, out);
    }

    fn kind(&self) -> SpanKind {
        self.streams.place.kind
    }

    fn open_exchanges(&self) -> usize {
        self.streams.open.len()
    }

    fn needs_whole_calls(&self) -> bool {
        true
    }

    fn next_frame(&self, direction: Direction) -> Option<u64> {
        let sender = self.sender(direction);
        let is_inside = |stream: &Stream| {
            let message = if sender == Sender::Client { &stream.request } else { &stream.response };
            stream.exchange.span.protocol == Protocol::Grpc && message.is_inside_message()
        };
        let next = self.parser.next_frame(sender).filter(|_| !self.over)?;
        (!self.streams.open.values().any(is_inside)).then_some(next)
    }
}

impl Streams {
    /// Ends every open exchange at the last byte seen of it.
    fn abandon(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        // It is the client that leaves.
        let leaves = match end {
            End::ClientClosed => true,
            End::ProcessExited => self.place.kind == SpanKind::Client,
            _ => false,
        };
        while let Some((_, stream)) = self.open.pop_first() {
            let last_ns = stream.exchange.last_ns;
            let end = if leaves && stream.has_whole_response() { End::Complete } else { end };
            stream.finish(end, last_ns, assembler, out);
        }
    }

    /// An exchange is over.
    fn finish(&mut self, stream: u32, end: End, at_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if let Some(stream) = self.open.remove(&stream) {
            stream.finish(end, at_ns, assembler, out);
        }
    }

    /// What either side may say that is no message.
    fn note(&mut self, part: &Part<'_>, assembler: &mut Assembler) {
        match part {
            Part::Lost => assembler.counts.lost_framings += 1,
            Part::NotHttp => self.strange = true,
            Part::Head { .. } | Part::Data { .. } | Part::Reset { .. } | Part::GoAway { .. } => {}
        }
    }

    /// A number for a new exchange, and what it is given to begin.
    fn begin(&mut self) -> (u64, (Protocol, &Place)) {
        let number = self.next_number;
        self.next_number += 1;
        (number, (Protocol::Http2, &self.place))
    }
}
