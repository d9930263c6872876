//! Turns any bytes into a connection's fate and checks what must hold whatever comes: shared by the property
//! tests and the fuzz targets.
//!
//! The first byte picks one of the protocols in question, and the origin. Then each byte is an order: put a fragment on the call in the making,
//! send the call (whole or shortened), lose bytes, send some again.

use std::collections::VecDeque;

use model::Origin;
use protocol::Chunk;
use protocol::database::{First, Kind, Looks, Options, Parser, Part, Sender};

const TAIL_BYTES: usize = 16;

pub const KINDS: [Kind; 4] = [Kind::Postgresql, Kind::Mysql, Kind::Redis, Kind::Memcached];

const FRAGMENTS: [&[u8]; 40] = [
    b"\0\0\0\x18\0\x03\0\0user\0a\0database\0",
    b"d\0\0",
    b"\0\0\0\x08\x04\xd2\x16\x2f",
    b"N",
    b"R\0\0\0\x08\0\0\0\0",
    b"Z\0\0\0\x05I",
    b"Q\0\0\0\x15SELECT a FROM t\0",
    b"P\0\0\0\x14n\0SELECT 1\0\0\0",
    b"B\0\0\0\x0d\0n\0\0\0\0\0\0",
    b"E\0\0\0\x09\0\0\0\0\0",
    b"S\0\0\0\x04",
    b"H\0\0\0\x04",
    b"D\0\0\x20\0xx",
    b"C\0\0\0\x07OK\0",
    b"E\0\0\0\x0fVFATAL\0\0\0\0\0",
    b"\x3d\0\0\0\x0a8.4\0\x07\0\0\x0012345678\0\x08\xa2\x2d\x02\0\x08\x01\x15\0\0\0\0\0\0\0\0\0\x00123456789012\0xxxxxxx",
    b"\x28\0\0\x01\x08\xa2\x08\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0app\0\0s\0\0",
    b"\x07\0\0\x01\0\0\0\x02\0\0\0",
    b"\x10\0\0\0\x03SELECT a FROM t",
    b"\x09\0\0\0\x16SELECT 1",
    b"\x0c\0\0\x01\0\x05\0\0\0\x01\0\x01\0\0\0\0",
    b"\x0a\0\0\0\x17\x05\0\0\0\0\x01\0\0\0",
    b"\x01\0\0\x01\x01",
    b"\x05\0\0\x03\xfe\0\0\x02\0",
    b"\x07\0\0\x04\xfe\0\0\x08\0\0\0",
    b"\x09\0\0\x01\xff\x48\x04#42S02",
    b"\xff\xff\xff\0",
    b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
    b"*1\r\n$9\r\nSUBSCRIBE\r\n",
    b"$100\r\n",
    b"*3\r\n",
    b"+OK\r\n",
    b"-ERR x\r\n",
    b">2\r\n",
    b"|1\r\n",
    b"get a\r\n",
    b"set a 0 0 5\r\nhello\r\n",
    b"VALUE a 0 5\r\nhello\r\n",
    b"END\r\n",
    b"mg a q\r\nmn\r\n",
];

