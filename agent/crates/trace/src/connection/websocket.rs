//! A `WebSocket` session (RFC 6455), from its handshake to its close: one span. Invariants: what could not be read
//! is said to be incomplete; what looks like no frame from the start is no session and gives no span.

mod tally;

use std::sync::Arc;

use model::{
    Direction, End, Fault, Identity, Parent, ParentKind, Protocol, Span, SpanKind, TcpState, Timing,
};
use protocol::http1::ResponseHead;
use protocol::websocket::{Frame, FrameParser, Loss, Opcode, Part, Writer};

use super::Passage;
use super::closing::Closing;
use super::conversation::{Conversation, Verdict};
use crate::assemble::Assembler;
use crate::exchange::{Exchange, closed_by};
use crate::head::Beginning;
use crate::place::{Lineage, Place, Thread};
use crate::text::cut;
use tally::Tally;

const MAX_WORD_CHARS: usize = 64;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    place: Place,
    closing: Closing,
    received: FrameParser,
    sent: FrameParser,
    tally: Tally,
    /// The tally as it was last reported, and when that was.
    reported: (u64, Tally),
    state: State,
}

#[derive(Debug)]
enum State {
    /// No frame has passed yet.
    Agreed(Box<Handshake>),
    Open(Box<Exchange>),
    Over,
}

/// What the handshake tells of the session.
#[derive(Debug)]
struct Handshake {
    /// The handshake's span as it is before it is finished.
    span: Span,
    pid: u32,
    template: Option<String>,
    route: Option<Arc<str>>,
    end_ns: u64,
    subprotocol: Option<String>,
    compressed: bool,
}

impl Session {
    /// `exchange`: the handshake's, whose 101 ended at `end_ns`.
    pub(super) fn new(place: Place, exchange: &Exchange, head: &ResponseHead, end_ns: u64) -> Self {
        let (received, sent) = match place.kind {
            SpanKind::Server => (Writer::Client, Writer::Server),
            SpanKind::Client => (Writer::Server, Writer::Client),
        };
        let extensions = head.headers.get("sec-websocket-extensions").unwrap_or_default();
        let handshake = Handshake {
            span: exchange.span.clone(),
            pid: exchange.pid,
            template: exchange.template.clone(),
            route: exchange.route.clone(),
            end_ns,
            subprotocol: head
                .headers
                .get("sec-websocket-protocol")
                .map(|word| cut(word, MAX_WORD_CHARS).to_owned()),
            compressed: extensions.contains("permessage-deflate"),
        };
        Self {
            closing: Closing::new(place.kind),
            place,
            received: FrameParser::new(received),
            sent: FrameParser::new(sent),
            tally: Tally::default(),
            reported: (end_ns, Tally::default()),
            state: State::Agreed(Box::new(handshake)),
        }
    }

    /// The session's exchange; begun now if it has not been.
    fn open(&mut self, assembler: &mut Assembler) -> Option<&mut Exchange> {
        if let State::Agreed(handshake) = &self.state {
            assembler.counts.upgraded += 1;
            let exchange = begin(handshake, &self.place, assembler);
            self.state = State::Open(Box::new(exchange));
        }
        match &mut self.state {
            State::Open(exchange) => Some(exchange),
            State::Agreed(_) | State::Over => None,
        }
    }

    fn take(&mut self, direction: Direction, frame: &Frame, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if self.open(assembler).is_none() {
            return;
        }
        self.tally.count(direction, frame);
        if frame.opcode != Opcode::Close {
            return;
        }
        let peer = direction == Direction::Received;
        if self.tally.close.is_none() {
            let by = if closed_by(self.place.kind, peer) == End::ClientClosed { "client" } else { "server" };
            self.tally.close = Some((by, frame.close_code()));
        }
        // Both sides have said goodbye (section 7.1.3).
        if self.tally.closed == [true, true] {
            self.finish(End::Complete, frame.end_ns, assembler, out);
        }
    }

    fn finish(&mut self, end: End, end_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if self.open(assembler).is_none() {
            return;
        }
        let State::Open(mut exchange) = std::mem::replace(&mut self.state, State::Over) else { return };
        self.tally.describe(self.place.kind, &mut exchange.span);
        if let Some((by, code)) = self.tally.close {
            exchange.span.set("websocket.close.by", by);
            if let Some(code) = code {
                exchange.span.set("websocket.close.code", u32::from(code));
            }
            if let Some(code) = code.filter(|code| is_error(*code)) {
                exchange.span.fault = Some(Fault::Answer);
                exchange.span.set("error.type", code.to_string());
            }
        }
        assembler.finish(*exchange, end, end_ns, out);
    }

