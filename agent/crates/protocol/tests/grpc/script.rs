//! Any bytes as the content of a gRPC stream, cut by its own first bytes, some of it not copied: the count of messages is
//! that of a plain reading of all the bytes, or there is none.

use protocol::grpc::Messages;
use protocol::http2::Content;

/// What stands in front of a message.
const PREFIX_BYTES: usize = 5;

/// Reads a script: an order, and the content it is about. An order is a kind in the two low bits, and a length above them.
pub fn run(script: &[u8]) {
    let (mut messages, mut all, mut rest) = (Messages::new(true), Vec::new(), script);
    while let [order, more @ ..] = rest {
        let length = usize::from(order >> 2);
        rest = more;
        match order & 3 {
            // These bytes, copied or not.
            kind @ (0 | 1) => {
                let (piece, after) = more.split_at(length.min(more.len()));
                all.extend_from_slice(piece);
                rest = after;
                let missed = Content::Missed(piece.len() as u64);
                messages.push(if kind == 0 { Content::Seen(piece) } else { missed });
            }
            // A message of zeros, of which so much at the end was not copied.
            2 => {
                let bytes = 8 * length;
                let message = [&[0], &(bytes as u32).to_be_bytes()[..], &vec![0; bytes]].concat();
                let seen = &message[..PREFIX_BYTES + bytes / 2];
                messages.push(Content::Seen(seen));
                messages.push(Content::Missed((message.len() - seen.len()) as u64));
                all.extend_from_slice(&message);
            }
            _ if length == 0 => messages.lose(),
            _ if length == 1 => messages.push(Content::Unknown),
            _ => {}
        }
        let count = messages.count();
        assert!(count.is_none() || count == plain_count(&all), "{count:?} of {}", all.escape_ascii());
    }
}

/// Messages that are over in `bytes`. `None`: something in it is none.
fn plain_count(mut bytes: &[u8]) -> Option<u64> {
    let mut count = 0;
    while let Some((&[flag, ref length @ ..], rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() {
        if flag > 1 {
            return None;
        }
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let Some(after) = rest.get(length..) else { return Some(count) };
        count += 1;
        bytes = after;
    }
    Some(count)
}

#[test]
fn some_scripts() {
    for script in [
        &b""[..],
        b"\x14\0\0\0\0\0",
        b"\x18\0\0\0\0\x02a\x05b\x0a",
        b"\x14\0\0\0\0\x02\x0dabc\x14\0\0\0\0\0",
        b"\xfe\x14\0\0\0\x01\0\xfe\x03\xfe",
        b"\x18{\"a\":1",
    ] {
        run(script);
    }
}
