//! Connects that come to nothing. Invariant: a failure is reported only if it is the last word: one that is
//! followed at once by another address of the same service (`localhost` is `::1` and `127.0.0.1`; RFC 8305)
//! is superseded.
//!
//! A connect that the process itself gives up before an answer (error 0) is a connect timeout: that is how a
//! timeout of a client library looks from outside.

use std::collections::VecDeque;

use model::{Address, ConnectionId, Fault, Origin, SocketState, Span, SpanKind, TcpState};
use rustc_hash::FxHashMap;

use crate::assemble::Assembler;
use crate::lineage::Call;
use crate::place::{Place, Thread};

/// How long a failure waits for a second attempt.
const HOLD_NS: u64 = 50_000_000;
/// Most connects under way, and most failures held back.
const MAX_PENDING: usize = 65536;
const MAX_HELD: usize = 1024;

/// The name of their spans.
const NAME: &str = "connect";

/// Linux error numbers (`include/uapi/asm-generic/errno.h`).
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;

/// The connects under way and those that have just failed.
#[derive(Debug, Default)]
pub(crate) struct Connects {
    pending: FxHashMap<ConnectionId, Pending>,
    held: VecDeque<Held>,
}

#[derive(Debug)]
struct Pending {
    thread: Thread,
    span: Span,
    /// It waits to know its parent.
    waits: Option<Call>,
    /// Another address of the same service has answered meanwhile.
    superseded: bool,
}

#[derive(Debug)]
struct Held {
    until_ns: u64,
    thread: Thread,
    span: Span,
    /// It waits to know its parent.
    waits: Option<Call>,
}

impl Connects {
    /// The socket has gone into another state.
    pub(crate) fn state(
        &mut self,
        (at_ns, thread): (u64, Thread),
        state: &SocketState,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        match (state.old, state.new) {
            (TcpState::Close, TcpState::SynSent) if thread.tid != 0 => {
                self.supersede_held(thread, &state.peer, assembler);
                if self.pending.len() < MAX_PENDING {
                    let place = Place {
                        kind: SpanKind::Client,
                        local: state.local.clone(),
                        peer: state.peer.clone(),
                        netns: state.netns,
                        origin: Origin::Start,
                        client: None,
                        system: None,
                    };
                    let (span, waits) = assembler.open_connect(&place, thread, at_ns);
                    let pending = Pending { thread, span, waits, superseded: false };
                    self.pending.insert(state.connection, pending);
                }
            }
            (TcpState::SynSent, TcpState::Close) => {
                if let Some(pending) = self.pending.remove(&state.connection) {
                    self.fail(at_ns, state.errno, pending, assembler, out);
                }
            }
            _ => self.answered(state.connection, assembler),
        }
    }

    /// A connection has come about: its connect, if it was seen, has succeeded. (The kernel tells only of
    /// failures at once; a success shows when bytes pass or the connection is closed.)
    pub(crate) fn answered(&mut self, connection: ConnectionId, assembler: &mut Assembler) {
        let Some(won) = self.pending.remove(&connection) else { return };
        assembler.drop_call(won.thread.pid, won.waits);
        self.supersede_held(won.thread, &won.span.peer, assembler);
        for other in self.pending.values_mut() {
            other.superseded |= is_rival(other.thread, &other.span.peer, won.thread, &won.span.peer);
        }
    }

    fn fail(
        &mut self,
        at_ns: u64,
        errno: i32,
        pending: Pending,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        let Pending { thread, mut span, waits, superseded } = pending;
        if superseded {
            assembler.drop_call(thread.pid, waits);
            assembler.counts.superseded_connects += 1;
            return;
        }
        span.duration_ns = at_ns.saturating_sub(span.start_ns);
        assembler.count_connect(&span, waits);
        span.fault = Some(match errno {
            0 | ETIMEDOUT => Fault::ConnectTimedOut,
            ECONNREFUSED => Fault::ConnectionRefused,
            errno => Fault::ConnectFailed(errno),
        });
        if self.held.len() >= MAX_HELD
            && let Some(oldest) = self.held.pop_front()
        {
            assembler.finish_connect((oldest.span, oldest.waits), NAME, out);
        }
        self.held.push_back(Held { until_ns: at_ns.saturating_add(HOLD_NS), thread, span, waits });
    }

    /// A second address is tried: failures of others of the same service by the same thread do not count.
    fn supersede_held(&mut self, thread: Thread, peer: &Address, assembler: &mut Assembler) {
        let before = self.held.len();
        self.held.retain(|held| {
            let is_superseded = is_rival(held.thread, &held.span.peer, thread, peer);
            if is_superseded {
                assembler.drop_call(held.thread.pid, held.waits);
            }
            !is_superseded
        });
        assembler.counts.superseded_connects += (before - self.held.len()) as u64;
    }

    /// Whether failures wait.
    pub(crate) fn hold_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives out the failures that have waited long enough.
    pub(crate) fn release(&mut self, now_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        while let Some(held) = self.held.pop_front_if(|held| held.until_ns <= now_ns) {
            assembler.finish_connect((held.span, held.waits), NAME, out);
        }
    }

    /// Gives out all failures at once.
    pub(crate) fn drain(&mut self, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.release(u64::MAX, assembler, out);
        self.pending.clear();
    }

    /// The process is gone: what it was connecting to matters no more.
    pub(crate) fn exit(&mut self, pid: u32) {
        self.pending.retain(|_, pending| pending.thread.pid != pid);
    }

    /// Forgets connects of which nothing was heard for too long.
    pub(crate) fn age(&mut self, now_ns: u64, idle_ns: u64) {
        self.pending.retain(|_, pending| now_ns.saturating_sub(pending.span.start_ns) < idle_ns);
    }
}

/// The same thread, the same port, another address.
fn is_rival(thread: Thread, peer: &Address, other_thread: Thread, other_peer: &Address) -> bool {
    thread == other_thread && peer.port() == other_peer.port() && peer.ip() != other_peer.ip()
}
