//! Memcached's text protocol, classic and meta commands (memcached 1.6, doc/protocol.txt).
//!
//! An exchange is the commands that are sent before the first line of an answer to them has passed, as a batch if
//! there are several. A command that says `noreply` is an exchange that ends as it was sent. Meta commands with
//! the flag `q` are answered only sometimes; they end with the answer to the `mn` that follows them, and so does their batch.

mod command;

use std::collections::VecDeque;

use model::Origin;

use crate::Chunk;
use crate::database::{
    Command, EndBy, LetGo, Looks, Missed, Open, Options, Part, Sender, Sink, System, TextLane, TextStep,
};
use command::{Answer, Asks, Verb};
pub(crate) use command::{looks_like_answer, looks_like_command};

/// Most commands of one exchange that wait for an answer.
const MAX_EXPECTED: usize = 65536;

/// What is remembered of an exchange.
#[derive(Debug, Default)]
struct Batch {
    expected: VecDeque<Answer>,
    /// How many answers are due is not known.
    open_ended: bool,
    /// Commands that are answered only sometimes are among them.
    quiet: bool,
    /// When the last command was sent.
    sent_ns: u64,
}

impl Batch {
    /// Another command may belong to it: not behind the `mn` that ends commands which are answered only sometimes.
    fn goes_on(&self) -> bool {
        self.expected.back().is_some_and(|last| !self.quiet || *last != Answer::Noop)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Parser {
    options: Options,
    over: bool,
    client: TextLane,
    server: TextLane,
    /// The command whose data are passing.
    storing: Option<Asks>,
    open: Open<Batch>,
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
            storing: None,
            open: Open::new(),
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
        if input.begins && command::is_binary(input.ahead().0, input.left()) {
            return self.let_go(LetGo::Unsupported, sink);
        }
        if self.client.is_lost()
            && input.begins
            && looks_like_command(input.ahead().0, input.left()) != Looks::Other
        {
            self.client.set_upright();
            self.storing = None;
        }
        while !self.over {
            match self.client.next(&mut input) {
                TextStep::Line(line) => {
                    let Some(asks) = Asks::read(&line) else {
                        return self.let_go(LetGo::Strange, sink);
                    };
                    match asks.data_bytes {
                        Some(bytes) => {
                            self.client.expect_block(bytes + 2, 0);
                            self.storing = Some(asks);
                        }
                        None => self.command(&asks, sink),
                    }
                }
                TextStep::Block(block) => {
                    if let Some(mut asks) = self.storing.take() {
                        asks.bytes = asks.bytes.saturating_add(block.len);
                        asks.end_ns = block.end_ns;
                        self.command(&asks, sink);
                        if block.unseen_end {
                            self.open.miss((asks.end_ns, self.server.reach().1), sink);
                        }
                    }
                }
                TextStep::Lost(line) => {
                    // A line with many keys, which ends with the call, is one command all the same.
                    if input.ending().ends_with(b"\r\n")
                        && let Some(asks) = Asks::read(&line).filter(|asks| asks.verb.takes_many_keys())
                    {
                        self.client.set_upright();
                        self.command(&asks, sink);
                    } else {
                        self.lose_client(sink);
                    }
                }
                TextStep::End => return,
            }
        }
    }

    fn lose_client(&mut self, sink: &mut Sink<'_>) {
        sink(Part::Lost);
        if let Some(asks) = self.storing.take() {
            self.command(&asks, sink);
        }
        if let Some(last) = self.open.last().filter(|last| !last.answered) {
            last.state.open_ended = true;
        }
    }

    fn command(&mut self, asks: &Asks, sink: &mut Sink<'_>) {
        match asks.verb {
            Verb::Quit => return,
            Verb::Watch => return self.let_go(LetGo::Unsupported, sink),
            _ => {}
        }
        let open_ended = self.open.first().is_some_and(|first| first.state.open_ended && first.answered);
        if self.server.is_lost() || open_ended {
            if self.open.len() > 0 {
                self.open.presume(self.server.reach(), sink);
            }
            if self.server.is_lost() {
                self.server.set_upright();
            }
        }
        let joins = self.open.last().is_some_and(|last| !last.answered && last.state.goes_on());
        if !joins && !self.open.begin(Batch::default(), asks.start_ns, asks.position) {
            return self.let_go(LetGo::Overrun, sink);
        }
        let Some(last) = self.open.last() else { return };
        last.state.sent_ns = asks.end_ns;
        last.state.quiet |= asks.quiet;
        if !asks.silent {
            last.state.expected.push_back(asks.answer());
            // Without the command that is always answered nobody knows when the others are done.
            last.state.open_ended |= last.state.quiet && asks.verb != Verb::MetaNoop;
            last.state.open_ended &= !(last.state.quiet && asks.verb == Verb::MetaNoop);
        }
        if last.state.expected.len() > MAX_EXPECTED {
            return self.let_go(LetGo::Overrun, sink);
        }
        self.open.sent(asks.bytes);
        let command = Command {
            system: System::Memcached,
            operation: Some(asks.verb.as_str().into()),
            collection: None,
            summary: None,
            text: self.options.statements.then(|| asks.text()),
            namespace: None,
        };
        self.open.tell(command, asks.end_ns, sink);
        self.settle(sink);
    }

    /// Ends the exchanges at the front that wait for nothing.
    fn settle(&mut self, sink: &mut Sink<'_>) {
        while let Some(first) = self.open.first()
            && first.state.expected.is_empty()
            && !first.state.open_ended
        {
            let sent_ns = first.state.sent_ns;
            self.open.finish((sent_ns, 0), EndBy::NoAnswer, sink);
        }
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
        // Within a batch an answer may have ended, and another command have been sent.
        let several = self.open.first().is_some_and(|first| first.state.expected.len() > 1);
        if missed == Missed::Within && several {
            self.open.miss(before, sink);
        }
        self.open.heed(missed, before, sink);
        let begins = input.position;
        loop {
            match self.server.next(&mut input) {
                TextStep::Line(line) => {
                    if !self.open.answer(line.start_ns, line.position, sink) {
                        // Also the error that answers a command with `noreply`.
                        sink(Part::Unpaired);
                    }
                    if let Some(bytes) = command::value_bytes(&line.bytes) {
                        self.server.expect_block(bytes + 2, 0);
                        continue;
                    }
                    self.answer(&line.bytes, line.end(), sink);
                }
                TextStep::Block(block) => {
                    self.open.answer(block.start_ns, block.position, sink);
                    if self
                        .open
                        .first()
                        .is_some_and(|first| first.state.expected.front() == Some(&Answer::Meta))
                    {
                        self.answer(b"VA", block.end(), sink);
                    }
                }
                TextStep::Lost(_) => {
                    self.open.answer(input.at_ns, begins, sink);
                    // `END` behind values whose framing was lost.
                    let values = self
                        .open
                        .first()
                        .is_some_and(|first| first.state.expected.front() == Some(&Answer::Values));
                    if values && self.open.len() == 1 && input.ending().ends_with(b"\r\nEND\r\n") {
                        self.server.set_upright();
                        self.open.presume((input.at_ns, self.server.reach().1), sink);
                    }
                    return;
                }
                TextStep::End => return,
            }
        }
    }

    /// A line that is, or ends, an answer.
    fn answer(&mut self, line: &[u8], end: (u64, u64), sink: &mut Sink<'_>) {
        let Some(first) = self.open.first() else { return };
        let error = command::error_code(line);
        if let Some(error) = error {
            first.error.get_or_insert_with(|| error.to_owned());
        }
        let batch = &mut first.state;
        if batch.quiet {
            if line == b"MN" {
                while let Some(answer) = batch.expected.pop_front()
                    && answer != Answer::Noop
                {}
            } else {
                return;
            }
        } else {
            if batch.expected.front() == Some(&Answer::Values)
                && error.is_none()
                && line.starts_with(b"STAT ")
            {
                return;
            }
            batch.expected.pop_front();
        }
        if batch.expected.is_empty() && !batch.open_ended {
            self.open.finish(end, EndBy::Framing, sink);
            self.settle(sink);
        }
    }
}
