//! The exchanges of a `FastCGI` connection, by the numbers of their requests. Invariant: how many are open is bounded; a
//! number that begins anew has given up the request before.

use model::{Direction, End, Fault, Origin, Protocol, Span, SpanKind, TcpState};
use protocol::fastcgi::{self, MAX_OPEN, RequestParser, RequestPart, ResponseParser, ResponsePart};

use super::closing::Closing;
use super::conversation::{Conversation, Verdict};
use super::dialogue::count_gap_before;
use super::{Passage, carries_requests};
use crate::assemble::Assembler;
use crate::exchange::Exchange;
use crate::place::{Place, Thread};

/// A `FastCGI` connection.
#[derive(Debug)]
pub(super) struct FastCgi {
    place: Place,
    closing: Closing,
    requests: RequestParser,
    responses: ResponseParser,
    /// Where the next byte of each direction is to stand, once that is known.
    request_position: Option<u64>,
    response_position: Option<u64>,
    /// The threads that moved the first bytes of requests whose variables are still to come.
    beginning: Vec<(u16, Thread)>,
    open: Vec<(u16, Box<Exchange>)>,
    next_number: u64,
}

impl FastCgi {
    pub(super) fn new(place: Place, origin: Origin) -> Self {
        Self {
            closing: Closing::new(place.kind),
            place,
            requests: RequestParser::new(origin),
            responses: ResponseParser::new(origin),
            request_position: (origin == Origin::Start).then_some(0),
            response_position: (origin == Origin::Start).then_some(0),
            beginning: Vec::new(),
            open: Vec::new(),
            next_number: 0,
        }
    }

    fn find(&mut self, id: u16) -> Option<&mut Exchange> {
        self.open.iter_mut().find(|(open, _)| *open == id).map(|(_, exchange)| exchange.as_mut())
    }

    fn take(&mut self, id: u16) -> Option<Box<Exchange>> {
        let at = self.open.iter().position(|(open, _)| *open == id)?;
        Some(self.open.remove(at).1)
    }

    /// Ends an exchange at the last byte seen of it.
    fn give_up(&mut self, id: u16, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let Some(mut exchange) = self.take(id) else { return };
        if !exchange.request_done {
            exchange.span.request_bytes = self.requests.bytes(id);
        }
        exchange.span.response_bytes = self.responses.bytes(id);
        let end = if is_over(&exchange, end) { End::Complete } else { end };
        let last_ns = exchange.last_ns;
        assembler.finish(*exchange, end, last_ns, out);
    }

    fn pass_request(
        &mut self,
        passage: &Passage<'_>,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> Verdict {
        let chunk = &passage.chunk;
        let missed = count_gap_before(&mut self.request_position, chunk, assembler);
        let mut parts = Vec::new();
        self.requests.push(chunk, &mut |part| parts.push(part));
        for part in parts {
            match part {
                RequestPart::Begin { id } => {
                    self.give_up(id, End::ProbeLost, assembler, out);
                    self.beginning.retain(|(beginning, _)| *beginning != id);
                    // As the parser does.
                    if self.beginning.len() >= MAX_OPEN {
                        self.beginning.remove(0);
                    }
                    self.beginning.push((id, passage.thread));
                }
                RequestPart::Head { id, request, start_ns, position } => {
                    if self.open.len() >= MAX_OPEN {
                        self.abandon(End::ProbeLost, assembler, out);
                        return Verdict::Overrun;
                    }
                    let begun = self.beginning.iter().position(|(beginning, _)| *beginning == id);
                    let thread = begun.map_or(passage.thread, |at| self.beginning.swap_remove(at).1);
                    let place = (Protocol::FastCgi, &self.place);
                    let (number, at) = (self.next_number, (start_ns, position));
                    self.next_number += 1;
                    let mut exchange = assembler.open_handed_on(place, thread, &request, number, at);
                    exchange.touch(chunk.at_ns);
                    exchange.begun_ns = chunk.at_ns;
                    // Variables whose end was missed are told when something else is seen: by then they may have been
                    // answered.
                    if missed && position < chunk.position {
                        let last_ns = exchange.span.start_ns;
                        assembler.finish(exchange, End::ProbeLost, last_ns, out);
                        continue;
                    }
                    self.open.push((id, Box::new(exchange)));
                    self.responses.expect(id);
                }
                RequestPart::End { id, end_ns, bytes } => {
                    if let Some(exchange) = self.find(id) {
                        (exchange.span.request_bytes, exchange.request_done) = (bytes, true);
                        if exchange.response_position.is_none() {
                            exchange.touch(end_ns);
                        }
                    }
                }
                RequestPart::Lost => assembler.counts.lost_framings += 1,
                RequestPart::Stranger => {
                    self.abandon(End::ProbeLost, assembler, out);
                    return Verdict::Stranger;
                }
            }
        }
        // Once the response has begun, its bytes tell the end.
        let is_passing = |exchange: &Exchange| !exchange.request_done && exchange.response_position.is_none();
        for (_, exchange) in self.open.iter_mut().filter(|(_, exchange)| is_passing(exchange)) {
            exchange.touch(chunk.at_ns);
        }
        Verdict::Stay
    }

