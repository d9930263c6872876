//! Requests of which both ends are seen: one watched process sends what another receives.
//!
//! Invariants: two ends are of one request only if connection, network namespace, method, target and the place in the
//! connection's bytes agree; what is remembered is bounded in number and time.
//!
//! Places are counted from the connection's first byte where both ends were seen from there. Where the probe came
//! later, each end counts from where it was first seen. The difference is learned from a request that can be no other:
//! the only one that is open at the client, after another was answered there in full.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use model::{Address, Origin, Protocol, SpanId, SpanKind, TraceId};
use rustc_hash::{FxHashMap, FxHasher};

use crate::place::Place;

/// Most connections, and most requests on all of them.
const MAX_WIRES: usize = 65_536;
const MAX_REQUESTS: usize = 65_536;
/// Most requests of one connection that their client has given up.
const MAX_GIVEN_UP: usize = 4;
/// How long a request is remembered that its client has given up, and how long what was learned of a connection.
const KEEP_NS: u64 = 60_000_000_000;
const KEEP_WIRE_NS: u64 = 3_600_000_000_000;
/// The call that sends returns to the kernel's hook after the bytes are on their way: the receiver may be told of first.
const SKEW_NS: u64 = 5_000_000;

/// A connection, whichever of its ends is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wire {
    netns: u32,
    client: SocketAddr,
    server: SocketAddr,
}

/// One end of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) wire: Wire,
    /// Method and target.
    content: u64,
    position: u64,
    origin: Origin,
    /// Responses come in the order of the requests.
    is_ordered: bool,
    start_ns: u64,
}

/// The client's span of a request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) span_id: SpanId,
    pub(crate) trace_id: TraceId,
    pub(crate) head_sampled: bool,
    /// It waits to know the request that it belongs to, and with it its trace.
    pub(crate) waits: bool,
}

/// The server's span of a request.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) span_id: SpanId,
    pub(crate) trace_id: TraceId,
}

/// Every connection between watched processes, as far as it is not known to be none.
#[derive(Debug, Default)]
pub(crate) struct Crossings {
    wires: FxHashMap<Wire, Ends>,
    requests: usize,
    swept_ns: u64,
}

#[derive(Debug, Default)]
struct Ends {
    /// Sent and not yet seen to be received.
    sent: VecDeque<Sent>,
    /// Received and not yet seen to be sent.
    received: VecDeque<(Mark, Receipt)>,
    /// The server's count of bytes less the client's.
    shift: Option<u64>,
    /// A request has been answered in full, as the client saw it.
    answered: bool,
    last_ns: u64,
}

#[derive(Debug)]
struct Sent {
    mark: Mark,
    call: Call,
    given_up: bool,
}

impl Mark {
    /// A request begins. `None`: its other end cannot be known.
    pub(crate) fn of(
        place: &Place,
        protocol: Protocol,
        (start_ns, position): (u64, u64),
        (method, target): (&str, &str),
    ) -> Option<Self> {
        let (Address::Ip(local), Address::Ip(peer)) = (&place.local, &place.peer) else { return None };
        let (client, server) = match place.kind {
            SpanKind::Client => (*local, *peer),
            SpanKind::Server => (*peer, *local),
        };
        let mut content = FxHasher::default();
        (method, target).hash(&mut content);
        Some(Self {
            wire: Wire { netns: place.netns, client, server },
            content: content.finish(),
            position,
            origin: place.origin,
            is_ordered: protocol == Protocol::Http1,
            start_ns,
        })
    }
}

impl Crossings {
    /// A client has begun a request. Gives the server's span, if that is there already.
    pub(crate) fn send(&mut self, mark: Mark, call: Call) -> Option<Receipt> {
        let has_room = self.requests < MAX_REQUESTS;
        let ends = self.ends(mark)?;
        let agrees =
            |(received, _): &(Mark, Receipt)| agree(&mark, received, ends.shift) == Agreement::Certain;
        if let Some(index) = ends.received.iter().position(agrees) {
            let found = ends.received.remove(index);
            self.requests -= 1;
            return found.map(|(_, receipt)| receipt);
        }
        if has_room {
            ends.sent.push_back(Sent { mark, call, given_up: false });
            self.requests += 1;
        }
        None
    }

