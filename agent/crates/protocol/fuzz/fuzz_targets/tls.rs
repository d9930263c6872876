//! Any bytes, with any holes, are read without a panic, and each direction's end is told once.

#![no_main]

use protocol::Chunk;
use protocol::tls::{Part, Reader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (mut reader, mut rest, mut position, mut ends) = (Reader::new(0), bytes, 0_u64, 0);
    while let [length, hole, gap, behind @ ..] = rest {
        let (now, next) = behind.split_at(behind.len().min(usize::from(*length) * 4));
        let (head, tail) = now.split_at(now.len() - now.len().min(16).min(usize::from(*hole)));
        let len = now.len() as u64 + u64::from(*hole);
        // Most chunks follow each other.
        position += u64::from(gap.saturating_sub(250));
        reader.push(&Chunk { at_ns: 1, position, len, head, tail }, &mut |part| {
            ends += u32::from(matches!(part, Part::Lost | Part::NotTls));
        });
        position += len;
        rest = next;
    }
    assert!(ends <= 1);
});
