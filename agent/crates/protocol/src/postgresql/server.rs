//! What the server says (PostgreSQL 17 documentation, sections 55.2 and 55.8). Invariant: an exchange that was
//! synchronised ends with `ReadyForQuery` and nothing else.

use super::message::until_nul;
use super::{Parser, Phase, server_framing};
use crate::Chunk;
use crate::database::{EndBy, Frame, Input, LetGo, Part, Sink, Step, System};

/// `ReadyForQuery` without its last byte, the state of the transaction.
const READY: [u8; 5] = [b'Z', 0, 0, 0, 5];

impl Parser {
    pub(super) fn push_server(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        let before = self.server.reach();
        let (input, missed) = self.server.open(chunk);
        let Some(mut input) = input else { return };
        if self.phase == Phase::Over {
            return;
        }
        if self.phase == Phase::Encryption {
            return self.encryption(&mut input, chunk, sink);
        }
        self.open.heed(missed, before, sink);
        let begins = input.position;
        loop {
            match self.server.next(&mut input, server_framing) {
                Step::Frame(frame) => {
                    self.answer(&frame, sink);
                    if self.phase == Phase::Over {
                        return;
                    }
                }
                Step::Lost => {
                    self.open.answer(input.at_ns, begins, sink);
                    break;
                }
                Step::End => break,
            }
        }
        self.judge_end(&input, sink);
    }

    /// The answer to a wish for encryption.
    fn encryption(&mut self, input: &mut Input<'_>, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        match input.ahead().0.first() {
            Some(b'N') => {
                self.phase = Phase::Startup;
                input.take(1);
                self.server.last_ns = chunk.at_ns;
            }
            Some(b'S' | b'G') => self.let_go(LetGo::Encrypted, sink),
            _ => self.let_go(LetGo::Strange, sink),
        }
    }

    /// The framing was lost in the middle of an answer: `ReadyForQuery` at the end of a call is its end.
    fn judge_end(&mut self, input: &Input<'_>, sink: &mut Sink<'_>) {
        if !self.server.is_lost() {
            return;
        }
        let ending = input.ending();
        let Some((state, before)) = ending.split_last() else { return };
        if !matches!(state, b'I' | b'T' | b'E') || !before.ends_with(&READY) {
            return;
        }
        if self.phase == Phase::Authentication {
            self.phase = Phase::Ready;
        }
        self.server.set_upright();
        if self.open.len() > 0 {
            self.open.presume((input.at_ns, self.server.reach().1), sink);
        }
    }

    fn answer(&mut self, frame: &Frame, sink: &mut Sink<'_>) {
        let kind = frame.header[0];
        if self.phase == Phase::Authentication {
            return self.authentication(kind, frame, sink);
        }
        // Notifications and changed parameters come at any time.
        if matches!(kind, b'A' | b'S' | b'N') && self.open.first().is_none_or(|first| !first.told) {
            return;
        }
        if kind == b'A' {
            return;
        }
        if !self.open.answer(frame.start_ns, frame.position, sink) {
            // The server says why it hangs up.
            if kind != b'E' {
                sink(Part::Unpaired);
            }
            return;
        }
        let Some(first) = self.open.first() else { return };
        match kind {
            b'Z' => {
                self.open.finish((frame.end_ns, frame.end()), EndBy::Framing, sink);
                self.end_flushed((frame.end_ns, frame.end()), sink);
            }
            b'E' => {
                first.state.failed = true;
                first.error.get_or_insert_with(|| code(&frame.payload));
                if is_fatal(&frame.payload) {
                    self.open.finish((frame.end_ns, frame.end()), EndBy::Framing, sink);
                }
            }
            b'1' | b'2' | b'3' | b'T' | b'n' | b'C' | b'I' | b's' => {
                first.state.done += 1;
                self.end_flushed((frame.end_ns, frame.end()), sink);
            }
            _ => {}
        }
    }

    /// Between the startup message and the first `ReadyForQuery`. A refusal is an exchange of its own.
    fn authentication(&mut self, kind: u8, frame: &Frame, sink: &mut Sink<'_>) {
        match kind {
            b'Z' => self.phase = Phase::Ready,
            b'E' => {
                self.phase = Phase::Over;
                self.open.abandon((frame.end_ns, frame.end()), sink);
                let start_ns = self.startup_ns;
                let command = crate::database::Command {
                    system: System::Postgresql,
                    operation: Some("CONNECT".into()),
                    collection: None,
                    summary: None,
                    text: None,
                    namespace: self.database.clone(),
                };
                sink(Part::Command { command, joins: false, start_ns, position: 0, end_ns: start_ns });
                sink(Part::AnswerBegins { at_ns: frame.start_ns });
                let (error, by) = (Some(code(&frame.payload)), EndBy::Framing);
                let (end_ns, response_bytes) = (frame.end_ns, frame.bytes);
                sink(Part::AnswerEnds { end_ns, request_bytes: 0, response_bytes, error, by });
            }
            _ => {}
        }
    }
}

/// The fields of an error: a letter and a text each (section 55.8).
fn field(payload: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = payload;
    while let Some((&letter, text)) = rest.split_first() {
        if letter == 0 {
            return None;
        }
        let text_len = until_nul(text).len();
        if letter == wanted {
            return Some(&text[..text_len]);
        }
        rest = text.get(text_len + 1..)?;
    }
    None
}

/// The SQLSTATE, five letters or digits.
fn code(payload: &[u8]) -> String {
    match field(payload, b'C') {
        Some(code) if code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric) => {
            String::from_utf8_lossy(code).into_owned()
        }
        _ => "_OTHER".to_owned(),
    }
}

/// The session is over: no `ReadyForQuery` will come. The severity that is not translated has the letter V.
fn is_fatal(payload: &[u8]) -> bool {
    matches!(field(payload, b'V').or_else(|| field(payload, b'S')), Some(b"FATAL" | b"PANIC"))
}
