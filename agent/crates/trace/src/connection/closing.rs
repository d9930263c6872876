//! How connections end, and the exchanges that are open then. Invariant: an end is the one that was seen:
//! who closed first, a reset, a timeout.

use model::{Direction, End, SocketState, Span, SpanKind, TcpState};

use super::Connection;
use super::conversation::Conversation as _;
use super::dialogue::{Dialogue, count_gap};
use crate::assemble::Assembler;
use crate::counts::Counts;
use crate::exchange::closed_by;
use crate::place::Thread;

/// Linux error numbers (`include/uapi/asm-generic/errno.h`).
pub(crate) const EPIPE: i32 = 32;
pub(crate) const ECONNRESET: i32 = 104;
const ECONNABORTED: i32 = 103;
const ETIMEDOUT: i32 = 110;

/// Who closed a connection first, once one side has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    kind: SpanKind,
    peer_first: Option<bool>,
}

impl Closing {
    pub(super) fn new(kind: SpanKind) -> Self {
        Self { kind, peer_first: None }
    }

    /// The process has read the end of what the peer sends.
    pub(super) fn end_of_stream(&mut self) {
        self.peer_first.get_or_insert(true);
    }

    /// The socket has gone into another state.
    pub(super) fn state(&mut self, new: TcpState) {
        match new {
            // A state that is left out says that nobody has closed before: then it is this side.
            TcpState::FinWait1 | TcpState::Close | TcpState::TimeWait => {
                self.peer_first.get_or_insert(false);
            }
            // `LastAck`: this side closes, and the peer has before.
            TcpState::CloseWait | TcpState::LastAck => {
                self.peer_first.get_or_insert(true);
            }
            _ => {}
        }
    }

    pub(super) fn peer_first(self) -> bool {
        self.peer_first.unwrap_or(false)
    }

    /// How an exchange ends that is cut off by the side that closed first.
    pub(super) fn cut(self) -> End {
        closed_by(self.kind, self.peer_first())
    }

    /// How an exchange ends when such an error breaks the connection. A peer that had closed in good order before
    /// refuses what it is still sent with a reset: that it closed is what came first.
    pub(super) fn broken_by(self, errno: i32) -> Option<End> {
        match errno {
            ECONNRESET | EPIPE if self.peer_first() => Some(self.cut()),
            ECONNRESET | EPIPE => Some(End::Reset),
            ETIMEDOUT => Some(End::TimedOut),
            _ => None,
        }
    }

    /// How an exchange ends when the socket is gone with such an error; `None`: with none. Where the peer does not answer
    /// what it is sent again and again, the error is what routers have said of that, else a timeout (`tcp_write_err` in
    /// `net/ipv4/tcp_timer.c`). An administrator may have it reset (`tcp_abort` in `net/ipv4/tcp.c`).
    pub(super) fn gone_by(self, errno: i32) -> Option<End> {
        match errno {
            0 => None,
            ECONNABORTED => Some(End::Reset),
            _ => self.broken_by(errno).or(Some(End::TimedOut)),
        }
    }

    /// How exchanges end when a call has failed for good; `None`: not by that. A client that cannot write may still read
    /// what the server has answered before it closed. Other errors than those of a broken connection are the process's
    /// own affair: the socket's state tells what becomes of it.
    pub(super) fn failed(self, direction: Direction, errno: i32) -> Option<End> {
        let may_read = self.kind == SpanKind::Client && direction == Direction::Sent;
        self.broken_by(errno).filter(|_| !may_read)
    }

    /// A server that has closed its sending side answers no more. A client that has may still read.
    pub(super) fn answers_no_more(self, new: TcpState) -> bool {
        self.kind == SpanKind::Server && matches!(new, TcpState::FinWait1 | TcpState::LastAck)
    }
}

impl Connection {
    /// The connection ends: encrypted bytes that never became clear are counted.
    pub(crate) fn count_unbound(&self, counts: &mut Counts) {
        if let Some(encryption) = self.encryption.as_ref().filter(|encryption| encryption.is_unbound()) {
            counts.tls_unbound_connections += 1;
            counts.tls_unbound_bytes += encryption.bytes;
        }
    }

    /// The socket has gone into another state.
    pub(crate) fn state(
        &mut self,
        at_ns: u64,
        state: &SocketState,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        self.last_ns = at_ns;
        let sends_no_more = matches!(state.new, TcpState::FinWait1 | TcpState::LastAck | TcpState::Close);
        // Of encrypted bytes the clear text counts.
        let expected = self.sent.filter(|_| sends_no_more && !self.is_encrypted());
        let Some(conversation) = self.conversation() else { return };
        if expected.is_some_and(|expected| count_gap(expected, state.sent, assembler)) {
            conversation.miss_last_sent(assembler, out);
        }
        conversation.state(at_ns, (state.new, state.errno), assembler, out);
        self.sent = self.sent.max(expected.map(|_| state.sent));
    }
}

impl Dialogue {
    /// The process has read the end of what the peer sends.
    pub(super) fn peer_is_done(&mut self, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.closing.end_of_stream();
        // A client that has closed its sending side may still read; its exchanges end with the connection.
        if self.place.kind == SpanKind::Client {
            self.close_responses(assembler, out);
        }
    }

    /// A call has failed for good.
    pub(super) fn call_failed(
        &mut self,
        direction: Direction,
        errno: i32,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        if let Some(end) = self.closing.failed(direction, errno) {
            self.over = true;
            self.abandon(end, assembler, out);
        }
    }

    /// The socket has gone into another state.
    pub(super) fn socket_became(
        &mut self,
        new: TcpState,
        errno: i32,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        self.closing.state(new);
        if matches!(new, TcpState::Close | TcpState::TimeWait) {
            self.close(errno, assembler, out);
            return;
        }
        if self.closing.answers_no_more(new) {
            self.close_responses(assembler, out);
        }
    }

    /// The connection is gone.
    fn close(&mut self, errno: i32, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if let Some(end) = self.closing.gone_by(errno) {
            self.over = true;
            self.abandon(end, assembler, out);
        } else if self.place.kind == SpanKind::Client && !self.closing.peer_first() {
            // The client went away without having seen the end of the response.
            self.over = true;
            self.abandon(End::ClientClosed, assembler, out);
        } else {
            self.close_responses(assembler, out);
        }
    }

    /// The responses' direction has ended in good order: a response that lasts until then is complete.
    fn close_responses(&mut self, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if self.over {
            return;
        }
        self.over = true;
        let cut = self.closing.cut();
        let mut parts = Vec::new();
        if let Some(responses) = &mut self.responses {
            responses.close(&mut |part| parts.push(part));
        }
        for part in parts {
            self.take_response_part(
                part,
                Thread {
                    pid: 0,
                    tid: 0,
                    identity: model::Identity::Thread,
                    timing: model::Timing::default(),
                },
                cut,
                assembler,
                out,
            );
        }
        self.abandon(cut, assembler, out);
    }
}
