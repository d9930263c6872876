//! Who asks and who answers, judged by the first bytes. Invariant: a bounded number of bytes is held back,
//! and all of them are replayed in order once the roles are known.

use std::borrow::Cow;

use model::{Address, Direction, Origin, SpanKind};
use protocol::Chunk;

use super::Passage;
use super::detectors::{Detector, First, Guess, ask};
use crate::place::Thread;

/// Most bytes and calls held back while they are too short to judge.
const MAX_HELD_BYTES: usize = 512;
const MAX_HELD_CALLS: usize = 256;
/// Calls, and changes of direction, after which a connection joined midway is taken for a stranger. A body
/// that was under way moves in one direction only.
const MAX_CALLS: u32 = 4096;
const MAX_TURNS: u32 = 8;

/// A connection that has not shown yet what it is.
#[derive(Debug, Default)]
pub(super) struct Opening {
    held: Vec<Held>,
    calls: u32,
    turns: u32,
    direction: Option<Direction>,
}

/// A call held back.
#[derive(Debug)]
pub(super) struct Held {
    direction: Direction,
    thread: Thread,
    at_ns: u64,
    position: u64,
    len: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// What the bytes so far say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Judgement {
    /// Nothing yet.
    Wait,
    /// This protocol, and the watched process is the server or the client.
    Begin(&'static Detector, SpanKind),
    /// No protocol that is known.
    Stranger,
}

impl Opening {
    /// Judges a passage after those before it. Holds it back if more is needed.
    pub(super) fn judge(&mut self, passage: &Passage<'_>, origin: Origin, peer: &Address) -> Judgement {
        self.calls += 1;
        self.turns += u32::from(self.direction.is_some_and(|before| before != passage.direction));
        let direction = passage.direction;
        self.direction = Some(direction);
        let (bytes, position, len) = self.first_bytes(passage);
        let other: Vec<u8> =
            self.held_of(!is_sent(direction)).flat_map(|held| held.head.iter().copied()).collect();
        // The very first bytes are known.
        let begins = origin == Origin::Start && position == 0;
        let answer = match ask(&First { direction, bytes: &bytes, len, other: &other, begins, peer }) {
            // Joined in the middle of something: each call may be the beginning of the next message.
            (Guess::No, _) if bytes.len() > passage.chunk.head.len() && origin == Origin::Midway => {
                self.held.retain(|held| held.direction != direction);
                let (bytes, len) = (passage.chunk.head, passage.chunk.len);
                ask(&First { direction, bytes, len, other: &other, begins: false, peer })
            }
            answer => answer,
        };
        match answer {
            (Guess::Yes(kind), Some(detector)) => return Judgement::Begin(detector, kind),
            (Guess::Maybe, _) if self.has_room(passage) => self.hold(passage),
            // Nothing that is known begins so.
            _ if begins && !bytes.is_empty() => return Judgement::Stranger,
            _ => {}
        }
        if self.calls >= MAX_CALLS || self.turns >= MAX_TURNS { Judgement::Stranger } else { Judgement::Wait }
    }

    /// The bytes held of this direction with the new ones behind them, where they begin and how many there are.
    fn first_bytes<'a>(&self, passage: &Passage<'a>) -> (Cow<'a, [u8]>, u64, u64) {
        let mut bytes = Vec::new();
        let (mut position, mut len) = (passage.chunk.position, passage.chunk.len);
        for held in self.held_of(is_sent(passage.direction)) {
            if bytes.is_empty() {
                position = held.position;
            }
            len = len.saturating_add(held.len);
            bytes.extend_from_slice(&held.head);
        }
        if bytes.is_empty() {
            return (Cow::Borrowed(passage.chunk.head), position, len);
        }
        bytes.extend_from_slice(passage.chunk.head);
        (Cow::Owned(bytes), position, len)
    }

    fn held_of(&self, sent: bool) -> impl Iterator<Item = &Held> {
        self.held.iter().filter(move |held| is_sent(held.direction) == sent)
    }

    fn has_room(&self, passage: &Passage<'_>) -> bool {
        let bytes: usize = self.held.iter().map(|held| held.head.len() + held.tail.len()).sum();
        let more = passage.chunk.head.len() + passage.chunk.tail.len();
        more > 0 && bytes + more <= MAX_HELD_BYTES && self.held.len() < MAX_HELD_CALLS
    }

