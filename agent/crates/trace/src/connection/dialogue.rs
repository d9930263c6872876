//! The exchanges of one connection, and its requests. Invariants: exchanges stand in the order of their
//! requests; how many are open is bounded.

use std::collections::VecDeque;

use model::{End, Origin, Span};
use protocol::http1::{Part, RequestHead, RequestParser, ResponseParser};

use super::answers::Passing;
use super::{Passage, carries_requests};
use crate::assemble::{Assembler, asked};
use crate::exchange::Exchange;
use crate::place::{Place, Thread};

/// Most requests that wait for a response on one connection.
const MAX_OPEN: usize = 1024;
/// Most calls remembered of a request's head, to know the thread of its first byte.
const MAX_CALLS: usize = 64;

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is followed on.
    Stay,
    /// It does not speak HTTP/1.
    NotHttp,
    /// It speaks another protocol from now on.
    Upgraded,
    /// Too many requests wait on it.
    Overrun,
}

/// An HTTP connection.
#[derive(Debug)]
pub(crate) struct Dialogue {
    pub(super) place: Place,
    pub(super) origin: Origin,
    requests: Option<RequestParser>,
    pub(super) responses: Option<ResponseParser>,
    /// Where the next byte of each direction is to stand.
    request_position: u64,
    pub(super) response_position: u64,
    /// In boxes, because an idle connection keeps the queue's memory.
    pub(super) exchanges: VecDeque<Box<Exchange>>,
    pub(super) next_number: u64,
    pub(super) requests_seen: bool,
    /// The exchange whose request is passing.
    open_request: Option<u64>,
    /// The calls since the last request ended: where they began, and on which thread.
    calls: VecDeque<(u64, Thread)>,
    pub(super) passing: Passing,
    /// The requests' direction holds something else; let go when the last exchange has ended.
    strange: bool,
    /// Who closed first, once one side has: true for the peer.
    pub(super) peer_closed_first: Option<bool>,
    /// No more responses can come.
    pub(super) over: bool,
}

impl Dialogue {
    pub(super) fn new(place: Place, origin: Origin) -> Self {
        Self {
            place,
            origin,
            requests: None,
            responses: None,
            request_position: 0,
            response_position: 0,
            exchanges: VecDeque::new(),
            next_number: 0,
            requests_seen: false,
            open_request: None,
            calls: VecDeque::new(),
            passing: Passing::Nothing,
            strange: false,
            peer_closed_first: None,
            over: false,
        }
    }

    pub(crate) fn open_exchanges(&self) -> usize {
        self.exchanges.len()
    }

    /// Bytes have passed.
    pub(super) fn pass(
        &mut self,
        passage: &Passage<'_>,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> Verdict {
        if self.over {
            return Verdict::Stay;
        }
        let verdict = if carries_requests(self.place.kind, passage.direction) {
            self.pass_request(passage, assembler, out)
        } else {
            self.pass_response(passage, assembler, out)
        };
        if verdict == Verdict::Stay && self.strange && self.exchanges.is_empty() {
            assembler.counts.not_http_bytes += passage.chunk.len;
            return Verdict::NotHttp;
        }
        verdict
    }

    fn pass_request(
        &mut self,
        passage: &Passage<'_>,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> Verdict {
        let chunk = &passage.chunk;
        let origin = self.origin_at(chunk.position);
        if self.requests.is_some() {
            count_gap(self.request_position, chunk.position, assembler);
        }
        self.request_position = chunk.position.saturating_add(chunk.len);
        if self.open_request.is_some() {
            self.calls.clear();
        }
        self.calls.push_back((chunk.position, passage.thread));
        self.calls.truncate(MAX_CALLS);
        let mut parts = Vec::new();
        let parser = self.requests.get_or_insert_with(|| RequestParser::new(origin));
        parser.push(chunk, &mut |part| parts.push(part));
        for part in parts {
            if !self.take_request_part(part, passage.thread, assembler) {
                self.abandon(End::ProbeLost, assembler, out);
                return Verdict::Overrun;
            }
        }
        if let Some(exchange) = self.open_request_exchange() {
            exchange.touch(chunk.at_ns);
        }
        Verdict::Stay
    }

    /// False if there are too many open exchanges.
    fn take_request_part(
        &mut self,
        part: Part<RequestHead>,
        thread: Thread,
        assembler: &mut Assembler,
    ) -> bool {
        match part {
            Part::Head { head, start_ns, head_end_ns, position } => {
                if self.exchanges.len() >= MAX_OPEN {
                    return false;
                }
                let first = self
                    .calls
                    .iter()
                    .rev()
                    .find(|(at, _)| *at <= position)
                    .map_or(thread, |(_, first)| *first);
                let number = self.next_number;
                self.next_number += 1;
                self.requests_seen = true;
                self.open_request = Some(number);
                if let Some(responses) = &mut self.responses {
                    responses.expect(asked(&head.method));
                }
                let mut exchange = assembler.open(&self.place, first, &head, number, (start_ns, position));
                exchange.touch(head_end_ns);
                self.exchanges.push_back(Box::new(exchange));
            }
            Part::End { end_ns, bytes, .. } => {
                if let Some(exchange) = self.open_request_exchange() {
                    exchange.span.request_bytes = bytes;
                    exchange.request_done = true;
                    exchange.touch(end_ns);
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

    /// Ends every open exchange at the last byte seen of it.
    pub(crate) fn abandon(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        while !self.exchanges.is_empty() {
            self.finish_first(end, assembler, out);
        }
    }

    pub(super) fn finish_first(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if let Some(exchange) = self.exchanges.pop_front() {
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

/// Counts the bytes missing before a chunk, if there are any.
pub(super) fn count_gap(expected: u64, position: u64, assembler: &mut Assembler) -> bool {
    let missing = position.saturating_sub(expected);
    assembler.counts.gaps += u64::from(missing > 0);
    assembler.counts.gap_bytes += missing;
    missing > 0
}
