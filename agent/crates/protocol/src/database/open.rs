//! The exchanges that have begun and not ended. Invariant: they end in the order in which they began, each once;
//! one that was never told of ends in silence.

use std::collections::VecDeque;

use super::{Command, EndBy, Missed, Part, Sink};

/// Most exchanges that wait for an answer.
const MAX_WAITING: usize = 1024;

/// An exchange. `state`: what its protocol must remember of it.
#[derive(Debug)]
pub(crate) struct Waiting<S> {
    pub(crate) state: S,
    pub(crate) error: Option<String>,
    pub(crate) told: bool,
    /// A byte of the answer has passed.
    pub(crate) answered: bool,
    start_ns: u64,
    position: u64,
    request_bytes: u64,
    /// Where its answer begins in the server's direction.
    answer_position: Option<u64>,
}

/// All of a connection's.
#[derive(Debug)]
pub(crate) struct Open<S> {
    queue: VecDeque<Waiting<S>>,
}

impl<S> Open<S> {
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    /// Begins an exchange with the message that begins here. False: too many are open.
    pub(crate) fn begin(&mut self, state: S, start_ns: u64, position: u64) -> bool {
        if self.queue.len() >= MAX_WAITING {
            return false;
        }
        self.queue.push_back(Waiting {
            state,
            error: None,
            told: false,
            answered: false,
            start_ns,
            position,
            request_bytes: 0,
            answer_position: None,
        });
        true
    }

    pub(crate) fn first(&mut self) -> Option<&mut Waiting<S>> {
        self.queue.front_mut()
    }

    pub(crate) fn last(&mut self) -> Option<&mut Waiting<S>> {
        self.queue.back_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// A message of so many bytes belongs to the last exchange.
    pub(crate) fn sent(&mut self, bytes: u64) {
        if let Some(last) = self.queue.back_mut() {
            last.request_bytes = last.request_bytes.saturating_add(bytes);
        }
    }

    /// Tells of a command of the last exchange.
    pub(crate) fn tell(&mut self, command: Command, end_ns: u64, sink: &mut Sink<'_>) {
        let Some(last) = self.queue.back_mut() else { return };
        let joins = std::mem::replace(&mut last.told, true);
        let (start_ns, position) = (last.start_ns, last.position);
        sink(Part::Command { command, joins, start_ns, position, end_ns });
    }

    /// Something of an answer to the first exchange, which begins there. False if there is none, or if it was asked for
    /// later than that: then what is told late answers something that was not seen.
    pub(crate) fn answer(&mut self, start_ns: u64, position: u64, sink: &mut Sink<'_>) -> bool {
        let Some(first) = self.queue.front_mut().filter(|first| first.start_ns <= start_ns) else {
            return false;
        };
        first.answer_position.get_or_insert(position);
        if !std::mem::replace(&mut first.answered, true) && first.told {
            sink(Part::AnswerBegins { at_ns: start_ns });
        }
        true
    }

    /// The first exchange is over; its answer ends before `position`.
    pub(crate) fn finish(&mut self, (end_ns, position): (u64, u64), by: EndBy, sink: &mut Sink<'_>) {
        let Some(first) = self.queue.pop_front() else { return };
        if first.told {
            let Waiting { request_bytes, answer_position, error, .. } = first;
            let response_bytes = answer_position.map_or(0, |begin| position.saturating_sub(begin));
            sink(Part::AnswerEnds { end_ns, request_bytes, response_bytes, error, by });
        }
    }

    /// Nothing more is read: what is open ends in doubt.
    pub(crate) fn abandon(&mut self, end: (u64, u64), sink: &mut Sink<'_>) {
        while !self.queue.is_empty() {
            self.finish(end, EndBy::Lost, sink);
        }
    }

    /// The connection is over: what is open is told as far as it has come.
    pub(crate) fn cut(&mut self, end: (u64, u64), sink: &mut Sink<'_>) {
        while !self.queue.is_empty() {
            self.finish(end, EndBy::Cut, sink);
        }
    }

    /// Answers passed that nobody saw, from this moment and place on: they may be those to what is open, and to commands
    /// that were not seen either.
    pub(crate) fn miss(&mut self, end: (u64, u64), sink: &mut Sink<'_>) {
        sink(Part::Lost);
        self.abandon(end, sink);
    }

    /// What was missed of the answers before a call. If only one exchange waits, and no end was missed, it goes on.
    pub(crate) fn heed(&mut self, missed: Missed, end: (u64, u64), sink: &mut Sink<'_>) {
        match missed {
            Missed::Nothing => {}
            Missed::Within if self.len() <= 1 => {}
            Missed::Within | Missed::Framing => self.miss(end, sink),
        }
    }

    /// The answers' framing was lost and an answer's last word was seen, or the client goes on: if only one
    /// exchange waits, it is over, else nobody knows which are.
    pub(crate) fn presume(&mut self, end: (u64, u64), sink: &mut Sink<'_>) {
        let by = if self.queue.len() == 1 { EndBy::Presumed } else { EndBy::Lost };
        while !self.queue.is_empty() {
            self.finish(end, by, sink);
        }
    }
}
