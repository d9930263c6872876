//! Redis' protocol, RESP2 and RESP3 (Redis documentation, "Redis serialization protocol specification").
//!
//! An exchange is the commands that are sent before the first of them has its whole reply: a pipeline, as a batch, which is how OpenTelemetry's semantic conventions for Redis see pipelines and transactions; one
//! command sent alone is an exchange of its own. It ends with as many replies as it has commands. What a server
//! pushes (RESP3 pushes, messages of a subscription) answers nothing.

mod command;
mod reply;

use std::collections::VecDeque;
use std::sync::Arc;

use model::Origin;

use crate::Chunk;
use crate::database::{
    Command, EndBy, LetGo, Missed, Open, Options, Part, Sender, Sink, System, TextLane, TextStep,
};
pub(crate) use command::looks_like_command;
use command::{Reading, Sent};
use reply::{Replies, Reply};

/// Most commands of one exchange that wait for a reply.
const MAX_EXPECTED: usize = 65536;

/// What answers a command.
#[derive(Debug)]
enum Expected {
    Reply,
    /// So many confirmations, one for each channel.
    Confirmations(u64),
    /// If it succeeds, this is the database in use.
    Selected(Arc<str>),
}

/// What is remembered of an exchange.
#[derive(Debug, Default)]
struct Pipeline {
    expected: VecDeque<Expected>,
    /// Some of its commands were not read, so their number is not known.
    open_ended: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Parser {
    options: Options,
    over: bool,
    client: TextLane,
    server: TextLane,
    reading: Reading,
    replies: Replies,
    open: Open<Pipeline>,
    database: Option<Arc<str>>,
    /// A subscription was asked for: messages come when they come.
    subscribed: bool,
}

impl Parser {
    /// `origin`: whether the first chunk of each direction is the connection's first.
    pub fn new(origin: Origin, options: Options) -> Self {
        let start = origin == Origin::Start;
        Self {
            options,
            over: false,
            client: TextLane::new(start),
            server: TextLane::new(start),
            reading: Reading::default(),
            replies: Replies::default(),
            open: Open::new(),
            database: start.then(|| "0".into()),
            subscribed: false,
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
        if !self.subscribed
            && let Some((start_ns, position)) = self.replies.under_way()
        {
            self.open.answer(start_ns, position, sink);
        }
        self.open.cut(self.server.reach(), sink);
    }

    /// The framing of the answer that is passing was lost: whether it has ended is not known.
    pub(crate) fn is_in_doubt(&self) -> bool {
        // All that a server says ends with a line.
        let may_have_ended = self.server.last_bytes.is_none_or(|last| last == *b"\r\n");
        self.server.is_lost() && (may_have_ended || self.open.len() > 1)
    }

    fn push_client(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        let before = (self.client.last_ns, self.server.reach().1);
        let (input, missed) = self.client.open(chunk);
        let Some(mut input) = input else { return };
        if self.over {
            return;
        }
        if missed == Missed::Framing {
            self.lose_client(sink);
            // What was cut off there is told late.
            self.open.miss(before, sink);
        }
        if self.client.is_lost() && input.begins && looks_like_command(input.ahead().0) == Some(true) {
            self.client.set_upright();
            self.reading = Reading::default();
        }
        while !self.over {
            let mut unseen_end = false;
            let read = match self.client.next(&mut input) {
                TextStep::Line(line) => self.reading.line(&line, &mut self.client),
                TextStep::Block(block) => {
                    unseen_end = block.unseen_end;
                    self.reading.block(&block)
                }
                TextStep::Lost(_) => {
                    self.lose_client(sink);
                    continue;
                }
                TextStep::End => return,
            };
            match read {
                Ok(Some(sent)) => {
                    self.command(&sent, sink);
                    if unseen_end {
                        self.open.miss((sent.end_ns, self.server.reach().1), sink);
                    }
                }
                Ok(None) => {}
                Err(()) => {
                    self.client.give_up();
                    self.lose_client(sink);
                }
            }
        }
    }

    /// Commands may have been missed: the exchange they belong to has no known number of replies.
    fn lose_client(&mut self, sink: &mut Sink<'_>) {
        sink(Part::Lost);
        if let Some(sent) = std::mem::take(&mut self.reading).cut() {
            self.command(&sent, sink);
        }
        if let Some(last) = self.open.last().filter(|last| !last.answered) {
            last.state.open_ended = true;
        }
    }

    fn command(&mut self, sent: &Sent, sink: &mut Sink<'_>) {
        if sent.silences() {
            // From now on it is not known which commands are answered.
            return self.let_go(LetGo::Unsupported, sink);
        }
        let open_ended = self.open.first().is_some_and(|first| first.state.open_ended && first.answered);
        if self.server.is_lost() || open_ended {
            if self.open.len() > 0 {
                self.open.presume(self.server.reach(), sink);
            }
            if self.server.is_lost() {
                self.server.set_upright();
                self.replies = Replies::default();
            }
        }
        let joins = self.open.last().is_some_and(|last| !last.answered);
        if !joins && !self.open.begin(Pipeline::default(), sent.start_ns, sent.position) {
            return self.let_go(LetGo::Overrun, sink);
        }
        let expected = match sent.confirmations() {
            Some(channels) => {
                self.subscribed = true;
                Expected::Confirmations(channels)
            }
            None => match sent.selects() {
                Some(database) => Expected::Selected(database.into()),
                None => Expected::Reply,
            },
        };
        let full = match self.open.last() {
            Some(last) => {
                last.state.expected.push_back(expected);
                last.state.expected.len() > MAX_EXPECTED
            }
            None => true,
        };
        if full {
            return self.let_go(LetGo::Overrun, sink);
        }
        self.open.sent(sent.bytes);
        let command = Command {
            system: System::Redis,
            operation: Some(sent.name().into()),
            collection: None,
            summary: None,
            text: self.options.statements.then(|| sent.text()),
            namespace: self.database.clone(),
        };
        self.open.tell(command, sent.end_ns, sink);
    }

    fn let_go(&mut self, why: LetGo, sink: &mut Sink<'_>) {
        self.over = true;
        self.open.abandon(self.server.reach(), sink);
        sink(Part::LetGo(why));
    }

    fn push_server(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        let before = self.server.reach();
        let (input, missed) = self.server.open(chunk);
        let Some(mut input) = input else { return };
        if self.over {
            return;
        }
        // Within a pipeline an answer may have ended, and another command have been sent.
        let several = self.open.first().is_some_and(|first| first.state.expected.len() > 1);
        if missed == Missed::Within && several {
            self.open.miss(before, sink);
        }
        self.open.heed(missed, before, sink);
        let begins = input.position;
        loop {
            let read = match self.server.next(&mut input) {
                TextStep::Line(line) => self.replies.line(&line, &mut self.server),
                TextStep::Block(block) => Ok(self.replies.block(&block)),
                // What was not copied of a reply is no loss of commands.
                TextStep::Lost(_) => {
                    self.open.answer(input.at_ns, begins, sink);
                    return;
                }
                TextStep::End => return,
            };
            match read {
                Ok(Some(reply)) => self.reply(&reply, sink),
                Ok(None) => {}
                Err(()) => {
                    self.server.give_up();
                    self.open.miss((input.at_ns, input.position), sink);
                }
            }
        }
    }

    fn reply(&mut self, reply: &Reply, sink: &mut Sink<'_>) {
        let confirms = reply.is_confirmation();
        if (reply.pushed && !confirms) || (self.subscribed && reply.is_message()) {
            return;
        }
        if !self.open.answer(reply.start_ns, reply.position, sink) {
            if !(self.subscribed && confirms) {
                sink(Part::Unpaired);
            }
            return;
        }
        let Some(first) = self.open.first() else { return };
        if let Some(error) = &reply.error {
            first.error.get_or_insert_with(|| error.clone());
        }
        match first.state.expected.front_mut() {
            Some(Expected::Confirmations(left)) if *left > 1 && confirms => {
                *left -= 1;
                return;
            }
            Some(Expected::Selected(database)) if reply.error.is_none() => {
                self.database = Some(Arc::clone(database));
            }
            _ => {}
        }
        first.state.expected.pop_front();
        if first.state.expected.is_empty() && !first.state.open_ended {
            self.open.finish((reply.end_ns, reply.end), EndBy::Framing, sink);
        }
    }
}
