//! PostgreSQL's protocol 3 (PostgreSQL 17 documentation, chapter 55 "Frontend/Backend Protocol").
//!
//! An exchange is what a client sends up to a point of waiting: a `Query`, or the messages of the extended
//! protocol up to `Sync` or an answered `Flush`. Several `Execute`s in one exchange are a batch. It ends with
//! `ReadyForQuery`, or with the answer to the last message before the `Flush`.

mod message;
mod names;
mod server;
mod startup;

use std::sync::Arc;

use model::Origin;

use crate::Chunk;
use crate::database::{
    Command, EndBy, Frame, Lane, LetGo, Missed, Open, Options, Part, Sender, Sink, Step, System,
};
use crate::sql::{Dialect, Summary, summarize};
pub(crate) use message::looks_like_commands;
use message::{client_framing, server_framing};
use names::Names;
pub(crate) use startup::looks_like_hello;
use startup::{Hello, hello, startup_framing};

/// What is remembered of an exchange.
#[derive(Debug, Default)]
struct Cycle {
    /// Messages that are answered one by one, and answers that came.
    asked: u32,
    done: u32,
    point: Point,
    /// The first thing asked for that is no execution: `Parse`, `Describe`, `Close`.
    prepares: Option<&'static str>,
    prepared: Option<Arc<Summary>>,
    executes: bool,
    /// An error was among the answers: what follows is skipped up to a `Sync`.
    failed: bool,
}

/// Whether the client has come to a point where it waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Point {
    #[default]
    None,
    Flushed,
    Synced,
}

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client is to say what it wants.
    Startup,
    /// It has asked for encryption; the answer is a single byte.
    Encryption,
    /// Who it is is being found out.
    Authentication,
    Ready,
    Over,
}

/// A connection.
#[derive(Debug)]
pub struct Parser {
    options: Options,
    phase: Phase,
    client: Lane,
    server: Lane,
    open: Open<Cycle>,
    statements: Names,
    portals: Names,
    database: Option<Arc<str>>,
    /// When the startup message began.
    startup_ns: u64,
}

impl Parser {
    /// `origin`: whether the first chunk of each direction is the connection's first.
    pub fn new(origin: Origin, options: Options) -> Self {
        let start = origin == Origin::Start;
        Self {
            options,
            phase: if start { Phase::Startup } else { Phase::Ready },
            client: Lane::new(start),
            server: Lane::new(start),
            open: Open::new(),
            statements: Names::default(),
            portals: Names::default(),
            database: None,
            startup_ns: 0,
        }
    }

    /// See [`database::Parser::anchor`](crate::database::Parser::anchor).
    pub(crate) fn anchor(&mut self) {
        self.client.anchor();
        self.server.anchor();
    }

    /// Takes the next chunk of one direction and tells what it completes.
    pub fn push(&mut self, sender: Sender, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        match sender {
            Sender::Client => self.push_client(chunk, sink),
            Sender::Server => self.push_server(chunk, sink),
        }
    }

    /// See [`database::Parser::cut`](crate::database::Parser::cut).
    pub(crate) fn cut(&mut self, sink: &mut Sink<'_>) {
        self.open.cut(self.server.reach(), sink);
    }

    /// The framing of the answer that is passing was lost: whether it has ended is not known.
    pub(crate) fn is_in_doubt(&self) -> bool {
        // An end at the end of a call would have been noticed; what may follow one unasked (errors, notices, notifications,
        // parameters) ends with a text, and so with a zero (section 55.7).
        let may_have_ended = self.server.last_bytes.is_none_or(|[_, last]| last == 0);
        self.server.is_lost() && (may_have_ended || self.open.len() > 1)
    }

    fn push_client(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        let (input, missed) = self.client.open(chunk);
        let Some(mut input) = input else { return };
        if self.phase == Phase::Over {
            return;
        }
        if missed == Missed::Framing {
            self.lose_client(sink);
        }
        if self.phase == Phase::Over {
            return;
        }
        if self.client.is_lost() && input.begins {
            let (bytes, whole) = input.ahead();
            if looks_like_commands(bytes, input.left(), whole) {
                self.client.set_upright();
                // What waits now was asked before the loss; its answer ends before this one begins.
                self.settle_server(sink);
            }
        }
        loop {
            let framing = if self.phase == Phase::Startup { startup_framing } else { client_framing };
            match self.client.next(&mut input, framing) {
                Step::Frame(frame) if self.phase == Phase::Startup => self.startup(&frame, sink),
                Step::Frame(frame) => {
                    self.command(&frame, sink);
                    if frame.unseen_end {
                        self.open.miss((frame.end_ns, self.server.reach().1), sink);
                    }
                }
                Step::Lost => self.lose_client(sink),
                Step::End => return,
            }
            if self.phase == Phase::Over {
                return;
            }
        }
    }

    fn lose_client(&mut self, sink: &mut Sink<'_>) {
        if matches!(self.phase, Phase::Startup | Phase::Encryption) {
            return self.let_go(LetGo::Strange, sink);
        }
        sink(Part::Lost);
        // The end of the exchange that was being asked for is not known any more: it ends with `ReadyForQuery`.
        if let Some(last) = self.open.last() {
            last.state.point = Point::Synced;
        }
    }

    /// The answers' framing was lost: a command that comes now says that those before it are answered.
    fn settle_server(&mut self, sink: &mut Sink<'_>) {
        if self.server.is_lost() && self.open.len() > 0 {
            self.open.presume(self.server.reach(), sink);
        }
        if self.server.is_lost() && self.phase == Phase::Ready {
            self.server.set_upright();
        }
    }

