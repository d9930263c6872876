//! Blocks in, fields out, and what may be said of a block when others were withheld.

use protocol::hpack::{Decoder, Extent, Field};

/// A field as it was encoded.
pub type Plain = (Vec<u8>, Vec<u8>);
/// A field as it was decoded. `None`: not known.
pub type Known = (Option<Vec<u8>>, Option<Vec<u8>>);

pub fn decode(decoder: &mut Decoder, block: &[u8], whole: bool) -> (Vec<Known>, Extent) {
    let mut fields = Vec::new();
    let extent = decoder.decode(block, whole, &mut |Field { name, value }| {
        fields.push((name.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec)));
    });
    (fields, extent)
}

pub fn known(fields: &[Plain]) -> Vec<Known> {
    fields.iter().map(|(name, value)| (Some(name.clone()), Some(value.clone()))).collect()
}

/// Nothing decoded is wrong: each field is what was encoded, or unknown.
pub fn assert_not_wrong(told: &[Known], encoded: &[Plain]) {
    for ((name, value), (real_name, real_value)) in told.iter().zip(encoded) {
        assert!(name.as_ref().is_none_or(|name| name == real_name), "{name:?} for {real_name:?}");
        assert!(value.as_ref().is_none_or(|value| value == real_value), "{value:?} for {real_value:?}");
    }
}

/// What must hold for the blocks of one encoder: all of it from the start; nothing wrong when the first are
/// withheld, one in the middle is, or one is cut off.
pub fn check(blocks: &[(Vec<u8>, Vec<Plain>)]) {
    let mut decoder = Decoder::new(true);
    for (block, fields) in blocks {
        assert_eq!(decode(&mut decoder, block, true), (known(fields), Extent::Whole));
    }
    for withheld in 0..blocks.len() {
        let mut late = Decoder::new(false);
        let mut gap = Decoder::new(true);
        for (number, (block, fields)) in blocks.iter().enumerate() {
            if number >= withheld {
                assert_whole(&mut late, block, fields);
            }
            if number == withheld {
                let cut = block.len() / 2;
                let (told, extent) = decode(&mut gap, &block[..cut], false);
                assert_not_wrong(&told, fields);
                assert!(told.len() <= fields.len());
                assert_eq!(extent, Extent::Cut);
            } else {
                assert_whole(&mut gap, block, fields);
            }
        }
    }
}

fn assert_whole(decoder: &mut Decoder, block: &[u8], fields: &[Plain]) {
    let (told, extent) = decode(decoder, block, true);
    assert_not_wrong(&told, fields);
    assert_eq!((told.len(), extent), (fields.len(), Extent::Whole));
}
