//! What passed in a session, counted each way. Invariant: counts only grow; those of a stretch are the
//! difference of two tallies.

use std::collections::VecDeque;

use model::{Direction, Span, SpanKind};
use protocol::websocket::{Frame, Opcode};

/// Most pings remembered until their pongs come.
const MAX_PINGS: usize = 16;

/// What passed so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    received: Way,
    sent: Way,
    /// Pings of the process that were answered, and how long the answers took.
    pongs: u64,
    round_trips_ns: u64,
    longest_ns: u64,
    /// Pings of the process that are not answered yet: payload, and when they were sent.
    pings: VecDeque<(Vec<u8>, u64)>,
    /// Which end sent the first close frame, and its code.
    pub(super) close: Option<(&'static str, Option<u16>)>,
    /// A close frame has passed: received, sent.
    pub(super) closed: [bool; 2],
    /// Frames may have passed that were not counted.
    pub(super) incomplete: bool,
}

/// What passed one way.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    bytes: u64,
    frames: u64,
    messages: u64,
    payload_bytes: u64,
}

impl Tally {
    /// Bytes have passed, whatever they are.
    pub(super) fn pass(&mut self, direction: Direction, bytes: u64) {
        self.way(direction).bytes += bytes;
    }

    /// A whole frame has passed.
    pub(super) fn count(&mut self, direction: Direction, frame: &Frame) {
        let way = self.way(direction);
        way.frames += 1;
        way.messages += u64::from(frame.ends_message());
        way.payload_bytes = way.payload_bytes.saturating_add(frame.payload_bytes);
        match (frame.opcode, direction) {
            (Opcode::Close, Direction::Received) => self.closed[0] = true,
            (Opcode::Close, Direction::Sent) => self.closed[1] = true,
            (Opcode::Ping, Direction::Sent) => {
                if let Some(payload) = &frame.control {
                    self.pings.push_back((payload.clone(), frame.end_ns));
                    if self.pings.len() > MAX_PINGS {
                        self.pings.pop_front();
                    }
                }
            }
            (Opcode::Pong, Direction::Received) => self.answer(frame),
            _ => {}
        }
    }

    /// A pong answers the ping with its payload, and with it all pings before (RFC 6455 section 5.5.3).
    fn answer(&mut self, pong: &Frame) {
        let Some(at) = self.pings.iter().position(|(payload, _)| pong.control.as_ref() == Some(payload))
        else {
            return;
        };
        let took_ns = pong.end_ns.saturating_sub(self.pings[at].1);
        self.pings.drain(..=at);
        self.pongs += 1;
        self.round_trips_ns += took_ns;
        self.longest_ns = self.longest_ns.max(took_ns);
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        }
    }

    /// Whether anything has passed since then.
    pub(super) fn has_grown(&self, before: &Self) -> bool {
        (self.received.bytes, self.sent.bytes) != (before.received.bytes, before.sent.bytes)
    }

    /// What has passed since then. The longest round trip is that of the whole session.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            received: self.received.since(before.received),
            sent: self.sent.since(before.sent),
            pongs: self.pongs - before.pongs,
            round_trips_ns: self.round_trips_ns - before.round_trips_ns,
            pings: VecDeque::new(),
            ..self.clone()
        }
    }

    /// Writes it into a span.
    pub(super) fn describe(&self, kind: SpanKind, span: &mut Span) {
        let (asked, answered) = match kind {
            SpanKind::Server => (self.received, self.sent),
            SpanKind::Client => (self.sent, self.received),
        };
        span.request_bytes = asked.bytes;
        span.response_bytes = answered.bytes;
        span.set("websocket.received.frames", self.received.frames);
        span.set("websocket.received.messages", self.received.messages);
        span.set("websocket.received.payload_bytes", self.received.payload_bytes);
        span.set("websocket.sent.frames", self.sent.frames);
        span.set("websocket.sent.messages", self.sent.messages);
        span.set("websocket.sent.payload_bytes", self.sent.payload_bytes);
        if let Some(mean_ns) = self.round_trips_ns.checked_div(self.pongs) {
            span.set("websocket.ping.answered", self.pongs);
            span.set("websocket.ping.mean_us", mean_ns / 1000);
            span.set("websocket.ping.longest_us", self.longest_ns / 1000);
        }
        if self.incomplete {
            span.set("websocket.incomplete", true);
        }
    }
}

impl Way {
    fn since(self, before: Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            frames: self.frames - before.frames,
            messages: self.messages - before.messages,
            payload_bytes: self.payload_bytes - before.payload_bytes,
        }
    }
}
