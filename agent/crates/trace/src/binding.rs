//! Which connection a TLS library's object belongs to.
//!
//! Invariant: a connection and an object are joined at most to each other, and only by calls of one thread that
//! leave no other choice; what is unsure stays apart and is counted.
//!
//! Two signs are read. A socket call inside a call of the library is certain: the library made it (blocking
//! sockets, OpenSSL's own). So is one before the end of a call whose beginning was not seen, if it is known that the
//! library sends by itself and nothing else can be what it sent. Where the process moves the encrypted bytes itself (memory BIOs: asyncio, uvloop), the
//! thread receives on the connection, then calls the library, which gives clear text; or it calls the library, then
//! sends. One such step is a hint, two that agree are taken as proof, and a step in which two connections or two
//! objects could be meant is none, nor is one whose encrypted bytes are not of the size that the clear text makes. Reads
//! that find nothing are not told of: what was received for them may seem to be another object's. So one of the two
//! steps must be one that sent.

mod sizes;

use std::collections::VecDeque;

use model::{ConnectionId, Direction, Exceptions, TlsCallKind, TlsSessionId};
use rustc_hash::FxHashMap;

use crate::place::Thread;
use sizes::Encrypted;
pub(crate) use sizes::Passed;

/// Most objects, and most threads, that are remembered.
const MAX_SESSIONS: usize = 65536;
const MAX_THREADS: usize = 16384;
/// Socket calls of a thread that are remembered; one call of the library makes few.
const MAX_RECENT: usize = 16;
/// Most clear text of an object kept until its connection is known.
const MAX_HELD_BYTES: usize = 64 * 1024;
/// Hints that agree and are taken as proof, if one of them is by what was sent.
const PROOF: u8 = 2;

/// Clear text that waits for its connection.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) at_ns: u64,
    pub(crate) thread: Thread,
    pub(crate) direction: Direction,
    pub(crate) position: u64,
    pub(crate) len: u64,
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

/// An object of the library.
#[derive(Debug, Default)]
struct Session {
    pid: u32,
    last_ns: u64,
    connection: Option<ConnectionId>,
    hint: Option<Hint>,
    /// Its handshake was seen to begin, before any clear text.
    from_start: bool,
    held: Vec<Held>,
    held_bytes: usize,
    /// What was raised where an answer is to come from that will be held.
    raised: Option<Box<Exceptions>>,
    /// The protocol that its handshake has agreed on.
    agreed: Option<Box<str>>,
}

/// Steps of a thread that point to one connection.
#[derive(Debug, Clone, Copy)]
struct Hint {
    connection: ConnectionId,
    count: u8,
    /// One of them sent.
    has_sent: bool,
}

/// What a thread did last.
#[derive(Debug, Default)]
struct Recent {
    last_ns: u64,
    /// When the library was last called.
    library_ns: u64,
    /// Its socket calls on encrypted connections, and how much each sent.
    calls: VecDeque<(u64, ConnectionId, Passed)>,
    /// Connections received from since the library was last asked to read, and how many bytes.
    received: Vec<(ConnectionId, Passed)>,
    /// Objects that have something to send since the thread last sent, and how much.
    wrote: Vec<(TlsSessionId, Encrypted)>,
}

/// A join that has just been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) session: TlsSessionId,
    pub(crate) connection: ConnectionId,
}

/// The objects, and what joins them to connections.
#[derive(Debug, Default)]
pub(crate) struct Binding {
    sessions: FxHashMap<TlsSessionId, Session>,
    by_connection: FxHashMap<ConnectionId, TlsSessionId>,
    threads: FxHashMap<Thread, Recent>,
    /// Hints that contradicted each other, or the sizes of what passed.
    pub(crate) contradictions: u64,
    /// Clear text that was given up because its connection did not become known.
    pub(crate) unbound_bytes: u64,
}

impl Binding {
    /// Encrypted bytes have passed.
    pub(crate) fn socket_call(
        &mut self,
        (at_ns, thread): (u64, Thread),
        connection: ConnectionId,
        (direction, passed): (Direction, Passed),
    ) -> Option<Joined> {
        let taken = self.by_connection.contains_key(&connection);
        let recent = self.recent(thread, at_ns);
        if recent.calls.len() == MAX_RECENT {
            recent.calls.pop_front();
        }
        let sent = if direction == Direction::Sent { passed } else { Passed::NONE };
        recent.calls.push_back((at_ns, connection, sent));
        if taken {
            return None;
        }
        if direction == Direction::Received {
            let known = recent.received.iter_mut().find(|(known, _)| *known == connection);
            if let Some((_, received)) = known {
                *received = received.and(passed);
            } else if recent.received.len() < MAX_RECENT {
                recent.received.push((connection, passed));
            }
            return None;
        }
        match std::mem::take(&mut recent.wrote).as_slice() {
            [(session, encrypted)] => {
                self.hint(*session, (connection, Direction::Sent), encrypted.is_made_of(passed))
            }
            _ => None,
        }
    }