    fn hold(&mut self, passage: &Passage<'_>) {
        let Chunk { at_ns, position, len, head, tail } = passage.chunk;
        let (head, tail) = (head.to_vec(), tail.to_vec());
        self.held.push(Held {
            direction: passage.direction,
            thread: passage.thread,
            at_ns,
            position,
            len,
            head,
            tail,
        });
    }

    /// Bytes that passed in the calls held back.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held.iter().map(|held| held.len).sum()
    }

    /// What was held back, in order.
    pub(super) fn into_held(self) -> Vec<Held> {
        self.held
    }
}

fn is_sent(direction: Direction) -> bool {
    direction == Direction::Sent
}

impl Held {
    pub(super) fn passage(&self) -> Passage<'_> {
        let Self { direction, thread, at_ns, position, len, ref head, ref tail } = *self;
        Passage { direction, thread, chunk: Chunk { at_ns, position, len, head, tail } }
    }
}

#[cfg(test)]
mod tests {
    use Direction::{Received, Sent};

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Said {
        Wait,
        Http(SpanKind),
        NotHttp,
    }

    /// The judgement after each of some calls: direction, position, bytes.
    fn judge(origin: Origin, calls: &[(Direction, u64, &str)]) -> Vec<Said> {
        let mut opening = Opening::default();
        calls
            .iter()
            .map(|(direction, position, bytes)| {
                let len = bytes.len() as u64;
                let chunk = Chunk { at_ns: 1, position: *position, len, head: bytes.as_bytes(), tail: b"" };
                let thread = Thread {
                    pid: 1,
                    tid: 1,
                    identity: model::Identity::Thread,
                    timing: model::Timing::default(),
                };
                let passage = Passage { direction: *direction, thread, chunk };
                match opening.judge(&passage, origin, &Address::Unknown) {
                    Judgement::Wait => Said::Wait,
                    Judgement::Begin(_, kind) => Said::Http(kind),
                    Judgement::Stranger => Said::NotHttp,
                }
            })
            .collect()
    }

    #[test]
    fn roles() {
        const GET: &str = "GET / HTTP/1.1\r\n";
        const OK: &str = "HTTP/1.1 200 OK\r\n";
        for (origin, calls, want) in [
            (Origin::Start, vec![(Received, 0, GET)], Said::Http(SpanKind::Server)),
            (Origin::Start, vec![(Sent, 0, GET)], Said::Http(SpanKind::Client)),
            (Origin::Midway, vec![(Sent, 0, OK)], Said::Http(SpanKind::Server)),
            (Origin::Midway, vec![(Received, 0, OK)], Said::Http(SpanKind::Client)),
            (Origin::Start, vec![(Sent, 0, "\x16\x03\x01\x02\x00")], Said::NotHttp),
            (Origin::Start, vec![(Received, 0, "220 smtp ready\r\n")], Said::NotHttp),
            (Origin::Midway, vec![(Received, 0, "\x16\x03\x01\x02\x00")], Said::Wait),
            (Origin::Midway, vec![(Received, 0, "<body>"), (Sent, 0, OK)], Said::Http(SpanKind::Server)),
            (Origin::Start, vec![(Received, 900, "lost the beginning")], Said::Wait),
        ] {
            assert_eq!(judge(origin, &calls).last(), Some(&want), "{calls:?}");
        }
    }

    #[test]
    fn a_request_in_single_bytes() {
        let text = "GET / HTTP/1.1\r\n";
        let calls: Vec<_> = (0..text.len()).map(|at| (Received, at as u64, &text[at..=at])).collect();
        let judgements = judge(Origin::Start, &calls);
        let decided = judgements.iter().position(|judgement| *judgement != Said::Wait).unwrap();
        assert_eq!(judgements[decided], Said::Http(SpanKind::Server));
    }

    #[test]
    fn a_stranger_joined_midway_is_given_up() {
        let calls: Vec<_> =
            (0..20).map(|at| (if at % 2 == 0 { Sent } else { Received }, at, "\0\0")).collect();
        let judgements = judge(Origin::Midway, &calls);
        assert_eq!(judgements.iter().position(|judgement| *judgement == Said::NotHttp), Some(8));
        let calls: Vec<_> = (0..5000).map(|at| (Sent, at, "\0\0")).collect();
        let judgements = judge(Origin::Midway, &calls);
        assert_eq!(judgements.iter().position(|judgement| *judgement == Said::NotHttp), Some(4095));
    }
}
