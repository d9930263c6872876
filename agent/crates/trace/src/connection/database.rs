//! A connection to a database: its exchanges as client spans. Invariants: exchanges end in the order in which they
//! began; no value that the process sent gets into a span.

mod batch;

use std::collections::VecDeque;

use model::{Direction, End, Fault, Origin, Protocol, Span, SpanKind, TcpState};
use protocol::database::{EndBy, First as Seen, Kind, LetGo, Looks, Options, Parser, Part, Sender};

use super::Passage;
use super::closing::Closing;
use super::conversation::{Conversation, Turn, Verdict};
use super::detectors::{First, Guess};
use super::dialogue::count_gap_before;
use crate::assemble::Assembler;
use crate::exchange::Exchange;
use crate::head::Beginning;
use crate::place::{Place, Thread};
use batch::Batch;

/// Most calls remembered, to know the thread of a command's first byte.
const MAX_CALLS: usize = 64;
/// The port of memcached: few of its commands can be told from other texts by themselves.
const MEMCACHED_PORT: u16 = 11211;

/// A connection to a database.
#[derive(Debug)]
pub(super) struct Database {
    kind: Kind,
    place: Place,
    origin: Origin,
    parser: Option<Parser>,
    closing: Closing,
    open: VecDeque<Asked>,
    next_number: u64,
    /// The calls that wrote: where they began, and on which thread.
    calls: VecDeque<(u64, Thread)>,
    /// Where the next byte of each direction is to stand: received, sent.
    expected: [Option<u64>; 2],
    over: bool,
}

/// An exchange that waits for its answer.
#[derive(Debug)]
struct Asked {
    exchange: Box<Exchange>,
    batch: Batch,
}

/// Whether first bytes are those of a database's protocol. The process is its client; of a database server that is
/// watched itself nothing is read.
pub(super) fn guess(kind: Kind, first: &First<'_>) -> Guess {
    let sender = match first.direction {
        Direction::Sent => Sender::Client,
        Direction::Received => Sender::Server,
    };
    let First { bytes, len, begins, other: asked, .. } = *first;
    match kind.looks(&Seen { sender, bytes, len, begins, asked }) {
        Looks::Surely => Guess::Yes(model::SpanKind::Client),
        Looks::Perhaps if kind == Kind::Memcached && first.peer.port() == Some(MEMCACHED_PORT) => {
            Guess::Yes(model::SpanKind::Client)
        }
        Looks::Perhaps => Guess::Maybe,
        Looks::Other => Guess::No,
    }
}

impl Database {
    pub(super) fn new(kind: Kind, place: Place, origin: Origin) -> Self {
        let closing = Closing::new(place.kind);
        Self {
            kind,
            place,
            origin,
            parser: None,
            closing,
            open: VecDeque::new(),
            next_number: 0,
            calls: VecDeque::new(),
            expected: [(origin == Origin::Start).then_some(0); 2],
            over: false,
        }
    }

    const fn protocol(&self) -> Protocol {
        match self.kind {
            Kind::Postgresql => Protocol::Postgresql,
            Kind::Mysql => Protocol::Mysql,
            Kind::Redis => Protocol::Redis,
            Kind::Memcached => Protocol::Memcached,
        }
    }

    /// Takes what the parser has told.
    fn take(
        &mut self,
        part: Part,
        thread: Thread,
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) -> Verdict {
        match part {
            Part::Command { command, joins, start_ns, position, end_ns } => {
                if joins && let Some(asked) = self.open.back_mut() {
                    asked.batch.add(&command);
                    asked.exchange.touch(end_ns);
                    return Verdict::Stay;
                }
                let before = self.calls.iter().rev().find(|(at, _)| *at <= position);
                let first = before.map_or(thread, |(_, first)| *first);
                let batch = Batch::new(self.kind, command);
                let number = self.next_number;
                self.next_number += 1;
                let name = batch.name();
                let beginning = Beginning { name: &name, number, start_ns, position };
                let mut exchange = assembler.begin((self.protocol(), &self.place), first, beginning, None);
                exchange.touch(end_ns);
                self.open.push_back(Asked { exchange: Box::new(exchange), batch });
            }
            Part::AnswerBegins { at_ns } => {
                if let Some(asked) = self.open.front_mut() {
                    asked.answer_begins(at_ns);
                }
            }
            Part::AnswerEnds { end_ns, request_bytes, response_bytes, error, by } => {
                let Some(mut asked) = self.open.pop_front() else { return Verdict::Stay };
                asked.answer((request_bytes, response_bytes), error);
                let end = match by {
                    EndBy::Framing | EndBy::Presumed | EndBy::NoAnswer => End::Complete,
                    EndBy::Lost | EndBy::Cut => End::ProbeLost,
                };
                asked.finish(end, end_ns, assembler, out);
            }
            Part::Unpaired => assembler.counts.unpaired_responses += 1,
            Part::Lost => assembler.counts.lost_framings += 1,
            // What comes next is a TLS handshake; if the clear text inside is seen, it begins anew.
            Part::LetGo(LetGo::Encrypted) => {
                let [received, sent] = self.expected.map(|position| position.unwrap_or(0));
                let system = self.parser.as_ref().and_then(Parser::system);
                return Verdict::Turn(Box::new(Turn { next: None, received, sent, client: None, system }));
            }
            Part::LetGo(why) => return let_go(why, assembler),
        }
        Verdict::Stay
    }