/// Plays the script to the parser of one of these protocols; panics where an invariant does not hold.
pub fn run(kinds: &[Kind], script: &[u8]) {
    let Some((&first, orders)) = script.split_first() else { return };
    let origin = if first & 1 == 0 { Origin::Start } else { Origin::Midway };
    let options = Options { statements: first & 2 == 0 };
    let kind = kinds[usize::from(first >> 2) % kinds.len()];
    let parser = Parser::new(kind, origin, options);
    let mut play = Play { parser, witness: Witness::default(), payload: Vec::new(), positions: [0; 2] };
    let mut orders = orders.iter().copied();
    while let Some(order) = orders.next() {
        let mut argument = || orders.next().unwrap_or(0);
        match order {
            0..=31 => play.payload.extend(orders.by_ref().take(usize::from(order))),
            32..=191 => play.payload.extend_from_slice(FRAGMENTS[usize::from(order - 32) % FRAGMENTS.len()]),
            192..=207 => play.send(Sender::Client, usize::MAX),
            208..=223 => play.send(Sender::Server, usize::MAX),
            224..=227 => play.send(Sender::Client, usize::from(argument())),
            228..=231 => play.send(Sender::Server, usize::from(argument())),
            232..=235 => play.step(order, u64::from(argument())),
            236..=238 => play.step(order, u64::from(argument()) << 56),
            239..=243 => {
                let back = u64::from(argument());
                let position = &mut play.positions[usize::from(order & 1)];
                *position = position.saturating_sub(back);
            }
            244..=250 => {
                let len = play.payload.len() + 256 * usize::from(argument());
                play.payload.resize(len, b'x');
            }
            251..=255 => play.payload.clear(),
        }
    }
    play.send(Sender::Client, usize::MAX);
    play.send(Sender::Server, usize::MAX);
    let Play { mut parser, mut witness, .. } = play;
    parser.cut(&mut |part| witness.see(&part));
    assert!(witness.open.is_empty(), "an exchange that never ends");
}

/// Follows the parts.
#[derive(Default)]
struct Witness {
    /// Where the open exchanges began.
    open: VecDeque<u64>,
    over: bool,
    now_ns: u64,
}

impl Witness {
    fn see(&mut self, part: &Part) {
        assert!(!self.over, "a part after the last");
        match part {
            Part::Command { joins, start_ns, end_ns, position, command } => {
                assert!(start_ns <= end_ns && *end_ns <= self.now_ns, "times out of order");
                if *joins {
                    assert_eq!(self.open.back(), Some(position), "joins nothing");
                } else {
                    self.open.push_back(*position);
                }
                assert!(command.operation.as_ref().is_none_or(|name| name.len() <= 40));
            }
            Part::AnswerBegins { at_ns } => {
                assert!(!self.open.is_empty(), "an answer to nothing");
                assert!(*at_ns <= self.now_ns);
            }
            Part::AnswerEnds { end_ns, .. } => {
                assert!(self.open.pop_front().is_some(), "an end of nothing");
                assert!(*end_ns <= self.now_ns, "an end to come");
            }
            Part::Unpaired | Part::Lost => {}
            Part::LetGo(_) => {
                assert!(self.open.is_empty(), "let go with open exchanges");
                self.over = true;
            }
        }
    }
}

/// A connection while its script is played.
struct Play {
    parser: Parser,
    witness: Witness,
    payload: Vec<u8>,
    positions: [u64; 2],
}

impl Play {
    fn step(&mut self, order: u8, bytes: u64) {
        let position = &mut self.positions[usize::from(order & 1)];
        *position = position.saturating_add(bytes);
    }

    /// Sends the call, of which so many first bytes are copied.
    fn send(&mut self, sender: Sender, copied: usize) {
        let payload = std::mem::take(&mut self.payload);
        let (head, rest) = payload.split_at(copied.min(payload.len()));
        let tail = if copied == 0 { &[][..] } else { &rest[rest.len() - rest.len().min(TAIL_BYTES)..] };
        let position = &mut self.positions[usize::from(sender == Sender::Server)];
        let chunk = Chunk {
            at_ns: self.witness.now_ns + 1,
            position: *position,
            len: payload.len() as u64,
            head,
            tail,
        };
        *position = position.saturating_add(chunk.len);
        self.witness.now_ns += 1;
        let witness = &mut self.witness;
        let first = First { sender, bytes: head, len: chunk.len, begins: chunk.position == 0, asked: tail };
        let sure = KINDS.into_iter().filter(|kind| kind.looks(&first) == Looks::Surely).count();
        assert!(sure <= 1, "two protocols at once");
        self.parser.push(sender, &chunk, &mut |part| witness.see(&part));
    }
}
