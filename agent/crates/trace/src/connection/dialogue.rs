//! The exchanges of one connection, and its requests: HTTP/1, or uwsgi, which is answered in HTTP/1. Invariants:
//! exchanges stand in the order of their requests; how many are open is bounded.

use std::collections::VecDeque;
use std::ops::Range;

use model::{Blur, Direction, End, Exceptions, Identity, Origin, Protocol, Span, SpanKind, TcpState};
use protocol::gateway::Request;
use protocol::http1::{Part, RequestParser, ResponseHead, ResponseParser};
use protocol::{Chunk, uwsgi};
use smallvec::SmallVec;

use super::answers::{Heard, Passing};
use super::closing::Closing;
use super::conversation::{Conversation, Verdict};
use super::streaming::{Reported, describe};
use super::{Passage, carries_requests};
use crate::assemble::Assembler;
use crate::exchange::Exchange;
use crate::head::asked;
use crate::place::{Place, Thread};

/// Most requests that wait for a response on one connection.
const MAX_OPEN: usize = 1024;
/// Most calls remembered of a request's head, to know the thread of its first byte.
const MAX_CALLS: usize = 64;

/// What the requests' direction is read with.
#[derive(Debug)]
enum Requests {
    Http1(RequestParser),
    Uwsgi(uwsgi::RequestParser),
}

impl Requests {
    fn new(protocol: Protocol, origin: Origin) -> Self {
        match protocol {
            Protocol::Uwsgi => Self::Uwsgi(uwsgi::RequestParser::new(origin)),
            _ => Self::Http1(RequestParser::new(origin)),
        }
    }

    fn push(&mut self, chunk: &Chunk<'_>, sink: &mut dyn FnMut(Part<Request>)) {
        match self {
            Self::Http1(parser) => parser.push(chunk, &mut |part| sink(part.map(Request::from))),
            Self::Uwsgi(parser) => parser.push(chunk, sink),
        }
    }
}

/// What one chunk holds, mostly a head and an end: no allocation for these.
pub(super) type Parts<H> = SmallVec<[Part<H>; 4]>;

/// An HTTP connection.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub(super) place: Place,
    pub(super) origin: Origin,
    pub(super) protocol: Protocol,
    requests: Option<Requests>,
    pub(super) responses: Option<ResponseParser>,
    /// Where the next byte of each direction is to stand.
    pub(super) request_position: u64,
    pub(super) response_position: u64,
    pub(super) heard: Heard,
    /// In boxes, because an idle connection keeps the queue's memory.
    pub(super) exchanges: VecDeque<Box<Exchange>>,
    pub(super) next_number: u64,
    pub(super) requests_seen: bool,
    /// The exchange whose request is passing.
    open_request: Option<u64>,
    /// The calls since the last request ended: their bytes, and on which thread they passed.
    calls: VecDeque<(Range<u64>, Thread)>,
    pub(super) passing: Passing,
    /// The head of a 101 that is passing, if it was seen whole.
    pub(super) switching: Option<Box<ResponseHead>>,
    /// What has been reported of the response that is passing.
    pub(super) reported: Option<Box<Reported>>,
    /// The requests' direction holds something else; let go when the last exchange has ended.
    strange: bool,
    pub(super) closing: Closing,
    /// No more responses can come.
    pub(super) over: bool,
}

impl Dialogue {
    pub(super) fn new(protocol: Protocol, place: Place, origin: Origin) -> Self {
        Self {
            protocol,
            closing: Closing::new(place.kind),
            place,
            origin,
            requests: None,
            responses: None,
            request_position: 0,
            response_position: 0,
            heard: Heard::new(origin),
            exchanges: VecDeque::new(),
            next_number: 0,
            requests_seen: false,
            open_request: None,
            calls: VecDeque::new(),
            passing: Passing::Nothing,
            switching: None,
            reported: None,
            strange: false,
            over: false,
        }
    }

    fn pass_request(
        &mut self,
        passage: &Passage<'_>,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> Verdict {
        let chunk = &passage.chunk;
        let origin = self.origin_at(chunk.position);
        let missed = self.requests.is_some() && count_gap(self.request_position, chunk.position, assembler);
        let unseen_before = if missed { chunk.position } else { 0 };
        let end = chunk.position.saturating_add(chunk.len);
        self.request_position = end;
        if self.open_request.is_some() {
            self.calls.clear();
        }
        // It is the first one of a head that is wanted, so what comes beyond is not kept.
        self.calls.push_back((chunk.position..end, passage.thread));
        self.calls.truncate(MAX_CALLS);
        let mut parts = Parts::new();
        let parser = self.requests.get_or_insert_with(|| Requests::new(self.protocol, origin));
        parser.push(chunk, &mut |part| parts.push(part));
        for part in parts {
            if !self.take_request_part(part, passage.thread, unseen_before, assembler, out) {
                self.abandon(End::ProbeLost, assembler, out);
                return Verdict::Overrun;
            }
        }
        if let Some(exchange) = self.open_request_exchange() {
            exchange.touch(chunk.at_ns);
        }
        Verdict::Stay
    }