    fn let_go(&mut self, why: LetGo, sink: &mut Sink<'_>) {
        self.phase = Phase::Over;
        self.open.abandon(self.server.reach(), sink);
        sink(Part::LetGo(why));
    }

    fn startup(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        match hello(frame) {
            Hello::Encryption => self.phase = Phase::Encryption,
            // A cancel request has a connection of its own, on which nothing else passes.
            Hello::Cancel => self.phase = Phase::Over,
            Hello::Startup { database } => {
                self.phase = Phase::Authentication;
                self.database = database.map(Arc::from);
                self.startup_ns = frame.start_ns;
            }
            Hello::Strange => self.let_go(LetGo::Strange, sink),
        }
    }

    /// A message of the client.
    fn command(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        let kind = frame.header[0];
        // Passwords, the end, and data of a `COPY` ask for nothing.
        if matches!(kind, b'p' | b'X') {
            return;
        }
        if matches!(kind, b'd' | b'c' | b'f') {
            return self.open.sent(frame.bytes);
        }
        let joins = self.open.last().is_some_and(|last| last.state.point != Point::Synced);
        if !joins {
            // A `Flush` behind a `Sync` asks for nothing.
            if kind == b'H' {
                return;
            }
            self.settle_server(sink);
            if !self.open.begin(Cycle::default(), frame.start_ns, frame.position) {
                return self.let_go(LetGo::Overrun, sink);
            }
        }
        self.open.sent(frame.bytes);
        let Some(last) = self.open.last() else { return };
        let cycle = &mut last.state;
        cycle.point = Point::None;
        match kind {
            b'Q' => {
                cycle.point = Point::Synced;
                cycle.executes = true;
                let text = message::until_nul(&frame.payload);
                let summary = Arc::new(summarize(text, Dialect::Postgresql, self.options.statements));
                self.tell(Some(&summary), frame.end_ns, sink);
            }
            b'P' => {
                cycle.asked += 1;
                let (name, rest) = message::split_nul(&frame.payload);
                let text = message::until_nul(rest);
                let summary = Arc::new(summarize(text, Dialect::Postgresql, self.options.statements));
                cycle.prepares = Some("PREPARE");
                cycle.prepared = Some(Arc::clone(&summary));
                self.statements.insert(name, summary);
            }
            b'B' => {
                cycle.asked += 1;
                let (portal, rest) = message::split_nul(&frame.payload);
                match self.statements.get(message::until_nul(rest)) {
                    Some(summary) => self.portals.insert(portal, summary),
                    None => self.portals.remove(portal),
                }
            }
            b'E' => {
                cycle.asked += 1;
                cycle.executes = true;
                let summary = self.portals.get(message::until_nul(&frame.payload));
                self.tell(summary.as_deref(), frame.end_ns, sink);
            }
            b'D' => {
                cycle.asked += 1;
                cycle.prepares.get_or_insert("DESCRIBE");
            }
            b'C' => {
                cycle.asked += 1;
                cycle.prepares.get_or_insert("DEALLOCATE");
                match frame.payload.split_first() {
                    Some((b'S', name)) => self.statements.remove(message::until_nul(name)),
                    Some((_, name)) => self.portals.remove(message::until_nul(name)),
                    None => {}
                }
            }
            b'F' => {
                cycle.point = Point::Synced;
                cycle.executes = true;
                self.tell_verb("CALL", None, frame.end_ns, sink);
            }
            b'H' => {
                cycle.point = Point::Flushed;
                self.tell_preparation(frame.end_ns, sink);
                self.end_flushed(self.server.reach(), sink);
            }
            b'S' => {
                cycle.point = Point::Synced;
                self.tell_preparation(frame.end_ns, sink);
            }
            _ => {}
        }
    }

    /// An exchange that executes nothing is told of where it ends.
    fn tell_preparation(&mut self, end_ns: u64, sink: &mut Sink<'_>) {
        let Some(last) = self.open.last() else { return };
        if last.told || last.state.executes {
            return;
        }
        if let Some(verb) = last.state.prepares {
            let prepared = last.state.prepared.take();
            self.tell_verb(verb, prepared.as_deref(), end_ns, sink);
        }
    }

    fn tell_verb(&mut self, verb: &'static str, of: Option<&Summary>, end_ns: u64, sink: &mut Sink<'_>) {
        let collection = of.and_then(|of| of.collection.clone());
        let summary = match &collection {
            Some(table) => format!("{verb} {table}"),
            None => verb.to_owned(),
        };
        let text = of.and_then(|of| of.text.clone());
        self.tell(Some(&Summary { operation: Some(verb), collection, summary, text }), end_ns, sink);
    }

    fn tell(&mut self, summary: Option<&Summary>, end_ns: u64, sink: &mut Sink<'_>) {
        let command = Command {
            system: System::Postgresql,
            operation: summary.and_then(|summary| summary.operation).map(Into::into),
            collection: summary.and_then(|summary| summary.collection.clone()),
            summary: summary.map(|summary| summary.summary.clone()).filter(|text| !text.is_empty()),
            text: summary.and_then(|summary| summary.text.clone()),
            namespace: self.database.clone(),
        };
        self.open.tell(command, end_ns, sink);
    }

    /// Ends an exchange that waits at a `Flush` and has all its answers.
    fn end_flushed(&mut self, end: (u64, u64), sink: &mut Sink<'_>) {
        if self.open.first().is_some_and(|first| {
            let cycle = &first.state;
            cycle.point == Point::Flushed && !cycle.failed && cycle.done >= cycle.asked
        }) {
            self.open.finish(end, EndBy::Framing, sink);
        }
    }
}