    /// No more answers can come.
    fn close(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        if !self.over {
            self.over = true;
            self.abandon(end, assembler, out);
        }
    }
}

impl Asked {
    fn answer_begins(&mut self, at_ns: u64) {
        let start_ns = self.exchange.span.start_ns;
        self.exchange.span.ttfb_ns = Some(at_ns.saturating_sub(start_ns));
        self.exchange.touch(at_ns);
    }

    /// What the answer says of itself.
    fn answer(&mut self, (request_bytes, response_bytes): (u64, u64), error: Option<String>) {
        let span = &mut self.exchange.span;
        (span.request_bytes, span.response_bytes) = (request_bytes, response_bytes);
        if let Some(code) = error {
            span.fault = Some(Fault::Answer);
            span.set("db.response.status_code", code.as_str());
            span.set("error.type", code);
        }
    }

    fn finish(mut self, end: End, end_ns: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.batch.describe(&mut self.exchange.span);
        assembler.finish(*self.exchange, end, end_ns, out);
    }
}

impl Conversation for Database {
    fn pass(&mut self, passage: &Passage<'_>, assembler: &mut Assembler, out: &mut Vec<Span>) -> Verdict {
        if self.over {
            return Verdict::Stay;
        }
        let expected = &mut self.expected[usize::from(passage.direction == Direction::Sent)];
        count_gap_before(expected, &passage.chunk, assembler);
        let chunk = &passage.chunk;
        let sender = match passage.direction {
            Direction::Sent => Sender::Client,
            Direction::Received => Sender::Server,
        };
        if sender == Sender::Client {
            if self.calls.len() >= MAX_CALLS {
                self.calls.pop_front();
            }
            self.calls.push_back((chunk.position, passage.thread));
        }
        let origin = if chunk.position == 0 { self.origin } else { Origin::Midway };
        let options = Options { statements: assembler.policy.database_statements };
        let parser = self.parser.get_or_insert_with(|| {
            let mut parser = Parser::new(self.kind, origin, options);
            if self.origin == Origin::Start {
                parser.anchor();
            }
            if let Some(system) = self.place.system {
                parser.set_system(system);
            }
            parser
        });
        let mut parts = Vec::new();
        parser.push(sender, chunk, &mut |part| parts.push(part));
        for part in parts {
            let verdict = self.take(part, passage.thread, assembler, out);
            if !verdict.stays() {
                self.close(End::ProbeLost, assembler, out);
                return verdict;
            }
        }
        let touched = if sender == Sender::Client { self.open.back_mut() } else { self.open.front_mut() };
        if let Some(asked) = touched {
            asked.exchange.touch(chunk.at_ns);
        }
        Verdict::Stay
    }

    fn end_of_stream(&mut self, _: u64, assembler: &mut Assembler, out: &mut Vec<Span>) {
        self.closing.end_of_stream();
        self.close(self.closing.cut(), assembler, out);
    }

    fn fail(
        &mut self,
        _: u64,
        (direction, errno): (Direction, i32),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        if let Some(end) = self.closing.failed(direction, errno) {
            self.close(end, assembler, out);
        }
    }

    fn state(
        &mut self,
        _: u64,
        (new, errno): (TcpState, i32),
        assembler: &mut Assembler,
        out: &mut Vec<Span>,
    ) {
        self.closing.state(new);
        if matches!(new, TcpState::Close | TcpState::TimeWait) {
            self.close(self.closing.gone_by(errno).unwrap_or(self.closing.cut()), assembler, out);
        }
    }

    /// An answer whose framing was lost may have ended before: then nobody knows how.
    fn abandon(&mut self, end: End, assembler: &mut Assembler, out: &mut Vec<Span>) {
        let mut in_doubt = self.parser.as_ref().is_some_and(Parser::is_in_doubt);
        let mut open = std::mem::take(&mut self.open);
        let mut ended = 0;
        if let Some(parser) = &mut self.parser {
            parser.cut(&mut |part| match (part, open.get_mut(ended)) {
                (Part::AnswerBegins { at_ns }, Some(asked)) => asked.answer_begins(at_ns),
                (Part::AnswerEnds { request_bytes, response_bytes, error, .. }, Some(asked)) => {
                    asked.answer((request_bytes, response_bytes), error);
                    ended += 1;
                }
                _ => {}
            });
        }
        for asked in open {
            let end = if std::mem::take(&mut in_doubt) { End::ProbeLost } else { end };
            let last_ns = asked.exchange.last_ns;
            asked.finish(end, last_ns, assembler, out);
        }
    }

    fn kind(&self) -> SpanKind {
        self.place.kind
    }

    fn open_exchanges(&self) -> usize {
        self.open.len()
    }
}

/// What becomes of a connection that cannot be read further.
fn let_go(why: LetGo, assembler: &mut Assembler) -> Verdict {
    match why {
        LetGo::Compressed => assembler.counts.compressed_databases += 1,
        LetGo::Unsupported => assembler.counts.unsupported_databases += 1,
        LetGo::Encrypted | LetGo::Strange => return Verdict::Stranger,
        LetGo::Overrun => return Verdict::Overrun,
    }
    Verdict::Upgraded
}
