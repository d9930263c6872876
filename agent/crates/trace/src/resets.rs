//! Connections that have just been reset. Invariant: the call that was under way then is heard before the reset is.
//!
//! The answer to a write may come while the write still runs: always so on one host, where the peer's side of the
//! connection runs within it. So the socket is closed before the call returns, whose bytes have passed nevertheless. And
//! what had come before the reset can still be read: the answer of a server that hung up before it had read everything.

use std::collections::VecDeque;

use model::{ConnectionId, SocketState, TcpState};

use crate::connection::{ECONNRESET, EPIPE};

/// How long a call may take to return after its socket was reset, or to read what had come before.
pub(crate) const HOLD_NS: u64 = 5_000_000;
/// Most resets held back.
const MAX_HELD: usize = 1024;

/// Resets that wait for the call under way.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    /// When each came.
    held: VecDeque<(u64, SocketState)>,
}

impl Resets {
    /// Holds a state back, if it is a reset and there is room.
    pub(crate) fn hold(&mut self, at_ns: u64, state: &SocketState) -> bool {
        let is_reset = state.new == TcpState::Close && matches!(state.errno, ECONNRESET | EPIPE);
        let holds = is_reset && self.held.len() < MAX_HELD;
        if holds {
            self.held.push_back((at_ns, state.clone()));
        }
        holds
    }

    /// Whether any wait.
    pub(crate) fn hold_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// The next that has waited long enough.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<(u64, SocketState)> {
        let is_due = |(at_ns, _): &(u64, SocketState)| now_ns.saturating_sub(*at_ns) >= HOLD_NS;
        if self.held.front().is_some_and(is_due) { self.held.pop_front() } else { None }
    }

    /// The one of this connection, whose call has returned.
    pub(crate) fn of(&mut self, connection: ConnectionId) -> Option<(u64, SocketState)> {
        let at = self.held.iter().position(|(_, state)| state.connection == connection)?;
        self.held.remove(at)
    }
}