    /// `unseen_before`: bytes before this position were missed. False if there are too many open exchanges.
    fn take_request_part(
        &mut self,
        part: Part<Request>,
        thread: Thread,
        unseen_before: u64,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> bool {
        match part {
            Part::Head { head, start_ns, head_end_ns, position } => {
                if self.exchanges.len() >= MAX_OPEN {
                    return false;
                }
                let first = self
                    .calls
                    .iter()
                    .find(|(bytes, _)| bytes.contains(&position))
                    .map_or(thread.within_call(true), |(bytes, first)| {
                        first.within_call(bytes.start != position)
                    });
                let number = self.next_number;
                self.next_number += 1;
                self.requests_seen = true;
                let place = (self.protocol, &self.place);
                let reader = if self.exchanges.is_empty() || self.place.kind == SpanKind::Client {
                    first
                } else {
                    Thread { identity: Identity::Unknown(Blur::ReadAhead), ..first }
                };
                let mut exchange =
                    assembler.open_handed_on(place, reader, &head, number, (start_ns, position));
                exchange.touch(head_end_ns);
                exchange.begun_ns = head_end_ns;
                exchange.read_by = first.identity;
                // A head whose end was missed is told when something else is seen: by then it may have been answered.
                if position < unseen_before {
                    self.open_request = None;
                    assembler.finish(exchange, End::ProbeLost, head_end_ns, out);
                    return true;
                }
                self.open_request = Some(number);
                if let Some(responses) = &mut self.responses {
                    responses.expect(asked(&head.head.method));
                }
                self.exchanges.push_back(Box::new(exchange));
            }
            Part::End { end_ns, bytes, .. } => {
                if let Some(exchange) = self.open_request_exchange() {
                    exchange.span.request_bytes = bytes;
                    exchange.request_done = true;
                    exchange.touch(end_ns);
                    // Many servers begin their work only then; what ran before need not be theirs.
                    exchange.begun_ns = exchange.begun_ns.max(end_ns);
                }
                self.open_request = None;
                let last = self.calls.pop_back();
                self.calls.clear();
                self.calls.extend(last);
            }
            Part::Lost => assembler.counts.lost_framings += 1,
            Part::Upgraded => {}
            Part::NotHttp => self.strange = true,
        }
        true
    }

    pub(super) fn finish_first(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if let Some(mut exchange) = self.exchanges.pop_front() {
            if self.passing == Passing::First
                && let Some(responses) = &self.responses
            {
                describe(&mut exchange.span, responses.flow(), end);
            }
            self.passing = Passing::Nothing;
            self.finish_broken(*exchange, end, assembler, out);
        }
    }

    pub(super) fn finish_broken(
        &self,
        mut exchange: Exchange,
        end: End,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        if let Some(position) = exchange.response_position {
            exchange.span.response_bytes = self.response_position.saturating_sub(position);
        }
        self.settle_request(&mut exchange);
        let last_ns = exchange.last_ns;
        assembler.finish(exchange, end, last_ns, out);
    }

    /// A request that is still passing when its exchange ends has the bytes seen so far.
    pub(super) fn settle_request(&self, exchange: &mut Exchange) {
        if let Some(position) = exchange.request_position
            && !exchange.request_done
        {
            exchange.span.request_bytes = self.request_position.saturating_sub(position);
        }
    }

    fn open_request_exchange(&mut self) -> Option<&mut Box<Exchange>> {
        let number = self.open_request?;
        self.exchanges.iter_mut().rev().find(|exchange| exchange.number == number)
    }

    /// Whether a direction whose first chunk stands at `position` is seen from its first byte.
    pub(super) fn origin_at(&self, position: u64) -> Origin {
        if position == 0 { self.origin } else { Origin::Midway }
    }
}

impl Conversation for Dialogue {
    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> Verdict {
        if self.over {
            return Verdict::Stay;
        }
        let verdict = if carries_requests(self.place.kind, passage.direction) {
            self.pass_request(passage, assembler, out)
        } else {
            self.pass_response(passage, assembler, out)
        };
        if verdict.stays() && self.strange && self.exchanges.is_empty() {
            assembler.counts.not_http_bytes += passage.chunk.len;
            return Verdict::Stranger;
        }
        verdict
    }

    fn end_of_stream(&mut self, _at_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.peer_is_done(assembler, out);
    }

    fn fail(
        &mut self,
        _at_ns: u64,
        (direction, errno): (Direction, i32),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        self.call_failed(direction, errno, assembler, out);
    }

    fn state(
        &mut self,
        _at_ns: u64,
        (new, errno): (TcpState, i32),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        self.socket_became(new, errno, assembler, out);
    }

    fn miss_last_sent(&mut self, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if self.place.kind == SpanKind::Server {
            self.abandon(End::ProbeLost, assembler, out);
        }
    }

    /// Where bytes are missing, so may what answers the request.
    fn raised(&mut self, (sent, stream): (u64, Option<u32>), raised: &Exceptions) {
        if self.place.kind == SpanKind::Server
            && self.response_position == sent
            && stream.is_none()
            && let Some(exchange) = self.exchanges.front_mut()
        {
            exchange.raised(raised);
        }
    }

    fn abandon(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let end = if self.passing == Passing::Unseen { End::ProbeLost } else { end };
        while !self.exchanges.is_empty() {
            self.finish_first(end, assembler, out);
        }
    }

    fn progress(&mut self, now_ns: u64, period_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.report(now_ns, period_ns, assembler, out);
    }

    fn kind(&self) -> SpanKind {
        self.place.kind
    }

    fn open_exchanges(&self) -> usize {
        self.exchanges.len()
    }
}

/// Counts the bytes missing before a chunk, if there are any.
pub(super) fn count_gap(expected: u64, position: u64, assembler: &mut Assembler) -> bool {
    let missing = position.saturating_sub(expected);
    assembler.counts.gaps += u64::from(missing > 0);
    assembler.counts.gap_bytes += missing;
    missing > 0
}

/// Counts what is missing before a chunk; true if something is. `next`: where the next byte of its direction is to stand,
/// once one has come.
pub(super) fn count_gap_before(next: &mut Option<u64>, chunk: &Chunk<'_>, assembler: &mut Assembler) -> bool {
    next.replace(chunk.position.saturating_add(chunk.len))
        .is_some_and(|expected| count_gap(expected, chunk.position, assembler))
}