    /// The library was called, and `moved` so many bytes of clear text.
    pub(crate) fn library_call(
        &mut self,
        (at_ns, thread): (u64, Thread),
        session: TlsSessionId,
        kind: TlsCallKind,
        (entered_ns, moved): (Option<u64>, u64),
    ) -> Option<Joined> {
        if kind == TlsCallKind::Free {
            self.forget(session);
            return None;
        }
        let own = self.known(session, (at_ns, thread), kind).connection;
        let recent = self.recent(thread, at_ns);
        let since_ns = match (entered_ns, kind) {
            (Some(entered_ns), _) => entered_ns,
            // The library has sent what it was given, since it was last called; other threads' calls are theirs.
            (None, TlsCallKind::Write) if moved > 0 => recent.library_ns,
            (None, _) => u64::MAX,
        };
        recent.library_ns = at_ns;
        // What was received meanwhile may have been for reads that found nothing.
        let counts = |sent: Passed| entered_ns.is_some() || sent.bytes > 0;
        let inside = || recent.calls.iter().filter(|(at, _, sent)| *at >= since_ns && counts(*sent));
        let first = inside().next().map(|(_, connection, _)| *connection);
        let only = first.filter(|first| inside().all(|(_, other, _)| other == first));
        let sent = inside().fold(Passed::NONE, |sum, (.., sent)| sum.and(*sent));
        let only = only.filter(|_| entered_ns.is_some() || Encrypted::of(moved).is_made_of(sent));
        let received = match kind {
            TlsCallKind::Write => None,
            // What another connection received stays for the object that is joined to it.
            _ if own.is_some() => {
                recent.received.retain(|(connection, _)| Some(*connection) != own);
                None
            }
            _ => Some(std::mem::take(&mut recent.received)),
        };
        if own.is_some() {
            return None;
        }
        let writes = match kind {
            TlsCallKind::Handshake => Some(Encrypted::UNKNOWN),
            TlsCallKind::Write if moved > 0 => Some(Encrypted::of(moved)),
            _ => None,
        };
        let sends_later = first.is_none() && entered_ns.is_some();
        if let Some(more) = writes.filter(|_| sends_later) {
            let known = recent.wrote.iter_mut().find(|(known, _)| *known == session);
            if let Some((_, encrypted)) = known {
                *encrypted = encrypted.and(more);
            } else if recent.wrote.len() < MAX_RECENT {
                recent.wrote.push((session, more));
            }
        }
        if let Some(connection) = only {
            return self.join(session, connection);
        }
        // Several inside one call: not the library's doing.
        if first.is_some() {
            return None;
        }
        let mut open = received?;
        open.retain(|(connection, _)| !self.by_connection.contains_key(connection));
        match open.as_slice() {
            [(connection, passed)] => {
                let fits = Encrypted::of(moved).fits_into(*passed);
                self.hint(session, (*connection, Direction::Received), fits)
            }
            _ => None,
        }
    }

    /// The connection of an object, once known.
    pub(crate) fn connection_of(&self, session: TlsSessionId) -> Option<ConnectionId> {
        self.sessions.get(&session)?.connection
    }

