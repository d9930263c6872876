//! One connection: from the first bytes to the last state. Invariant: what is let go keeps no parser and no
//! exchange, only the knowledge that it was let go.

mod answers;
mod closing;
mod dialogue;
mod opening;
mod table;

use model::{Address, Direction, Origin, Outcome, SocketCall, Span, SpanKind};
use protocol::Chunk;

use crate::assemble::Assembler;
use crate::place::{Place, Thread};
pub(crate) use dialogue::Dialogue;
use dialogue::Verdict;
use opening::{Judgement, Opening};
pub(crate) use table::Connections;

/// Bytes that one thread moved in one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passage<'a> {
    pub(crate) direction: Direction,
    pub(crate) thread: Thread,
    pub(crate) chunk: Chunk<'a>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// When something was last heard of it.
    pub(crate) last_ns: u64,
    /// The thread that last moved bytes on it: its process is the one the connection belongs to.
    pub(crate) owner: Thread,
    pub(crate) inode: u64,
    pub(crate) fd: Option<i32>,
    origin: Origin,
    local: Address,
    peer: Address,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Opening(Opening),
    Http(Box<Dialogue>),
    LetGo,
}

impl Connection {
    pub(crate) fn new(call: &SocketCall<'_>, owner: Thread) -> Self {
        Self {
            last_ns: 0,
            owner,
            inode: call.inode,
            fd: call.fd,
            origin: call.origin,
            local: call.local.clone(),
            peer: call.peer.clone(),
            stage: Stage::Opening(Opening::default()),
        }
    }

    /// A socket call has returned. True if the connection has just been let go.
    pub(crate) fn call(
        &mut self,
        (at_ns, thread): (u64, Thread),
        call: &SocketCall<'_>,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> bool {
        self.last_ns = at_ns;
        match call.outcome {
            Outcome::Bytes(payload) => {
                self.owner = thread;
                self.fd = call.fd.or(self.fd);
                let (position, len, head, tail) = (call.position, payload.len, payload.head, payload.tail);
                let chunk = Chunk { at_ns, position, len, head, tail };
                self.pass(&Passage { direction: call.direction, thread, chunk }, assembler, out)
            }
            Outcome::EndOfStream => {
                if let Stage::Http(dialogue) = &mut self.stage {
                    dialogue.end_of_stream(assembler, out);
                }
                false
            }
            Outcome::Failed { errno } => {
                if let Stage::Http(dialogue) = &mut self.stage {
                    dialogue.fail(call.direction, errno, assembler, out);
                }
                false
            }
        }
    }

    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> bool {
        let verdict = match &mut self.stage {
            Stage::LetGo => {
                assembler.counts.not_http_bytes += passage.chunk.len;
                return false;
            }
            Stage::Http(dialogue) => dialogue.pass(passage, assembler, out),
            Stage::Opening(opening) => match opening.judge(passage, self.origin) {
                Judgement::Wait => Verdict::Stay,
                Judgement::NotHttp => {
                    assembler.counts.not_http_bytes += opening.held_bytes() + passage.chunk.len;
                    Verdict::NotHttp
                }
                Judgement::Http(kind) => {
                    let place = Place { kind, local: self.local.clone(), peer: self.peer.clone() };
                    let mut dialogue = Box::new(Dialogue::new(place, self.origin));
                    let verdict = opening
                        .replay()
                        .chain(std::iter::once(*passage))
                        .map(|passage| dialogue.pass(&passage, assembler, out))
                        .find(|verdict| *verdict != Verdict::Stay);
                    self.stage = Stage::Http(dialogue);
                    verdict.unwrap_or(Verdict::Stay)
                }
            },
        };
        match verdict {
            Verdict::Stay => return false,
            Verdict::NotHttp => assembler.counts.not_http += 1,
            Verdict::Upgraded => assembler.counts.upgraded += 1,
            Verdict::Overrun => assembler.counts.overrun_connections += 1,
        }
        self.stage = Stage::LetGo;
        true
    }

    /// What passes on it, if that is HTTP.
    pub(crate) fn dialogue(&mut self) -> Option<&mut Dialogue> {
        match &mut self.stage {
            Stage::Http(dialogue) => Some(dialogue),
            Stage::Opening(_) | Stage::LetGo => None,
        }
    }

    /// Exchanges that have begun and not ended.
    pub(crate) fn open_exchanges(&self) -> usize {
        match &self.stage {
            Stage::Http(dialogue) => dialogue.open_exchanges(),
            Stage::Opening(_) | Stage::LetGo => 0,
        }
    }

    pub(crate) fn is_let_go(&self) -> bool {
        matches!(self.stage, Stage::LetGo)
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.local, Address::Unix(_)) || matches!(self.peer, Address::Unix(_))
    }
}

/// Whether a direction carries the requests.
fn carries_requests(kind: SpanKind, direction: Direction) -> bool {
    matches!((kind, direction), (SpanKind::Server, Direction::Received) | (SpanKind::Client, Direction::Sent))
}