    /// A server has begun a request without a context of its own. Gives the client's span, if that is known.
    pub(crate) fn receive(&mut self, mark: Mark, receipt: Receipt) -> Option<Call> {
        let has_room = self.requests < MAX_REQUESTS;
        let ends = self.ends(mark)?;
        let agreement = |sent: &Sent| agree(&sent.mark, &mark, ends.shift);
        let certain = ends.sent.iter().position(|sent| agreement(sent) == Agreement::Certain);
        let found = certain.or_else(|| {
            let mut open = ends.sent.iter().enumerate().filter(|(_, sent)| !sent.given_up);
            match (open.next(), open.next()) {
                (Some((index, only)), None) if ends.answered && agreement(only) == Agreement::Possible => {
                    Some(index)
                }
                _ => None,
            }
        });
        if let Some(sent) = found.and_then(|index| ends.sent.remove(index)) {
            ends.shift = Some(mark.position.wrapping_sub(sent.mark.position));
            self.requests -= 1;
            return Some(sent.call);
        }
        if has_room {
            ends.received.push_back((mark, receipt));
            self.requests += 1;
        }
        None
    }

    /// A request is over, as its client saw it. What the client has given up, the server may still read.
    pub(crate) fn sent_is_over(&mut self, wire: Wire, span_id: SpanId, is_answered: bool, is_final: bool) {
        let Some(ends) = self.wires.get_mut(&wire) else { return };
        ends.answered |= is_answered;
        let before = ends.sent.len();
        if is_answered || !is_final {
            ends.sent.retain(|sent| sent.call.span_id != span_id);
        } else if let Some(sent) = ends.sent.iter_mut().find(|sent| sent.call.span_id == span_id) {
            sent.given_up = true;
            if ends.sent.iter().filter(|sent| sent.given_up).count() > MAX_GIVEN_UP
                && let Some(oldest) = ends.sent.iter().position(|sent| sent.given_up)
            {
                ends.sent.remove(oldest);
            }
        }
        self.requests -= before - ends.sent.len();
        self.forget_if_empty(wire);
    }

    /// A request is over, as its server saw it.
    pub(crate) fn received_is_over(&mut self, wire: Wire, span_id: SpanId) {
        let Some(ends) = self.wires.get_mut(&wire) else { return };
        let before = ends.received.len();
        ends.received.retain(|(_, receipt)| receipt.span_id != span_id);
        self.requests -= before - ends.received.len();
        self.forget_if_empty(wire);
    }

    /// A client's span is in another trace than it was.
    pub(crate) fn retrace(&mut self, wire: Wire, span_id: SpanId, trace_id: &TraceId) {
        let sent = self.wires.get_mut(&wire).map(|ends| &mut ends.sent);
        if let Some(sent) = sent.and_then(|sent| sent.iter_mut().find(|sent| sent.call.span_id == span_id)) {
            sent.call.trace_id = trace_id.clone();
            sent.call.waits = false;
        }
    }

    /// Forgets what is old.
    pub(crate) fn age(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.swept_ns) < KEEP_NS / 4 {
            return;
        }
        self.swept_ns = now_ns;
        self.wires.retain(|_, ends| {
            let before = ends.sent.len();
            ends.sent.retain(|sent| !sent.given_up || now_ns.saturating_sub(sent.mark.start_ns) < KEEP_NS);
            self.requests -= before - ends.sent.len();
            let is_empty = ends.sent.is_empty() && ends.received.is_empty();
            !is_empty || now_ns.saturating_sub(ends.last_ns) < KEEP_WIRE_NS
        });
        self.wires.shrink_to(2 * self.wires.len());
    }

    /// The connection, made known if there is room.
    fn ends(&mut self, mark: Mark) -> Option<&mut Ends> {
        if self.wires.len() >= MAX_WIRES && !self.wires.contains_key(&mark.wire) {
            return None;
        }
        let ends = self.wires.entry(mark.wire).or_default();
        ends.last_ns = mark.start_ns;
        Some(ends)
    }

    /// What was learned of a connection is kept while the probe does not know its beginning.
    fn forget_if_empty(&mut self, wire: Wire) {
        let is_over =
            |ends: &Ends| ends.sent.is_empty() && ends.received.is_empty() && ends.shift.unwrap_or(0) == 0;
        if self.wires.get(&wire).is_some_and(|ends| is_over(ends) && !ends.answered) {
            self.wires.remove(&wire);
        }
    }
}

/// Whether two ends are of the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agreement {
    None,
    /// If it can be no other.
    Possible,
    Certain,
}

fn agree(sent: &Mark, received: &Mark, shift: Option<u64>) -> Agreement {
    if sent.content != received.content || sent.start_ns > received.start_ns.saturating_add(SKEW_NS) {
        return Agreement::None;
    }
    let apart = received.position.wrapping_sub(sent.position);
    let known =
        if (sent.origin, received.origin) == (Origin::Start, Origin::Start) { Some(0) } else { shift };
    match known {
        Some(shift) if shift == apart => Agreement::Certain,
        None if sent.is_ordered => Agreement::Possible,
        Some(_) | None => Agreement::None,
    }
}
