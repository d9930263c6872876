//! Encrypted connections: their clear text is brought to them, and told from their encrypted bytes.

use model::{Bearer, End, Exceptions, Fault, Outcome, Span, SpanKind, TcpState, TlsCallKind};

use super::{
    ConnectionId, Direction, Held, Joined, Passage, SocketCall, Thread, TlsCall, TlsSessionId, Tracer,
};
use crate::binding::Passed;
use crate::connection::{Connection, Encrypted, Failed};
use protocol::Chunk;

/// The name of spans of handshakes that failed.
const HANDSHAKE: &str = "TLS handshake";
/// Most processes, and most connections, that wait to be told of.
const MAX_TOLD: usize = 65536;

impl Tracer {
    /// Encrypted bytes have passed.
    pub(super) fn encrypted(
        &mut self,
        (at_ns, thread): (u64, Thread),
        call: &SocketCall<'_>,
        passed: Encrypted,
        out: &mut Vec<Span>,
    ) {
        let id = call.connection;
        if let Some(failed) = passed.failed {
            self.handshake_failed(thread, id, failed, out);
        }
        if passed.is_let_go {
            self.note_let_go(id);
            return;
        }
        if passed.is_unbound && self.encrypted.len() < MAX_TOLD {
            self.encrypted.insert(thread.pid);
        }
        let bytes = if let Outcome::Bytes(payload) = call.outcome { payload.len } else { 0 };
        let moved = (call.direction, Passed { bytes, by_kernel: call.kernel_tls });
        let joined = self.binding.socket_call((at_ns, thread), id, moved);
        self.joined(joined, out);
        self.settle_encryption(id);
    }

    /// A connection that was taken for one without encryption has it. How it came to that was missed.
    pub(super) fn forget_clear_text(&mut self, id: ConnectionId, out: &mut Vec<Span>) {
        self.abandon(id, End::ProbeLost, out);
        if let Some(connection) = self.connections.map.get_mut(&id) {
            connection.open_anew();
        }
    }

    /// A TLS library was called.
    pub(super) fn tls_call(
        &mut self,
        (at_ns, thread): (u64, Thread),
        call: &TlsCall<'_>,
        out: &mut Vec<Span>,
    ) {
        match call.kind {
            TlsCallKind::Close | TlsCallKind::CloseBack => return self.tls_closes(at_ns, call, out),
            TlsCallKind::Agreed => return self.tls_agrees((at_ns, thread), call),
            _ => {}
        }
        let moved = call.payload.map_or(0, |payload| payload.len);
        let joined =
            self.binding.library_call((at_ns, thread), call.session, call.kind, (call.entered_ns, moved));
        self.joined(joined, out);
        let Some(payload) = call.payload else { return };
        let direction = if call.kind == TlsCallKind::Read { Direction::Received } else { Direction::Sent };
        let chunk = Chunk {
            at_ns,
            position: call.position,
            len: payload.len,
            head: payload.head,
            tail: payload.tail,
        };
        let passage = Passage { direction, thread, chunk };
        if call.asks_frame {
            self.note_question(Bearer::TlsSession(call.session), direction);
        }
        match self.binding.connection_of(call.session) {
            Some(connection) => {
                self.pass_clear(Joined { session: call.session, connection }, &passage, out);
            }
            None => self.binding.hold(call.session, Held::of(&passage)),
        }
    }

    /// One side sends no more, which is known before its socket is closed: as good as if it were.
    fn tls_closes(&mut self, at_ns: u64, call: &TlsCall<'_>, out: &mut Vec<Span>) {
        let connection = self.binding.connection_of(call.session);
        let Some(connection) = connection.and_then(|id| self.connections.map.get_mut(&id)) else { return };
        connection.last_ns = at_ns;
        let before = out.len();
        if let Some(conversation) = connection.conversation() {
            match call.kind {
                TlsCallKind::CloseBack => conversation.end_of_stream(at_ns, &mut self.assembler, out),
                _ => conversation.state(at_ns, (TcpState::FinWait1, 0), &mut self.assembler, out),
            }
        }
        connection.describe(&mut out[before..]);
    }

    /// The handshake has agreed on a protocol. Its name may be any bytes; what is in use is text (the registry of RFC 7301).
    fn tls_agrees(&mut self, at: (u64, Thread), call: &TlsCall<'_>) {
        let name = call.payload.and_then(|payload| std::str::from_utf8(payload.head).ok());
        let Some(name) = name.filter(|name| name.chars().all(|one| one.is_ascii_graphic())) else { return };
        match self.binding.connection_of(call.session) {
            Some(connection) => self.agreed_on(connection, name),
            None => self.binding.hold_agreed(call.session, at, name),
        }
    }

    fn agreed_on(&mut self, connection: ConnectionId, protocol: &str) {
        if let Some(connection) = self.connections.map.get_mut(&connection) {
            connection.agreed_on(protocol);
        }
    }

