//! What the server says. Invariant: an exchange ends with the last packet of its answer.

use super::answer::{self, Heard};
use super::packet::{self, framing, greeting_framing};
use super::{Agreement, MAX_STATEMENTS, Parser, Phase};
use crate::Chunk;
use crate::database::{Command, EndBy, Frame, Input, LetGo, Missed, Part, Sink, Step, System};

impl Parser {
    pub(super) fn push_server(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        let before = self.server.reach();
        let (input, missed) = self.server.open(chunk);
        let Some(mut input) = input else { return };
        if self.phase == Phase::Over {
            return;
        }
        if self.phase == Phase::Ready {
            self.open.heed(missed, before, sink);
        } else if missed == Missed::Framing {
            self.lose_server(sink);
        }
        let begins = input.position;
        while self.phase != Phase::Over {
            let framing = if self.phase == Phase::Greeting { greeting_framing } else { framing };
            match self.server.next(&mut input, framing) {
                Step::Frame(frame) => {
                    let continues = std::mem::replace(&mut self.continued[1], packet::is_continued(&frame));
                    if continues {
                        self.open.answer(frame.start_ns, frame.position, sink);
                    } else {
                        self.answer(&frame, sink);
                    }
                }
                // What was not copied of an answer is no loss of commands.
                Step::Lost if self.phase == Phase::Ready => {
                    self.open.answer(input.at_ns, begins, sink);
                    break;
                }
                Step::Lost => self.lose_server(sink),
                Step::End => break,
            }
        }
        self.judge_end(&input, sink);
    }

    fn lose_server(&mut self, sink: &mut Sink<'_>) {
        if self.phase != Phase::Ready {
            return self.let_go(LetGo::Strange, sink);
        }
        sink(Part::Lost);
    }

    /// The framing was lost in the middle of rows: the packet that ends them may stand at the end of a call.
    fn judge_end(&mut self, input: &Input<'_>, sink: &mut Sink<'_>) {
        if self.phase != Phase::Ready || !self.server.is_lost() {
            return;
        }
        let in_rows = self.open.first().is_some_and(|first| first.state.answering.may_be_in_rows());
        if in_rows && packet::ends_rows(input.ending()) {
            self.server.set_upright();
            self.continued[1] = false;
            self.open.presume((input.at_ns, self.server.reach().1), sink);
        }
    }

    fn answer(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        match self.phase {
            Phase::Greeting => self.greeting(frame, sink),
            Phase::Login => self.let_go(LetGo::Strange, sink),
            Phase::Authentication => self.authentication(frame, sink),
            Phase::Ready => self.heard(frame, sink),
            Phase::Over => {}
        }
    }

    fn greeting(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        self.greeted_ns = frame.start_ns;
        // A server with too many connections refuses in place of a greeting.
        if let Some(error) = answer::error_code(&frame.payload) {
            return self.refused(error, frame, sink);
        }
        match Agreement::greeted(&frame.payload) {
            Some((agreement, mariadb)) => {
                self.agreement = agreement;
                self.system = if mariadb { System::Mariadb } else { System::Mysql };
                self.phase = Phase::Login;
            }
            None => self.let_go(LetGo::Strange, sink),
        }
    }

    fn authentication(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        if let Some(error) = answer::error_code(&frame.payload) {
            return self.refused(error, frame, sink);
        }
        if frame.payload.first() != Some(&0) {
            return;
        }
        self.phase = Phase::Ready;
        if self.agreement.compressed {
            self.let_go(LetGo::Compressed, sink);
        }
    }

    /// The server does not let the client in: an exchange of its own.
    fn refused(&mut self, error: String, frame: &Frame, sink: &mut Sink<'_>) {
        self.phase = Phase::Over;
        let start_ns = self.greeted_ns;
        let command = Command {
            system: self.system,
            operation: Some("CONNECT".into()),
            collection: None,
            summary: None,
            text: None,
            namespace: self.database.clone(),
        };
        sink(Part::Command { command, joins: false, start_ns, position: 0, end_ns: start_ns });
        sink(Part::AnswerBegins { at_ns: frame.start_ns });
        let (end_ns, response_bytes) = (frame.end_ns, frame.bytes);
        let (error, by) = (Some(error), EndBy::Framing);
        sink(Part::AnswerEnds { end_ns, request_bytes: 0, response_bytes, error, by });
    }

    fn heard(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        if !self.open.answer(frame.start_ns, frame.position, sink) {
            // Why the server hangs up, or the end of definitions that nobody could foresee.
            if answer::error_code(&frame.payload).is_none() && !packet::is_eof(frame) {
                sink(Part::Unpaired);
            }
            return;
        }
        let Some(first) = self.open.first() else { return };
        match first.state.answering.hear(frame, self.agreement.deprecate_eof) {
            Heard::More => {}
            Heard::Prepared(id) => self.remember(id),
            Heard::PreparedAll(id) => {
                self.remember(id);
                self.open.finish((frame.end_ns, frame.end()), EndBy::Framing, sink);
            }
            Heard::End => {
                if let Some(database) = first.state.uses.take() {
                    self.database = Some(database);
                }
                self.open.finish((frame.end_ns, frame.end()), EndBy::Framing, sink);
            }
            Heard::Error(error) => {
                first.error.get_or_insert(error);
                self.open.finish((frame.end_ns, frame.end()), EndBy::Framing, sink);
            }
            Heard::Strange => {
                self.server.give_up();
                self.open.miss((frame.end_ns, frame.end()), sink);
            }
        }
    }

    fn remember(&mut self, id: u32) {
        let Some(found) = self.open.first().and_then(|first| first.state.prepares.take()) else { return };
        if self.statements.len() >= MAX_STATEMENTS
            && let Some(oldest) = self.statements.iter().min_by_key(|(_, (age, _))| *age).map(|(id, _)| *id)
        {
            self.statements.remove(&oldest);
        }
        self.prepared += 1;
        self.statements.insert(id, (self.prepared, found));
    }
}
