//! Requests that a front server hands on in another protocol. Invariant: what it says of its client is believed only if
//! it is trusted.

use model::{Address, Protocol, SpanKind};
use protocol::gateway::Request;

use crate::assemble::Assembler;
use crate::exchange::Exchange;
use crate::place::{Place, Thread};

impl Assembler {
    /// As [`open`](Self::open), for a request that may have been handed on: who asks, and by which scheme, is what a
    /// trusted front server says.
    pub(crate) fn open_handed_on(
        &mut self,
        (protocol, place): (Protocol, &Place),
        thread: Thread,
        request: &Request,
        number: u64,
        at: (u64, u64),
    ) -> Exchange {
        if place.kind == SpanKind::Client || !self.policy.trusted.trusts(&place.peer) {
            return self.open((protocol, place), thread, &request.head, number, at);
        }
        let mut exchange = match request.client.map(Address::Ip) {
            None => self.open((protocol, place), thread, &request.head, number, at),
            client => {
                self.open((protocol, &Place { client, ..place.clone() }), thread, &request.head, number, at)
            }
        };
        if let Some(scheme) = request.scheme {
            exchange.span.scheme = scheme;
        }
        exchange
    }
}
