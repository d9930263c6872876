//! Responses meet their requests, in order. Invariant: a response never goes to a request that it may not
//! belong to: after a loss, requests in doubt end as lost.

use model::{End, Origin, Protocol, Span, SpanKind};
use protocol::Chunk;
use protocol::http1::{EndBy, Part, ResponseHead, ResponseParser};

use super::Passage;
use super::conversation::{Conversation as _, Verdict};
use super::dialogue::{Dialogue, Parts, count_gap};
use super::streaming::{describe, mark_events};
use super::upgrade::{Handshake, follow};
use crate::assemble::Assembler;
use crate::exchange::Exchange;
use crate::head::asked;
use crate::place::Thread;

/// What a response that is passing belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    Nothing,
    /// 1xx: the final response is still to come.
    Interim,
    /// The first open exchange.
    First,
    /// No request that was seen.
    Unpaired,
    /// Bytes have passed since the last response that nobody has seen: a response may be among them.
    Unseen,
}

/// What was heard of in the responses' direction, its content seen or not.
#[derive(Debug)]
pub(super) struct Heard {
    /// Where the next byte is to stand, once that is known.
    next: Option<u64>,
    /// Since the last head or end of a response that was seen, some bytes were not heard of.
    missed: bool,
}

impl Heard {
    pub(super) fn new(origin: Origin) -> Self {
        Self { next: (origin == Origin::Start).then_some(0), missed: false }
    }

    fn pass(&mut self, chunk: &Chunk<'_>) {
        let end = chunk.position.saturating_add(chunk.len);
        self.missed |= self.next.replace(end).is_some_and(|expected| chunk.position > expected);
    }
}

impl Dialogue {
    pub(super) fn pass_response(
        &mut self,
        passage: &Passage<'_>,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> Verdict {
        let chunk = &passage.chunk;
        if self.passing == Passing::First
            && let Some(exchange) = self.exchanges.front_mut()
        {
            assembler.go_on(exchange, passage.thread, chunk.at_ns);
        }
        let end = chunk.position.saturating_add(chunk.len);
        self.heard.pass(chunk);
        let between = matches!(self.passing, Passing::Nothing | Passing::Unseen);
        if between && chunk.head.is_empty() {
            self.pass_unseen(chunk);
            return Verdict::Stay;
        }
        if (self.responses.is_some() || self.passing == Passing::Unseen || self.heard.missed)
            && count_gap(self.response_position, chunk.position, assembler)
            && between
            && self.drop_doubtful(assembler, out)
        {
            // It expects the responses to the requests that were dropped.
            self.responses = None;
        }
        if between {
            self.passing = Passing::Nothing;
        }
        if self.responses.is_none() {
            let mut parser = ResponseParser::new(self.origin_at(chunk.position));
            for exchange in &self.exchanges {
                parser.expect(asked(exchange.span.method.as_deref().unwrap_or_default()));
            }
            self.responses = Some(parser);
        }
        self.response_position = end;
        let mut parts = Parts::new();
        if let Some(parser) = &mut self.responses {
            parser.push(chunk, &mut |part| parts.push(part));
        }
        let cut = self.closing.cut();
        let stands = parts.iter().any(|part| matches!(part, Part::Head { .. } | Part::End { .. }));
        let is_lost = parts.iter().any(|part| matches!(part, Part::Lost | Part::End { by: EndBy::Lost, .. }));
        for part in parts {
            let verdict = self.take_response_part(part, passage.thread, cut, assembler, out);
            if !verdict.stays() {
                self.abandon(End::ProbeLost, assembler, out);
                return verdict;
            }
        }
        self.heard.missed &= !stands;
        if is_lost && let Some(parser) = &mut self.responses {
            parser.still_expect(self.exchanges.len() - usize::from(self.passing == Passing::First));
        }
        if self.passing == Passing::First
            && let Some(exchange) = self.exchanges.front_mut()
        {
            exchange.touch(chunk.at_ns);
        }
        Verdict::Stay
    }

    /// Bytes without content between two responses may be a response: the next one tells, as after a gap.
    fn pass_unseen(&mut self, chunk: &Chunk<'_>) {
        if self.responses.is_none() && self.passing == Passing::Nothing {
            self.response_position = chunk.position;
        }
        self.passing = Passing::Unseen;
    }

