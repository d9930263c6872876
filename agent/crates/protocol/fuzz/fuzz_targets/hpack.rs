//! Any bytes, read as header blocks, give bounded fields; a listener that came late never contradicts one that was
//! there from the start. The first byte of each block says how long it is and whether all of it is seen.

#![no_main]

use protocol::hpack::{Decoder, Extent};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (mut early, mut late) = (Decoder::new(true), Decoder::new(false));
    let (mut rest, mut blocks) = (bytes, 0);
    while let Some((&order, after)) = rest.split_first() {
        let (block, next) = after.split_at(after.len().min(usize::from(order & 0x7f)));
        rest = next;
        let whole = order & 0x80 == 0;
        let decode = |decoder: &mut Decoder| {
            let mut fields = Vec::new();
            let extent = decoder.decode(block, whole, &mut |field| {
                fields.push((field.name.map(<[u8]>::to_vec), field.value.map(<[u8]>::to_vec)));
            });
            (fields, extent)
        };
        let (seen, extent) = decode(&mut early);
        assert!(seen.len() <= block.len());
        // The first block is withheld from the late one. A broken block is no encoder's: nothing holds after it.
        if blocks > 0 && extent != Extent::Broken {
            let (told, _) = decode(&mut late);
            for ((name, value), (real_name, real_value)) in told.iter().zip(&seen) {
                assert!(name.is_none() || real_name.is_none() || name == real_name);
                assert!(value.is_none() || real_value.is_none() || value == real_value);
            }
        }
        if extent == Extent::Broken {
            return;
        }
        blocks += 1;
    }
});
