//! Who asks and who answers, judged by the first bytes. Invariant: a bounded number of bytes is held back,
//! and all of them are replayed in order once the roles are known.

use std::borrow::Cow;

use model::{Direction, Origin, SpanKind};
use protocol::Chunk;
use protocol::http1::{Looks, detect};

use super::Passage;
use crate::place::Thread;

/// Most bytes and calls held back while they are too short to judge.
const MAX_HELD_BYTES: usize = 512;
const MAX_HELD_CALLS: usize = 256;
/// Calls, and changes of direction, after which a connection joined midway is taken not to be HTTP. A body
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

#[derive(Debug)]
struct Held {
    direction: Direction,
    thread: Thread,
    at_ns: u64,
    position: u64,
    len: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// What the bytes so far say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing yet.
    Wait,
    /// HTTP, and the watched process is the server or the client.
    Http(SpanKind),
    /// Not HTTP.
    NotHttp,
}

impl Opening {
    /// Judges a passage after those before it. Holds it back if more is needed.
    pub(super) fn judge(&mut self, passage: &Passage<'_>, origin: Origin) -> Judgement {
        self.calls += 1;
        self.turns += u32::from(self.direction.is_some_and(|before| before != passage.direction));
        self.direction = Some(passage.direction);
        let (bytes, position) = self.first_bytes(passage);
        let looks = match detect(&bytes) {
            // Joined in the middle of something: each call may be the beginning of the next message.
            Looks::Neither if bytes.len() > passage.chunk.head.len() && origin == Origin::Midway => {
                self.held.retain(|held| held.direction != passage.direction);
                detect(passage.chunk.head)
            }
            looks => looks,
        };
        match (looks, passage.direction) {
            (Looks::Request, Direction::Received) | (Looks::Response, Direction::Sent) => {
                return Judgement::Http(SpanKind::Server);
            }
            (Looks::Request, Direction::Sent) | (Looks::Response, Direction::Received) => {
                return Judgement::Http(SpanKind::Client);
            }
            (Looks::TooShort, _) if self.has_room(passage) => self.hold(passage),
            // The very first bytes are known and no message begins so.
            _ if origin == Origin::Start && position == 0 && !bytes.is_empty() => return Judgement::NotHttp,
            _ => {}
        }
        if self.calls >= MAX_CALLS || self.turns >= MAX_TURNS { Judgement::NotHttp } else { Judgement::Wait }
    }

    /// The bytes held of this direction with the new ones behind them, and where they begin.
    fn first_bytes<'a>(&self, passage: &Passage<'a>) -> (Cow<'a, [u8]>, u64) {
        let mut bytes = Vec::new();
        let mut position = passage.chunk.position;
        for held in self.held.iter().filter(|held| held.direction == passage.direction) {
            if bytes.is_empty() {
                position = held.position;
            }
            bytes.extend_from_slice(&held.head);
        }
        if bytes.is_empty() {
            return (Cow::Borrowed(passage.chunk.head), position);
        }
        bytes.extend_from_slice(passage.chunk.head);
        (Cow::Owned(bytes), position)
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
    pub(super) fn replay(&self) -> impl Iterator<Item = Passage<'_>> {
        self.held.iter().map(|held| Passage {
            direction: held.direction,
            thread: held.thread,
            chunk: Chunk {
                at_ns: held.at_ns,
                position: held.position,
                len: held.len,
                head: &held.head,
                tail: &held.tail,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use Direction::{Received, Sent};

    use super::*;

    /// The judgement after each of some calls: direction, position, bytes.
    fn judge(origin: Origin, calls: &[(Direction, u64, &str)]) -> Vec<Judgement> {
        let mut opening = Opening::default();
        calls
            .iter()
            .map(|(direction, position, bytes)| {
                let len = bytes.len() as u64;
                let chunk = Chunk { at_ns: 1, position: *position, len, head: bytes.as_bytes(), tail: b"" };
                let thread = Thread { pid: 1, tid: 1 };
                opening.judge(&Passage { direction: *direction, thread, chunk }, origin)
            })
            .collect()
    }

    #[test]
    fn roles() {
        const GET: &str = "GET / HTTP/1.1\r\n";
        const OK: &str = "HTTP/1.1 200 OK\r\n";
        for (origin, calls, want) in [
            (Origin::Start, vec![(Received, 0, GET)], Judgement::Http(SpanKind::Server)),
            (Origin::Start, vec![(Sent, 0, GET)], Judgement::Http(SpanKind::Client)),
            (Origin::Midway, vec![(Sent, 0, OK)], Judgement::Http(SpanKind::Server)),
            (Origin::Midway, vec![(Received, 0, OK)], Judgement::Http(SpanKind::Client)),
            (Origin::Start, vec![(Sent, 0, "\x16\x03\x01\x02\x00")], Judgement::NotHttp),
            (Origin::Start, vec![(Received, 0, "220 smtp ready\r\n")], Judgement::NotHttp),
            (Origin::Midway, vec![(Received, 0, "\x16\x03\x01\x02\x00")], Judgement::Wait),
            (Origin::Midway, vec![(Received, 0, "<body>"), (Sent, 0, OK)], Judgement::Http(SpanKind::Server)),
            (Origin::Start, vec![(Received, 900, "lost the beginning")], Judgement::Wait),
        ] {
            assert_eq!(judge(origin, &calls).last(), Some(&want), "{calls:?}");
        }
    }

    #[test]
    fn a_request_in_single_bytes() {
        let text = "GET / HTTP/1.1\r\n";
        let calls: Vec<_> = (0..text.len()).map(|at| (Received, at as u64, &text[at..=at])).collect();
        let judgements = judge(Origin::Start, &calls);
        let decided = judgements.iter().position(|judgement| *judgement != Judgement::Wait).unwrap();
        assert_eq!(judgements[decided], Judgement::Http(SpanKind::Server));
    }

    #[test]
    fn a_stranger_joined_midway_is_given_up() {
        let calls: Vec<_> =
            (0..20).map(|at| (if at % 2 == 0 { Sent } else { Received }, at, "\0\0")).collect();
        let judgements = judge(Origin::Midway, &calls);
        assert_eq!(judgements.iter().position(|judgement| *judgement == Judgement::NotHttp), Some(8));
        let calls: Vec<_> = (0..5000).map(|at| (Sent, at, "\0\0")).collect();
        let judgements = judge(Origin::Midway, &calls);
        assert_eq!(judgements.iter().position(|judgement| *judgement == Judgement::NotHttp), Some(4095));
    }
}
