//! What follows an HTTP/1 exchange that agreed to go on in another protocol (101; RFC 9110 section 7.8).
//! Invariant: the exchange is finished here, or handed on with the connection.

use model::{End, Span};
use protocol::http1::ResponseHead;

use super::Multiplex;
use super::conversation::{Conversation, Turn, Verdict};
use super::websocket::Session;
use crate::assemble::Assembler;
use crate::exchange::Exchange;
use crate::place::Place;

/// The exchange, and where what follows begins.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) place: Place,
    /// Not finished yet.
    pub(super) exchange: Exchange,
    /// When the last byte of the 101 passed.
    pub(super) end_ns: u64,
    /// The head of the 101, seen whole.
    pub(super) head: ResponseHead,
    /// Where the next protocol begins in what the process reads, and in what it writes.
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// Finishes the exchange or hands it on, by the protocol that the 101 names.
pub(super) fn follow(handshake: Handshake, assembler: &mut Assembler, out: &mut Vec<Span>) -> Verdict {
    let Handshake { place, exchange, end_ns, head, received, sent } = handshake;
    let named =
        |protocol: &str| head.headers.all("upgrade").any(|value| value.eq_ignore_ascii_case(protocol));
    // The answer to the request comes in HTTP/2, on its first stream (RFC 7540 section 3.2).
    if named("h2c") {
        let next = Some(Box::new(Multiplex::upgraded(place, exchange)) as Box<dyn Conversation>);
        return Verdict::Turn(Box::new(Turn { next, received, sent, client: None, system: None }));
    }
    let next: Option<Box<dyn Conversation>> =
        if named("websocket") { Some(Box::new(Session::new(place, &exchange, &head, end_ns))) } else { None };
    assembler.finish(exchange, End::Upgraded, end_ns, out);
    match next {
        Some(next) => {
            Verdict::Turn(Box::new(Turn { next: Some(next), received, sent, client: None, system: None }))
        }
        None => Verdict::Upgraded,
    }
}