    /// What waited for its connection goes on.
    fn joined(&mut self, joined: Option<Joined>, out: &mut Vec<Span>) {
        let Some(joined) = joined else { return };
        if let Some(protocol) = self.binding.take_agreed(joined.session) {
            self.agreed_on(joined.connection, &protocol);
        }
        let mut raised = self.binding.take_raised(joined.session);
        for held in self.binding.take_held(joined.session) {
            let is_answer = |raised: &mut Box<Exceptions>| {
                held.direction == Direction::Sent && held.position == raised.sent
            };
            if let Some(raised) = raised.take_if(is_answer) {
                self.raised_on(joined.connection, &raised);
            }
            self.pass_clear(joined, &held.passage(), out);
        }
        // The answer has joined them.
        if let Some(raised) = raised {
            self.raised_on(joined.connection, &raised);
        }
    }

    /// Something was raised where an answer is about to be sent.
    pub(super) fn raised(&mut self, raised: &Exceptions) {
        match raised.on {
            Bearer::Connection(connection) => self.raised_on(connection, raised),
            Bearer::TlsSession(session) => match self.binding.connection_of(session) {
                Some(connection) => self.raised_on(connection, raised),
                None => self.binding.hold_raised(session, raised.clone()),
            },
        }
    }

    fn raised_on(&mut self, connection: ConnectionId, raised: &Exceptions) {
        if let Some(connection) = self.connections.map.get_mut(&connection) {
            connection.raised(raised);
        }
    }

    fn pass_clear(&mut self, joined: Joined, passage: &Passage<'_>, out: &mut Vec<Span>) {
        let id = joined.connection;
        let Some(connection) = self.connections.map.get_mut(&id) else {
            self.assembler.counts.tls_unknown_peer_bytes += passage.chunk.len;
            return;
        };
        let begins = self.binding.is_from_start(joined.session);
        let before = out.len();
        let let_go = connection.pass_clear(passage, begins, &mut self.assembler, out);
        connection.describe(&mut out[before..]);
        if connection.asks_for_whole_calls() && self.whole_tls.len() < MAX_TOLD {
            self.whole_tls.push(joined.session);
            self.expect_questions(Bearer::TlsSession(joined.session));
        }
        if let_go {
            self.note_let_go(id);
            if self.let_go_tls.len() < MAX_TOLD {
                self.let_go_tls.push(joined.session);
            }
        }
        self.settle_encryption(id);
    }

    fn settle_encryption(&mut self, id: ConnectionId) {
        let settles = self.connections.map.get_mut(&id).is_some_and(Connection::settles);
        if settles && self.settled.len() < MAX_TOLD {
            self.settled.push(id);
        }
    }

    /// A client's request never came about: the handshake is all there is to tell of it.
    fn handshake_failed(&mut self, thread: Thread, id: ConnectionId, failed: Failed, out: &mut Vec<Span>) {
        self.assembler.counts.tls_failed_handshakes += 1;
        let Some(connection) = self.connections.map.get_mut(&id).filter(|_| failed.by_client) else { return };
        let place = connection.place(SpanKind::Client);
        let (mut span, waits) = self.assembler.open_connect(&place, thread, failed.begun_ns);
        span.duration_ns = failed.at_ns.saturating_sub(failed.begun_ns);
        span.fault = Some(Fault::Handshake);
        let number = || format!("alert {}", failed.alert.description);
        span.set("error.type", failed.alert.name().map_or_else(number, str::to_owned));
        connection.describe(std::slice::from_mut(&mut span));
        self.assembler.finish_connect((span, waits), HANDSHAKE, out);
    }

    /// Takes over what the binding has counted.
    pub(super) fn count_binding(&mut self) {
        let counts = &mut self.assembler.counts;
        counts.tls_unknown_peer_bytes += std::mem::take(&mut self.binding.unbound_bytes);
        counts.tls_contradictions += std::mem::take(&mut self.binding.contradictions);
    }

    /// Processes with encrypted connections of which no clear text has been seen, since the last call.
    pub fn encrypted_processes(&mut self) -> impl Iterator<Item = u32> {
        std::mem::take(&mut self.encrypted).into_iter()
    }

    /// Objects of TLS libraries whose calls should be told whole, since the last call.
    pub fn whole_tls(&mut self) -> std::vec::Drain<'_, TlsSessionId> {
        self.whole_tls.drain(..)
    }

    /// Objects of TLS libraries of which nothing more is wanted, since the last call.
    pub fn let_go_tls(&mut self) -> std::vec::Drain<'_, TlsSessionId> {
        self.let_go_tls.drain(..)
    }

    /// Connections whose encrypted bytes are of no more use, since the last call. Their ends still are.
    pub fn settled(&mut self) -> std::vec::Drain<'_, ConnectionId> {
        self.settled.drain(..)
    }
}

impl Held {
    fn of(passage: &Passage<'_>) -> Self {
        let Chunk { at_ns, position, len, head, tail } = passage.chunk;
        let (head, tail) = (head.to_vec(), tail.to_vec());
        Self { at_ns, thread: passage.thread, direction: passage.direction, position, len, head, tail }
    }

    fn passage(&self) -> Passage<'_> {
        Passage {
            direction: self.direction,
            thread: self.thread,
            chunk: Chunk {
                at_ns: self.at_ns,
                position: self.position,
                len: self.len,
                head: &self.head,
                tail: &self.tail,
            },
        }
    }
}
