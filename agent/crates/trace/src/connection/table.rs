//! The connections that are followed. Invariant: never more than the limit; the one heard of longest ago
//! goes first; before it what was let go, after it what has an open exchange.

use std::collections::VecDeque;

use model::{ConnectionId, Span};
use rustc_hash::FxHashMap;

use super::Connection;
use crate::assemble::Assembler;

/// How long it is remembered that a connection was let go, so that what is still on its way here is not
/// taken for a new one.
const LET_GO_NS: u64 = 60_000_000_000;

/// Room that is kept when the table shrinks.
const MIN_CAPACITY: usize = 1024;

/// Closed encrypted connections that are remembered.
const MAX_CLOSED: usize = 256;

/// Connections by their identity, which the kernel side counts up: nobody outside chooses it.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) map: FxHashMap<ConnectionId, Connection>,
    /// Encrypted ones that were closed last. A process that answers a peer which has just reset the connection is told
    /// of behind the close: that is no new connection, and its clear text, if any, is told by itself.
    closed: VecDeque<ConnectionId>,
}

impl Connections {
    /// A connection is closed for good.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.map.remove(&id) else { return };
        if connection.is_encrypted() {
            if self.closed.len() == MAX_CLOSED {
                self.closed.pop_front();
            }
            self.closed.push_back(id);
        }
    }

    /// Whether what is told of a connection comes behind its close.
    pub(crate) fn is_closed(&self, id: ConnectionId) -> bool {
        self.closed.contains(&id)
    }

    /// Makes room for one more. A sixteenth of all goes at once, so that the search for the oldest is rare.
    pub(crate) fn make_room(&mut self, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let most = assembler.policy.max_connections;
        if self.map.len() < most {
            return;
        }
        let mut ages: Vec<(bool, bool, u64, ConnectionId)> = self
            .map
            .iter()
            .map(|(id, connection)| {
                (connection.open_exchanges() > 0, !connection.is_let_go(), connection.last_ns, *id)
            })
            .collect();
        ages.sort_unstable();
        for (_, followed, _, id) in ages.into_iter().take((most / 16).max(1)) {
            assembler.counts.evicted_connections += u64::from(followed);
            self.forget(id, assembler, out);
        }
    }

    /// Forgets what nothing was heard of for too long, and gives back the room that is not needed.
    pub(crate) fn age(&mut self, now_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let idle_ns = assembler.policy.idle_timeout_ns;
        let is_old = |connection: &Connection| {
            let limit = if connection.is_let_go() { LET_GO_NS.min(idle_ns) } else { idle_ns };
            now_ns.saturating_sub(connection.last_ns) >= limit
        };
        let mut old: Vec<ConnectionId> =
            self.map.iter().filter(|(_, connection)| is_old(connection)).map(|(id, _)| *id).collect();
        old.sort_unstable();
        for id in old {
            let let_go = self.map.get(&id).is_some_and(Connection::is_let_go);
            assembler.counts.aged_connections += u64::from(!let_go);
            self.forget(id, assembler, out);
        }
        // After a rush the memory goes back.
        if self.map.capacity() > MIN_CAPACITY.max(4 * self.map.len()) {
            self.map.shrink_to(MIN_CAPACITY.max(2 * self.map.len()));
        }
    }

    /// The connections with open exchanges for which `wanted` holds, in a fixed order.
    pub(crate) fn open(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<ConnectionId> {
        let mut ids: Vec<ConnectionId> = self
            .map
            .iter()
            .filter(|(_, connection)| connection.open_exchanges() > 0 && wanted(connection))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    fn forget(&mut self, id: ConnectionId, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let Some(mut connection) = self.map.remove(&id) else { return };
        connection.count_unbound(&mut assembler.counts);
        let before = out.len();
        if let Some(conversation) = connection.conversation() {
            conversation.abandon(model::End::ProbeLost, assembler, out);
        }
        connection.describe(&mut out[before..]);
    }
}

#[cfg(test)]
mod tests {
    use model::{Address, Direction, Identity, Origin, Outcome, SocketCall, Syscall};

    use super::*;
    use crate::place::Thread;
    use crate::settings::{Policy, Settings};

    #[test]
    fn memory_goes_back_after_a_rush() {
        let policy = Policy::new(&Settings::default()).unwrap();
        let (mut assembler, mut out) = (Assembler::new(policy, 1), Vec::new());
        let mut connections = Connections::default();
        let call = SocketCall {
            connection: ConnectionId(0),
            inode: 1,
            fd: None,
            direction: Direction::Received,
            origin: Origin::Start,
            local: Address::Unknown,
            peer: Address::Unknown,
            netns: 1,
            syscall: Syscall::Read,
            position: 0,
            outcome: Outcome::EndOfStream,
            identity: Identity::Thread,
            timing: model::Timing::default(),
            kernel_tls: false,
            asks_frame: false,
        };
        for id in 0..50_000 {
            connections.map.insert(
                ConnectionId(id),
                Connection::new(
                    &call,
                    Thread {
                        pid: 1,
                        tid: 1,
                        identity: model::Identity::Thread,
                        timing: model::Timing::default(),
                    },
                ),
            );
        }
        connections.map.retain(|id, _| id.0 < 10);
        connections.age(1, &mut assembler, &mut out);
        assert_eq!(connections.map.len(), 10);
        assert!(connections.map.capacity() < 2 * MIN_CAPACITY, "{}", connections.map.capacity());
        connections.age(u64::MAX, &mut assembler, &mut out);
        assert_eq!((connections.map.len(), assembler.counts.aged_connections), (0, 10));
    }
}
