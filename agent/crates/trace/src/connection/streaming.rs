//! Responses that come bit by bit: what is said of them at their end, and reports while they go on. Invariant: what
//! is reported in between adds up to no more than the whole.

use model::{End, Span};
use protocol::http1::{Flow, ResponseHead};

use super::answers::Passing;
use super::dialogue::Dialogue;
use crate::assemble::Assembler;
use crate::exchange::{EVENTS, STREAM_KIND, is_events};

/// From how many chunks on, over how long a time, a response is one that streams.
const MIN_CHUNKS: u64 = 3;
const MIN_NS: u64 = 1_000_000_000;

/// What has been reported of a response that goes on.
#[derive(Debug)]
pub(super) struct Reported {
    /// The exchange.
    number: u64,
    until_ns: u64,
    bytes: u64,
    chunks: u64,
}

/// Says so if a response is a stream of server-sent events (HTML Living Standard, section 9.2).
pub(super) fn mark_events(span: &mut Span, head: &ResponseHead) {
    const TYPE: &str = "text/event-stream";
    if head.sized {
        return;
    }
    let kind = head.headers.get("content-type").and_then(|value| value.get(..TYPE.len()));
    if kind.is_some_and(|kind| kind.eq_ignore_ascii_case(TYPE)) {
        span.set(STREAM_KIND, EVENTS);
    }
}

/// Says how a response came, if that is worth saying.
pub(super) fn describe(span: &mut Span, flow: Flow, end: End) {
    if !is_events(span) {
        if flow.chunks < MIN_CHUNKS || flow.last_ns - flow.first_ns < MIN_NS {
            return;
        }
        span.set(STREAM_KIND, "chunks");
    }
    span.set("http.response.stream.chunks", flow.chunks);
    if flow.chunks > 1 {
        span.set("http.response.stream.longest_gap_us", flow.longest_gap_ns / 1000);
    }
    if flow.incomplete {
        span.set("http.response.stream.incomplete", true);
    }
    match end {
        End::Complete | End::ServerClosed => span.set("http.response.stream.ended_by", "server"),
        End::ClientClosed => span.set("http.response.stream.ended_by", "client"),
        _ => {}
    }
}

impl Dialogue {
    /// Reports the response that is passing, once in a period, if more of it has come.
    pub(super) fn report(
        &mut self,
        now_ns: u64,
        period_ns: u64,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        let (Passing::First, Some(exchange), Some(responses)) =
            (self.passing, self.exchanges.front(), &self.responses)
        else {
            return;
        };
        let (Some(_), Some(begin)) = (exchange.request_position, exchange.response_position) else { return };
        let number = exchange.number;
        let before = self.reported.take().filter(|reported| reported.number == number).unwrap_or_else(|| {
            Box::new(Reported { number, until_ns: exchange.span.start_ns, bytes: 0, chunks: 0 })
        });
        let bytes = self.response_position.saturating_sub(begin);
        if now_ns.saturating_sub(before.until_ns) < period_ns || bytes <= before.bytes {
            self.reported = Some(before);
            return;
        }
        let chunks = responses.flow().chunks;
        let mut part = assembler.part(exchange, before.until_ns);
        part.span.response_bytes = bytes - before.bytes;
        if before.bytes > 0 {
            part.span.request_bytes = 0;
        }
        if chunks > 0 {
            part.span.set("http.response.stream.chunks", chunks - before.chunks);
        }
        assembler.finish(part, End::Ongoing, now_ns, out);
        self.reported = Some(Box::new(Reported { number, until_ns: now_ns, bytes, chunks }));
    }
}
