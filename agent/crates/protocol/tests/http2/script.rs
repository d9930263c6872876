//! Turns any bytes into a connection's fate and checks what must hold whatever comes: shared by the property
//! tests and the fuzz target.
//!
//! The first byte picks the origin. Then each byte is an order: put a fragment or the next raw bytes on the call in
//! the making, send the call (whole or shortened) one way or the other, lose bytes, send some again.

use model::Origin;
use protocol::Chunk;
use protocol::grpc::Messages;
use protocol::http2::{Content, Looks, Parser, Part, Sender, detect};

const TAIL_BYTES: usize = 16;

const FRAGMENTS: [&[u8]; 20] = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\0\x04\0\0\0\0\0",
    b"\0\0\x06\x04\0\0\0\0\0\0\x01\0\x01\0\0",
    b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84",
    b"\0\0\x09\x01\x2c\0\0\0\x03\x01\0\0\0\0\x10\x82\x86\0",
    b"\0\0\x01\x01\x04\0\0\0\x01\x88",
    b"\0\0\x02\x01\0\0\0\0\x01\x40\x01",
    b"\0\0\x04\x09\x04\0\0\0\x01a\x01b\xbe",
    b"\0\0\x01\x09\0\0\0\0\x01\x40",
    b"\0\0\x07\0\x01\0\0\0\x01\0\0\0\0\x02ab",
    b"\0\x20\0\0\x08\0\0\0\x01",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0",
    b"\0\0\x08\x05\x0c\0\0\0\x01\x01\0\0\0\x02\x82\xbe\0",
    b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678",
    b"\x3f\xe1\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"\0\0\x40\0\0\0\0\0\x05",
    b"\x88\xbe\xbf\xc0\xff\x80\x01",
];

/// Plays the script; panics where an invariant does not hold.
pub fn run(script: &[u8]) {
    let Some((&first, mut orders)) = script.split_first() else { return };
    let origin = |bit: u8| if first & bit == 0 { Origin::Start } else { Origin::Midway };
    let mut parser = Parser::new(origin(1), origin(2));
    let mut witness = Witness { messages: Some(Messages::new(true)), ..Witness::default() };
    let (mut call, mut positions, mut at_ns) = (Vec::new(), [0_u64; 2], 0);
    while let Some((&order, rest)) = orders.split_first() {
        orders = rest;
        let side = usize::from(order & 1);
        let sender = if side == 0 { Sender::Client } else { Sender::Server };
        match order {
            0..=127 => call.extend_from_slice(FRAGMENTS[usize::from(order) % FRAGMENTS.len()]),
            128..=179 => {
                let (raw, rest) = orders.split_at(orders.len().min(usize::from(order) - 127));
                call.extend_from_slice(raw);
                orders = rest;
            }
            180..=239 => {
                at_ns += 1;
                let limit = if order < 220 { call.len() } else { usize::from(order) - 219 };
                let (head, after) = call.split_at(call.len().min(limit));
                let tail = &after[after.len() - after.len().min(TAIL_BYTES)..];
                let len = call.len() as u64;
                witness.push(
                    &mut parser,
                    sender,
                    &Chunk { at_ns, position: positions[side], len, head, tail },
                );
                positions[side] = positions[side].saturating_add(len);
                call.clear();
            }
            240..=249 => positions[side] = positions[side].saturating_add(u64::from(order)),
            250..=252 => positions[side] = positions[side].saturating_sub(9),
            253.. => {
                at_ns += 1;
                let len = u64::MAX - positions[side];
                let chunk = Chunk { at_ns, position: positions[side], len, head: &call, tail: b"end" };
                witness.push(&mut parser, sender, &chunk);
                positions[side] = u64::MAX;
            }
        }
    }
}

/// Follows the parts.
#[derive(Default)]
struct Witness {
    over: [bool; 2],
    told: [u64; 2],
    pushed: [u64; 2],
    messages: Option<Messages>,
}

impl Witness {
    fn push(&mut self, parser: &mut Parser, sender: Sender, chunk: &Chunk<'_>) {
        let side = usize::from(sender == Sender::Server);
        let looks = detect(chunk.head, chunk.len, chunk.position == 0);
        assert!(looks != Looks::TooShort || chunk.head.len() < 24, "undecided after {}", chunk.head.len());
        self.pushed[side] = self.pushed[side].saturating_add(chunk.len);
        parser.push(sender, chunk, &mut |from, part| {
            assert_eq!(from, sender, "a part of the other direction");
            assert!(!self.over[side], "a part after the end");
            match part {
                Part::Head { start_ns, end_ns, bytes, head, .. } => {
                    assert!(start_ns <= end_ns && end_ns <= chunk.at_ns);
                    assert!(head.headers.iter().count() <= 256);
                    self.told[side] += bytes;
                }
                Part::Data { bytes, content, .. } => {
                    if let Content::Seen(content) = content {
                        assert!(content.len() as u64 <= bytes, "more content than bytes");
                    }
                    self.messages.as_mut().into_iter().for_each(|messages| messages.push(content));
                    self.told[side] += bytes;
                }
                Part::NotHttp => self.over[side] = true,
                Part::Reset { .. } | Part::GoAway { .. } | Part::Lost => {}
            }
            // Lost bytes pass too, but only those between two calls.
            assert!(self.told[side] <= chunk.position.saturating_add(chunk.len), "more bytes than passed");
        });
    }
}