    fn pass_response(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let chunk = &passage.chunk;
        let missed = count_gap_before(&mut self.response_position, chunk, assembler);
        // A number is used again: what comes under it may answer a request that was not seen.
        if missed && self.responses.is_lost() {
            self.abandon(End::ProbeLost, assembler, out);
        }
        let mut parts = Vec::new();
        self.responses.push(chunk, &mut |part| parts.push(part));
        for part in parts {
            match part {
                ResponsePart::Head { id, head, start_ns, position } => {
                    if let Some(exchange) = self.find(id) {
                        assembler.respond(exchange, &head, start_ns, position);
                        assembler.answer(exchange, passage.thread, start_ns);
                    }
                }
                ResponsePart::End { id, end_ns, bytes, end } => {
                    let Some(mut exchange) = self.take(id) else { continue };
                    if !exchange.request_done {
                        exchange.span.request_bytes = self.requests.bytes(id);
                    }
                    exchange.span.response_bytes = bytes;
                    if end == fastcgi::End::Refused {
                        exchange.span.fault = Some(Fault::Answer);
                        exchange.span.set("error.type", "refused");
                    }
                    assembler.finish(*exchange, End::Complete, end_ns, out);
                }
                ResponsePart::Lost => {
                    assembler.counts.lost_framings += 1;
                    if missed {
                        self.abandon(End::ProbeLost, assembler, out);
                    }
                }
            }
        }
        for (_, exchange) in self.open.iter_mut().filter(|(_, exchange)| exchange.response_position.is_some())
        {
            exchange.touch(chunk.at_ns);
        }
    }
}

/// A response without a body is over with its head: nginx closes then, without waiting for the record that says so.
fn is_over(exchange: &Exchange, end: End) -> bool {
    let span = &exchange.span;
    let bodiless = span.method.as_deref() == Some("HEAD") || matches!(span.status, Some(204 | 304));
    let closed = matches!(end, End::ClientClosed | End::ServerClosed | End::Reset);
    closed && bodiless && exchange.response_position.is_some()
}

impl Conversation for FastCgi {
    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> Verdict {
        if carries_requests(self.place.kind, passage.direction) {
            return self.pass_request(passage, assembler, out);
        }
        self.pass_response(passage, assembler, out);
        Verdict::Stay
    }

    fn end_of_stream(&mut self, _at_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.closing.end_of_stream();
        if self.place.kind == SpanKind::Client {
            self.abandon(self.closing.cut(), assembler, out);
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
        if self.closing.answers_no_more(new) || matches!(new, TcpState::Close | TcpState::TimeWait) {
            let end = self.closing.gone_by(errno).unwrap_or(self.closing.cut());
            self.abandon(end, assembler, out);
        }
    }

    fn abandon(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        while let Some((id, _)) = self.open.first() {
            self.give_up(*id, end, assembler, out);
        }
    }

    fn kind(&self) -> SpanKind {
        self.place.kind
    }

    fn open_exchanges(&self) -> usize {
        self.open.len()
    }
}
