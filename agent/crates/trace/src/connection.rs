//! One connection: from the first bytes to the last state. Invariant: what is let go keeps no parser and no
//! exchange, only the knowledge that it was let go.

mod answers;
mod closing;
mod conversation;
mod database;
mod detectors;
mod dialogue;
mod encryption;
mod fastcgi;
mod frames;
mod multiplex;
mod opening;
mod preface;
mod presence;
mod streaming;
mod table;
mod upgrade;
mod websocket;

use model::{Address, Direction, Exceptions, Origin, Outcome, Payload, SocketCall, Span, SpanKind};
use protocol::Chunk;
use protocol::database::System;

use crate::assemble::Assembler;
use crate::place::{Place, Thread};
pub(crate) use closing::{ECONNRESET, EPIPE};
use conversation::{Conversation, Turn, Verdict};
use dialogue::Dialogue;
pub(crate) use encryption::Failed;
use encryption::{Encryption, looks_encrypted};
use multiplex::Multiplex;
use opening::{Judgement, Opening};
pub(crate) use table::Connections;

/// Bytes that one thread moved in one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passage<'a> {
    pub(crate) direction: Direction,
    pub(crate) thread: Thread,
    pub(crate) chunk: Chunk<'a>,
}

/// What came of encrypted bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encrypted {
    /// They end the handshake in failure.
    pub(crate) failed: Option<Failed>,
    /// No clear text of the connection has been seen, and some may be to come.
    pub(crate) is_unbound: bool,
    /// Nothing more is wanted of it.
    pub(crate) is_let_go: bool,
}

/// Most changes of protocol on one connection.
const MAX_TURNS: u32 = 4;

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
    netns: u32,
    stage: Stage,
    /// Its calls should be copied whole from now on, and nobody has been told yet.
    wants_whole_calls: bool,
    /// Set once encrypted bytes have passed: what is read then is their clear text.
    encryption: Option<Box<Encryption>>,
    /// Where the conversation began, if it is not the connection's first.
    turned: Option<Box<Turned>>,
    /// Where what the process sends next is to stand, if that is known.
    sent: Option<u64>,
}

/// The beginning of a later conversation, counted from the connection's beginning.
#[derive(Debug, Default)]
struct Turned {
    received: u64,
    sent: u64,
    times: u32,
    /// Who really asks, as was told ahead.
    client: Option<Address>,
    /// The database's product, as was told ahead.
    system: Option<System>,
}