    /// `cut`: how an exchange ends whose response is cut off.
    pub(super) fn take_response_part(
        &mut self,
        part: Part<ResponseHead>,
        thread: Thread,
        cut: End,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> Verdict {
        match part {
            Part::Head { head, start_ns, head_end_ns, position } => {
                self.passing = self.pair(&head, start_ns, thread, assembler);
                if self.passing == Passing::First
                    && let Some(exchange) = self.exchanges.front_mut()
                {
                    assembler.respond(exchange, &head, start_ns, position);
                    assembler.answer(exchange, thread, head_end_ns);
                    assembler.hear(exchange, thread);
                    exchange.touch(head_end_ns);
                    mark_events(&mut exchange.span, &head);
                    if head.status == 101 && !head.truncated {
                        self.switching = Some(Box::new(head));
                    }
                }
            }
            Part::End { end_ns, bytes, by, flow } => {
                let passing = std::mem::replace(&mut self.passing, Passing::Nothing);
                if passing == Passing::First
                    && let Some(mut exchange) = self.exchanges.pop_front()
                {
                    exchange.span.response_bytes = bytes;
                    self.settle_request(&mut exchange);
                    // What answers the next request may have been at work on this one until then.
                    let busy_ns = exchange.answered.map_or(end_ns, |(_, until_ns)| until_ns);
                    if let Some(next) = self.exchanges.front_mut() {
                        next.begun_ns = next.begun_ns.max(busy_ns);
                    }
                    if by == EndBy::Upgrade
                        && let Some(head) = self.switching.take()
                    {
                        return self.switch((*exchange, *head), end_ns, assembler, out);
                    }
                    let end = match by {
                        EndBy::Framing | EndBy::Close if exchange.switches() => End::Upgraded,
                        EndBy::Framing | EndBy::Close => End::Complete,
                        EndBy::Upgrade => End::Upgraded,
                        EndBy::Cut => cut,
                        EndBy::Lost => End::ProbeLost,
                    };
                    describe(&mut exchange.span, flow, end);
                    assembler.finish(*exchange, end, end_ns, out);
                }
                if by == EndBy::Lost {
                    self.drop_doubtful(assembler, out);
                }
            }
            Part::Upgraded => {
                if self.passing == Passing::First {
                    self.finish_first(End::Upgraded, assembler, out);
                }
                return Verdict::Upgraded;
            }
            Part::Lost => {
                assembler.counts.lost_framings += 1;
                self.drop_doubtful(assembler, out);
            }
            Part::NotHttp => return Verdict::Stranger,
        }
        Verdict::Stay
    }

    /// The connection goes on in the protocol that the head of a 101 names.
    fn switch(
        &mut self,
        (exchange, head): (Exchange, ResponseHead),
        end_ns: u64,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> Verdict {
        let answered =
            exchange.response_position.unwrap_or_default().saturating_add(exchange.span.response_bytes);
        let asked = match exchange.request_position {
            Some(position) if exchange.request_done => position.saturating_add(exchange.span.request_bytes),
            _ => self.request_position,
        };
        let (received, sent) = match self.place.kind {
            SpanKind::Server => (asked, answered),
            SpanKind::Client => (answered, asked),
        };
        let place = self.place.clone();
        follow(Handshake { place, exchange, end_ns, head, received, sent }, assembler, out)
    }

    /// Finds the exchange of a response that begins.
    fn pair(
        &mut self,
        head: &ResponseHead,
        start_ns: u64,
        thread: Thread,
        assembler: &mut Assembler,
    ) -> Passing {
        if (100..200).contains(&head.status) && head.status != 101 {
            return Passing::Interim;
        }
        if !self.exchanges.is_empty() {
            return Passing::First;
        }
        if self.origin == Origin::Midway && !self.requests_seen {
            let number = self.next_number;
            self.next_number += 1;
            let exchange = assembler.open_late((Protocol::Http1, &self.place), thread, number, start_ns);
            self.exchanges.push_back(Box::new(exchange));
            return Passing::First;
        }
        assembler.counts.unpaired_responses += 1;
        Passing::Unpaired
    }

    /// Responses may have passed unseen, so the next one may belong to any of the requests that wait. Where their bytes
    /// were heard of it is the last one's, as without pipelining the others have been answered. If some were not heard
    /// of, nor need the last one's answer have been, or the request that is answered next: then nobody knows, as with
    /// pipelining (two requests in one call). True if a request was in doubt.
    fn drop_doubtful(&mut self, assembler: &mut Assembler, out: &mut Vec<Span>) -> bool {
        let mut waiting = std::mem::take(&mut self.exchanges);
        let started = waiting.iter().map(|exchange| exchange.span.start_ns);
        let pipelined = started.clone().zip(started.skip(1)).any(|(one, next)| one == next);
        if !pipelined && !std::mem::take(&mut self.heard.missed) {
            self.exchanges.extend(waiting.pop_back());
        }
        let any = !waiting.is_empty();
        for exchange in waiting {
            self.finish_broken(*exchange, End::ProbeLost, assembler, out);
        }
        any
    }
}