    /// Whether the object's clear text is seen from its first byte.
    pub(crate) fn is_from_start(&self, session: TlsSessionId) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.from_start)
    }

    /// Keeps clear text until its connection is known. Too much of it is given up, all at once, so that none is
    /// taken for what it is not.
    pub(crate) fn hold(&mut self, session: TlsSessionId, held: Held) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.held_bytes += size_of::<Held>() + held.head.len() + held.tail.len();
        known.held.push(held);
        if known.held_bytes > MAX_HELD_BYTES {
            known.held_bytes = 0;
            known.from_start = false;
            self.unbound_bytes += known.held.drain(..).map(|held| held.len).sum::<u64>();
        }
    }

    /// Keeps what was raised until the object's connection is known: the last of it.
    pub(crate) fn hold_raised(&mut self, session: TlsSessionId, raised: Exceptions) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.raised = Some(Box::new(raised));
        }
    }

    /// What was kept of what was raised.
    pub(crate) fn take_raised(&mut self, session: TlsSessionId) -> Option<Box<Exceptions>> {
        self.sessions.get_mut(&session)?.raised.take()
    }

    /// Keeps which protocol the handshake has agreed on until the object's connection is known.
    pub(crate) fn hold_agreed(&mut self, session: TlsSessionId, at: (u64, Thread), protocol: &str) {
        self.known(session, at, TlsCallKind::Agreed).agreed = Some(protocol.into());
    }

    /// Which protocol was kept.
    pub(crate) fn take_agreed(&mut self, session: TlsSessionId) -> Option<Box<str>> {
        self.sessions.get_mut(&session)?.agreed.take()
    }

    /// What was kept.
    pub(crate) fn take_held(&mut self, session: TlsSessionId) -> Vec<Held> {
        let Some(known) = self.sessions.get_mut(&session) else { return Vec::new() };
        known.held_bytes = 0;
        std::mem::take(&mut known.held)
    }

    /// The connection is gone. Its number is not used again.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        if let Some(session) = self.by_connection.remove(&connection) {
            self.forget(session);
        }
    }

    /// The process is gone.
    pub(crate) fn exit(&mut self, pid: u32) {
        self.threads.retain(|thread, _| thread.pid != pid);
        self.forget_all(|session| session.pid == pid);
    }

    /// Forgets what was not heard of for so long.
    pub(crate) fn age(&mut self, now_ns: u64, idle_ns: u64) {
        self.threads.retain(|_, recent| now_ns.saturating_sub(recent.last_ns) < idle_ns);
        self.forget_all(|session| now_ns.saturating_sub(session.last_ns) >= idle_ns);
    }

    /// The object of which a thread has made such a call.
    fn known(
        &mut self,
        session: TlsSessionId,
        (at_ns, thread): (u64, Thread),
        kind: TlsCallKind,
    ) -> &mut Session {
        self.make_room();
        let known = self.sessions.entry(session).or_insert_with(|| Session {
            pid: thread.pid,
            from_start: kind == TlsCallKind::Handshake,
            ..Session::default()
        });
        known.last_ns = at_ns;
        known
    }

    fn hint(
        &mut self,
        session: TlsSessionId,
        (connection, direction): (ConnectionId, Direction),
        fits: bool,
    ) -> Option<Joined> {
        let known = self.sessions.get_mut(&session)?;
        if known.connection.is_some() {
            return None;
        }
        if !fits {
            self.contradictions += 1;
            return None;
        }
        let before = known.hint.filter(|hint| hint.connection == connection);
        self.contradictions += u64::from(known.hint.is_some() && before.is_none());
        let mut hint = before.unwrap_or(Hint { connection, count: 0, has_sent: false });
        hint.count = hint.count.saturating_add(1);
        hint.has_sent |= direction == Direction::Sent;
        known.hint = Some(hint);
        if hint.count < PROOF || !hint.has_sent {
            return None;
        }
        self.join(session, connection)
    }

    fn join(&mut self, session: TlsSessionId, connection: ConnectionId) -> Option<Joined> {
        if self.by_connection.get(&connection).is_some_and(|other| *other != session) {
            // The connection's object has been given up unseen, or one of the signs is wrong: nobody knows.
            self.contradictions += 1;
            return None;
        }
        self.sessions.get_mut(&session)?.connection = Some(connection);
        self.by_connection.insert(connection, session);
        Some(Joined { session, connection })
    }

    fn recent(&mut self, thread: Thread, at_ns: u64) -> &mut Recent {
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&thread) {
            // Threads that matter show up again with their next call.
            self.threads.clear();
        }
        let recent = self.threads.entry(thread).or_default();
        recent.last_ns = at_ns;
        recent
    }

    fn make_room(&mut self) {
        if self.sessions.len() >= MAX_SESSIONS {
            let mut ages: Vec<u64> = self.sessions.values().map(|session| session.last_ns).collect();
            let (_, middle, _) = ages.select_nth_unstable(MAX_SESSIONS / 2);
            let middle = *middle;
            self.forget_all(|session| session.last_ns <= middle);
        }
    }

    fn forget_all(&mut self, wanted: impl Fn(&Session) -> bool) {
        let gone: Vec<_> =
            self.sessions.iter().filter(|(_, session)| wanted(session)).map(|(id, _)| *id).collect();
        for session in gone {
            self.forget(session);
        }
    }

    fn forget(&mut self, session: TlsSessionId) {
        let Some(known) = self.sessions.remove(&session) else { return };
        self.unbound_bytes += known.held.iter().map(|held| held.len).sum::<u64>();
        if let Some(connection) = known.connection {
            self.by_connection.remove(&connection);
        }
    }
}

#[cfg(test)]
mod tests;