#[derive(Debug)]
enum Stage {
    Opening(Opening),
    Known(Box<dyn Conversation>),
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
            netns: call.netns,
            stage: Stage::Opening(Opening::default()),
            wants_whole_calls: false,
            encryption: None,
            turned: None,
            // What is heard of first, nothing came before.
            sent: (call.position == 0).then_some(0),
        }
    }

    /// Whether it is taken for one without encryption.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        self.encryption.is_none() && matches!(self.stage, Stage::Known(_))
    }

    /// What was taken for its conversation is over: nothing is known of what passes now.
    pub(crate) fn open_anew(&mut self) {
        self.stage = Stage::Opening(Opening::default());
    }

    /// Takes the bytes of a call if they are encrypted, be it by the kernel.
    pub(crate) fn pass_encrypted(
        &mut self,
        (at_ns, thread): (u64, Thread),
        call: &SocketCall<'_>,
    ) -> Option<Encrypted> {
        let Outcome::Bytes(Payload { len, head, tail }) = call.outcome else { return None };
        if self.encryption.is_none() {
            if !call.kernel_tls && (!matches!(self.stage, Stage::Opening(_)) || !looks_encrypted(call, head))
            {
                return None;
            }
            self.encryption = Some(Box::default());
        }
        let encryption = self.encryption.as_mut()?;
        self.last_ns = at_ns;
        self.owner = thread;
        self.fd = call.fd.or(self.fd);
        let chunk = Chunk { at_ns, position: call.position, len, head, tail };
        let failed = encryption.pass(call.direction, &chunk);
        if encryption.is_hopeless() {
            self.stage = Stage::LetGo;
        }
        Some(Encrypted { failed, is_unbound: encryption.is_unbound(), is_let_go: self.is_let_go() })
    }

    /// Takes clear text. `begins`: nothing was missed before it. True if the connection has just been let go.
    pub(crate) fn pass_clear(
        &mut self,
        passage: &Passage<'_>,
        begins: bool,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> bool {
        if self.encryption.get_or_insert_default().becomes_clear() {
            self.origin = if begins { Origin::Start } else { Origin::Midway };
            // Clear text is counted from its own beginning.
            if let Some(turned) = &mut self.turned {
                (turned.received, turned.sent) = (0, 0);
            }
        }
        self.last_ns = passage.chunk.at_ns;
        self.owner = passage.thread;
        self.touch(passage.thread, passage.chunk.at_ns, assembler);
        self.pass_turned(passage, assembler, out)
    }

    /// Where the connection is.
    pub(crate) fn place(&self, kind: SpanKind) -> Place {
        Place {
            kind,
            local: self.local.clone(),
            peer: self.peer.clone(),
            netns: self.netns,
            origin: self.origin,
            client: None,
            system: None,
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
        self.touch(thread, at_ns, assembler);
        match call.outcome {
            Outcome::Bytes(payload) => {
                self.owner = thread;
                self.fd = call.fd.or(self.fd);
                let (position, len, head, tail) = (call.position, payload.len, payload.head, payload.tail);
                if call.direction == Direction::Sent {
                    self.sent = self.sent.max(Some(position.saturating_add(len)));
                }
                let passage = Passage {
                    direction: call.direction,
                    thread,
                    chunk: Chunk { at_ns, position, len, head, tail },
                };
                self.pass_turned(&passage, assembler, out)
            }
            Outcome::EndOfStream => {
                if let Some(conversation) = self.conversation() {
                    conversation.end_of_stream(at_ns, assembler, out);
                }
                false
            }
            Outcome::Failed { errno } => {
                if let Some(conversation) = self.conversation() {
                    conversation.fail(at_ns, (call.direction, errno), assembler, out);
                }
                false
            }
        }
    }

    fn pass_turned(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> bool {
        match &self.turned {
            None => self.pass(passage, assembler, out),
            Some(turned) => match passage.since(turned.received, turned.sent) {
                Some(passage) => self.pass(&passage, assembler, out),
                None => false,
            },
        }
    }

    /// True if the connection has just been let go.
    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> bool {
        assembler.budgets.take_in_hand(passage.thread, passage.chunk.at_ns);
        let verdict = match &mut self.stage {
            Stage::LetGo => {
                assembler.counts.not_http_bytes += passage.chunk.len;
                return false;
            }
            Stage::Known(conversation) => conversation.pass(passage, assembler, out),
            Stage::Opening(opening) => match opening.judge(passage, self.origin, &self.peer) {
                Judgement::Wait => Verdict::Stay,
                Judgement::Stranger => {
                    assembler.counts.not_http_bytes += opening.held_bytes() + passage.chunk.len;
                    Verdict::Stranger
                }
                Judgement::Begin(detector, kind) => {
                    let held = std::mem::take(opening).into_held();
                    let turned = self.turned.as_deref();
                    let client = turned.and_then(|turned| turned.client.clone());
                    let system = turned.and_then(|turned| turned.system);
                    let place = Place { client, system, ..self.place(kind) };
                    self.know((detector.begin)(place, self.origin));
                    let held = held.iter().map(opening::Held::passage);
                    return self.pass_all(held.chain(std::iter::once(*passage)), assembler, out);
                }
            },
        };
        match verdict {
            Verdict::Stay => return false,
            Verdict::Stranger => assembler.counts.not_http += 1,
            Verdict::Upgraded => assembler.counts.upgraded += 1,
            Verdict::Overrun => assembler.counts.overrun_connections += 1,
            Verdict::Turn(turn) => return self.turn(*turn, passage, assembler, out),
        }
        self.stage = Stage::LetGo;
        true
    }

    /// Passages of one conversation, in order; what follows a turn in them is the next one's.
    fn pass_all<'a>(
        &mut self,
        passages: impl Iterator<Item = Passage<'a>>,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> bool {
        let began = |turned: Option<&Turned>| turned.map_or((0, 0), |turned| (turned.received, turned.sent));
        let (received, sent) = began(self.turned.as_deref());
        for passage in passages {
            let now = began(self.turned.as_deref());
            let rest = passage.since(now.0 - received, now.1 - sent);
            if let Some(passage) = rest
                && self.pass(&passage, assembler, out)
            {
                return true;
            }
        }
        false
    }

    /// The connection goes on in another way, perhaps within the passage in hand.
    fn turn(
        &mut self,
        turn: Turn,
        passage: &Passage<'_>,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> bool {
        let Turn { next, received, sent, client, system } = turn;
        let turned = self.turned.get_or_insert_default();
        turned.received = turned.received.saturating_add(received);
        turned.sent = turned.sent.saturating_add(sent);
        turned.times += 1;
        turned.client = client.or(turned.client.take());
        turned.system = system.or(turned.system);
        if turned.times > MAX_TURNS {
            assembler.counts.overrun_connections += 1;
            self.stage = Stage::LetGo;
            return true;
        }
        // Where it begins is known, wherever the probe joined.
        self.origin = Origin::Start;
        match next {
            Some(conversation) => self.know(conversation),
            None => self.stage = Stage::Opening(Opening::default()),
        }
        match passage.since(received, sent) {
            Some(rest) => self.pass(&rest, assembler, out),
            None => false,
        }
    }

    fn know(&mut self, conversation: Box<dyn Conversation>) {
        self.wants_whole_calls = conversation.needs_whole_calls();
        self.stage = Stage::Known(conversation);
    }

    /// Whether its calls should be copied whole from now on. Says so once.
    pub(crate) fn asks_for_whole_calls(&mut self) -> bool {
        std::mem::take(&mut self.wants_whole_calls)
    }

    /// What passes on it, if that is known.
    pub(crate) fn conversation(&mut self) -> Option<&mut (dyn Conversation + 'static)> {
        match &mut self.stage {
            Stage::Known(conversation) => Some(conversation.as_mut()),
            Stage::Opening(_) | Stage::LetGo => None,
        }
    }

    /// Something was raised where an answer is to come from.
    pub(crate) fn raised(&mut self, raised: &Exceptions) {
        let begin = self.turned.as_ref().map_or(0, |turned| turned.sent);
        if let (Some(sent), Stage::Known(conversation)) = (raised.sent.checked_sub(begin), &mut self.stage) {
            conversation.raised((sent, raised.stream), raised);
        }
    }

    /// Exchanges that have begun and not ended.
    pub(crate) fn open_exchanges(&self) -> usize {
        match &self.stage {
            Stage::Known(conversation) => conversation.open_exchanges(),
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

impl Passage<'_> {
    /// What of it lies past these positions of the two directions, counted from there.
    fn since(&self, received: u64, sent: u64) -> Option<Self> {
        let begin = match self.direction {
            Direction::Received => received,
            Direction::Sent => sent,
        };
        let chunk = self.chunk.since(begin)?;
        Some(Self { chunk, ..*self })
    }
}

/// Whether a direction carries the requests.
fn carries_requests(kind: SpanKind, direction: Direction) -> bool {
    matches!((kind, direction), (SpanKind::Server, Direction::Received) | (SpanKind::Client, Direction::Sent))
}