    /// The connection is gone, or one side of it: with a close frame that is an end in good order.
    fn close(&mut self, end: End, at_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let end = if self.tally.close.is_some() { End::Complete } else { end };
        self.finish(end, at_ns, assembler, out);
    }
}

/// Section 7.4.1: from 1002 on something went wrong. What an application defines is its own affair.
fn is_error(code: u16) -> bool {
    matches!(code, 1002..=1004 | 1006..=1015)
}

fn begin(handshake: &Handshake, place: &Place, assembler: &mut Assembler) -> Exchange {
    let Handshake { span, pid, template, route, end_ns, subprotocol, compressed } = handshake;
    let lineage = Lineage {
        parent: Some(Parent { span_id: span.span_id.to_string().into(), kind: ParentKind::Handshake }),
        flagged: span.head_sampled,
        ..Lineage::new(span.trace_id.clone())
    };
    let thread = Thread { pid: *pid, tid: span.tid, identity: Identity::Thread, timing: Timing::default() };
    let beginning = Beginning { name: "WEBSOCKET", number: 0, start_ns: *end_ns, position: 0 };
    let mut exchange = assembler.begin((Protocol::WebSocket, place), thread, beginning, Some(lineage));
    exchange.template.clone_from(template);
    exchange.route.clone_from(route);
    let session = &mut exchange.span;
    session.scheme = if span.scheme == "https" { "wss" } else { "ws" };
    session.host.clone_from(&span.host);
    session.target.clone_from(&span.target);
    session.user_agent.clone_from(&span.user_agent);
    session.client_addr = span.client_addr;
    if let Some(subprotocol) = subprotocol {
        session.set("websocket.subprotocol", subprotocol.as_str());
    }
    if *compressed {
        session.set("websocket.compression", "permessage-deflate");
    }
    exchange
}

impl Conversation for Session {
    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> Verdict {
        if matches!(self.state, State::Over) {
            return Verdict::Stay;
        }
        let direction = passage.direction;
        let mut parts = Vec::new();
        let parser = if direction == Direction::Received { &mut self.received } else { &mut self.sent };
        parser.push(&passage.chunk, &mut |part| parts.push(part));
        self.tally.pass(direction, passage.chunk.len);
        for part in parts {
            match part {
                Part::Frame(frame) => self.take(direction, &frame, assembler, out),
                Part::Lost(Loss::Broken) if matches!(self.state, State::Agreed(_)) => {
                    return Verdict::Upgraded;
                }
                Part::Lost(_) => {
                    assembler.counts.lost_framings += 1;
                    self.tally.incomplete = true;
                }
            }
        }
        if let State::Open(exchange) = &mut self.state {
            exchange.touch(passage.chunk.at_ns);
        }
        Verdict::Stay
    }

    fn end_of_stream(&mut self, at_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.closing.end_of_stream();
        // After a close frame the process may still write its own.
        if self.tally.close.is_none() {
            self.finish(self.closing.cut(), at_ns, assembler, out);
        }
    }

    fn fail(
        &mut self,
        at_ns: u64,
        (direction, errno): (Direction, i32),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        // Who cannot write may still read what the peer has sent before it closed.
        if let Some(end) = self.closing.broken_by(errno).filter(|_| direction == Direction::Received) {
            self.close(end, at_ns, assembler, out);
        }
    }

    fn state(
        &mut self,
        at_ns: u64,
        (new, errno): (TcpState, i32),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        self.closing.state(new);
        if matches!(new, TcpState::Close | TcpState::TimeWait) {
            self.close(self.closing.gone_by(errno).unwrap_or(self.closing.cut()), at_ns, assembler, out);
        }
    }

    fn abandon(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if let Some(exchange) = self.open(assembler) {
            let last_ns = exchange.last_ns;
            self.finish(end, last_ns, assembler, out);
        }
    }

    fn progress(&mut self, now_ns: u64, period_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let (since_ns, before) = &self.reported;
        if now_ns.saturating_sub(*since_ns) < period_ns || !self.tally.has_grown(before) {
            return;
        }
        let State::Open(exchange) = &self.state else { return };
        let mut part = assembler.part(exchange, *since_ns);
        self.tally.since(before).describe(self.place.kind, &mut part.span);
        assembler.finish(part, End::Ongoing, now_ns, out);
        self.reported = (now_ns, self.tally.clone());
    }

    /// Many small frames may come in one call.
    fn needs_whole_calls(&self) -> bool {
        true
    }

    fn kind(&self) -> SpanKind {
        self.place.kind
    }

    fn open_exchanges(&self) -> usize {
        usize::from(!matches!(self.state, State::Over))
    }
}
