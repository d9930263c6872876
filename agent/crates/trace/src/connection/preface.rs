//! The PROXY header ahead of a connection's own protocol. Invariant: what it says is believed only from a
//! trusted peer; its bytes belong to no exchange.

use model::{Address, Direction, End, Span, SpanKind, TcpState};
use protocol::proxy;

use super::conversation::{Conversation, Turn, Verdict};
use super::detectors::{First, Guess};
use super::{Passage, carries_requests};
use crate::assemble::Assembler;
use crate::place::Place;

/// Who reads such a header, or writes it: only a connection's first bytes are one.
pub(super) fn guess(first: &First<'_>) -> Guess {
    if !first.begins {
        return Guess::No;
    }
    match (proxy::Preface::read(first.bytes), first.direction) {
        (proxy::Preface::Header { .. }, Direction::Received) => Guess::Yes(SpanKind::Server),
        (proxy::Preface::Header { .. }, Direction::Sent) => Guess::Yes(SpanKind::Client),
        (proxy::Preface::More, _) => Guess::Maybe,
        (proxy::Preface::None, _) => Guess::No,
    }
}

/// A header that is passing.
#[derive(Debug)]
pub(super) struct Preface {
    place: Place,
    bytes: Vec<u8>,
}

impl Preface {
    pub(super) fn new(place: Place) -> Self {
        Self { place, bytes: Vec::new() }
    }
}

impl Conversation for Preface {
    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, _out: &mut Vec<Span>) -> Verdict {
        if !carries_requests(self.place.kind, passage.direction) {
            return Verdict::Stay;
        }
        self.bytes.extend_from_slice(passage.chunk.head);
        match proxy::Preface::read(&self.bytes) {
            // The rest of a call that was not copied cannot be read on.
            proxy::Preface::More if passage.chunk.head.len() as u64 == passage.chunk.len => Verdict::Stay,
            proxy::Preface::More | proxy::Preface::None => Verdict::Stranger,
            proxy::Preface::Header { len, source } => {
                let believed = assembler.policy.trusted.trusts(&self.place.peer);
                let (received, sent, client) = match self.place.kind {
                    SpanKind::Server => (len, 0, source.filter(|_| believed).map(Address::Ip)),
                    SpanKind::Client => (0, len, None),
                };
                Verdict::Turn(Box::new(Turn { next: None, received, sent, client, system: None }))
            }
        }
    }

    fn end_of_stream(&mut self, _at_ns: u64, _assembler: &mut Assembler, _out: &mut Vec<Span>) {}

    fn fail(
        &mut self,
        _at_ns: u64,
        _failure: (Direction, i32),
        _assembler: &mut Assembler,
        _out: &mut Vec<Span>,
    ) {
    }

    fn state(
        &mut self,
        _at_ns: u64,
        _state: (TcpState, i32),
        _assembler: &mut Assembler,
        _out: &mut Vec<Span>,
    ) {
    }

    fn abandon(&mut self, _end: End, _assembler: &mut Assembler, _out: &mut Vec<Span>) {}

    fn kind(&self) -> SpanKind {
        self.place.kind
    }

    fn open_exchanges(&self) -> usize {
        0
    }
}
