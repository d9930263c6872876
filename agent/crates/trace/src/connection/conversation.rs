//! What passes on a connection once its protocol is known. Invariant: a conversation holds its exchanges and
//! finishes each of them exactly once: when it has seen the end, or when it is told to.

use std::fmt;

use model::{Address, Direction, End, Exceptions, Span, SpanKind, TcpState};
use protocol::database::System;

use super::Passage;
use crate::assemble::Assembler;

/// One protocol on one connection. Positions of chunks count from where the conversation began.
pub(crate) trait Conversation: fmt::Debug + Send {
    /// Bytes have passed.
    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> Verdict;

    /// The process has read the end of what the peer sends.
    fn end_of_stream(&mut self, at_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>);

    /// A call has failed for good.
    fn fail(&mut self, at_ns: u64, failure: (Direction, i32), assembler: &mut Assembler, out: &mut Vec<Span>);

    /// The socket has gone into another state, with this error number (0 if none). After `Close` nothing
    /// else comes.
    fn state(&mut self, at_ns: u64, state: (TcpState, i32), assembler: &mut Assembler, out: &mut Vec<Span>);

    /// The process sends nothing more, and of what it has sent last nothing was heard: answers may have been among it.
    fn miss_last_sent(&mut self, _assembler: &mut Assembler, _out: &mut Vec<Span>) {}

    /// Something was raised where the answer is about to come from that begins behind so many sent bytes, the last
    /// exception first; in HTTP/2 for this stream.
    fn raised(&mut self, _of: (u64, Option<u32>), _raised: &Exceptions) {}

    /// Ends every open exchange at the last byte seen of it.
    fn abandon(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>);

    /// Reports what has passed of exchanges that go on, of each once in a period. Called from time to time.
    fn progress(&mut self, _now_ns: u64, _period_ns: u64, _assembler: &mut Assembler, _out: &mut Vec<Span>) {}

    /// Whether the process is asked here, or asks.
    fn kind(&self) -> SpanKind;

    /// Exchanges that have begun and not ended.
    fn open_exchanges(&self) -> usize;

    /// Whether its messages begin anywhere in a call, so that all of each call should be copied.
    fn needs_whole_calls(&self) -> bool {
        false
    }

    /// Where in a direction the next frame of HTTP/2 begins, if that is certain. No message of gRPC goes on there.
    fn next_frame(&self, _direction: Direction) -> Option<u64> {
        None
    }
}

/// What becomes of the connection. Unless it stays, the conversation has no open exchange any more.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is followed on.
    Stay,
    /// It does not speak what it was taken for.
    Stranger,
    /// It goes on in a protocol that nobody here reads.
    Upgraded,
    /// Too many requests wait on it.
    Overrun,
    /// It goes on in another way.
    Turn(Box<Turn>),
}

/// The end of one conversation on a connection and the beginning of the next.
#[derive(Debug)]
pub(crate) struct Turn {
    /// What follows. `None`: what that is is judged by its first bytes, as on a new connection.
    pub(crate) next: Option<Box<dyn Conversation>>,
    /// Where it begins in what the process reads, counted as the conversation that ends counts. Bytes of the
    /// passage in hand from there on are given to what follows.
    pub(crate) received: u64,
    /// The same in what the process writes.
    pub(crate) sent: u64,
    /// Who really asks on this connection, if that has been told ahead.
    pub(crate) client: Option<Address>,
    /// The database's product, if that has been told ahead.
    pub(crate) system: Option<System>,
}

impl Verdict {
    pub(crate) fn stays(&self) -> bool {
        matches!(self, Self::Stay)
    }
}
