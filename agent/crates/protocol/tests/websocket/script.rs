//! Any bytes, cut into chunks by their own first bytes, some of them not copied: the invariants hold.

use protocol::Chunk;
use protocol::websocket::{FrameParser, Part, Writer};

/// Reads `bytes` in pieces. The first byte chooses the writer; then each piece begins with a byte that says how long
/// it is and one that says how much of it was copied.
pub fn run(bytes: &[u8]) {
    let Some((&first, mut rest)) = bytes.split_first() else { return };
    let mut parser = FrameParser::new(if first & 1 == 0 { Writer::Client } else { Writer::Server });
    let (mut position, mut lost, mut payload) = (u64::from(first >> 7), false, 0_u64);
    let mut at_ns = 0;
    while let [length, copied, more @ ..] = rest {
        let taken = usize::from(*length).min(more.len());
        let copied = usize::from(*copied).min(taken);
        let (piece, after) = more.split_at(taken);
        rest = after;
        at_ns += 1;
        let chunk = Chunk { at_ns, position, len: taken as u64, head: &piece[..copied], tail: b"" };
        parser.push(&chunk, &mut |part| {
            assert!(!lost, "nothing follows a loss");
            match part {
                Part::Frame(frame) => {
                    assert!(frame.start_ns <= frame.end_ns && frame.end_ns == at_ns);
                    assert!(frame.control.is_none_or(|control| control.len() as u64 == frame.payload_bytes));
                    payload = payload.saturating_add(frame.payload_bytes);
                }
                Part::Lost(_) => lost = true,
            }
        });
        position += taken as u64;
        assert!(payload <= position, "no more payload than bytes");
    }
}

#[test]
fn some_scripts() {
    for script in [
        &b""[..],
        b"\0",
        b"\x01\x09\x09\x81\x05hello\x89\0",
        b"\x81\x02\x02\x81\x05",
        b"\0\xff\x03\x81\x85abcdhello",
    ] {
        run(script);
    }
}
