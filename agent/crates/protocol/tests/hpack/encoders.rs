//! What real encoders write: recorded from the `PyPI` package `hpack` and from nghttp2, and made on the spot by
//! the crate `httlib-hpack`.

use std::path::Path;

use httlib_hpack::Encoder;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::hpack::{Decoder, Extent};

use crate::harness::{Plain, check, decode, known};

/// The recorded stories: blocks with the fields they were made of.
fn stories() -> Vec<Vec<(Vec<u8>, Vec<Plain>)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hpack/encoded.txt");
    let mut stories: Vec<Vec<(Vec<u8>, Vec<Plain>)>> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        if line.starts_with("= ") {
            stories.push(Vec::new());
        } else if let Some(hex) = line.strip_prefix("> ") {
            stories.last_mut().unwrap().push((bytes(hex), Vec::new()));
        } else if let Some((name, value)) = line.split_once('\t') {
            let (_, fields) = stories.last_mut().unwrap().last_mut().unwrap();
            fields.push((name.into(), value.into()));
        }
    }
    stories
}

pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn recorded_blocks() {
    let stories = stories();
    assert_eq!(stories.iter().map(Vec::len).collect::<Vec<_>>(), [40, 40, 40, 40]);
    for blocks in &stories {
        check(blocks);
    }
}

/// With a small table what was there before is soon gone from it: then everything is known again.
#[test]
fn the_table_heals() {
    for blocks in stories() {
        let mut late = Decoder::new(false);
        let whole =
            blocks[11..20].iter().map(|(block, fields)| decode(&mut late, block, true).0 == known(fields));
        let whole: Vec<bool> = whole.collect();
        assert!(whole[4..].iter().all(|&whole| whole), "{whole:?}");
    }
}

#[derive(Debug, Clone)]
struct Block {
    resize: Option<u32>,
    fields: Vec<(Plain, u8)>,
}

fn field() -> impl Strategy<Value = (Plain, u8)> {
    let name = prop_oneof![":path", ":status", "x-[a-c]", "content-type", "[a-z]{1,20}"];
    let value = prop_oneof![
        vec(any::<u8>(), 0..20),
        "[a-c]{0,2}".prop_map(String::into_bytes),
        "[x-z]".prop_map(|text| text.repeat(1500).into_bytes()),
    ];
    ((name.prop_map(String::into_bytes), value), 0..32_u8)
}

fn block() -> impl Strategy<Value = Block> {
    (prop::option::weighted(0.1, 0..4096_u32), vec(field(), 0..8))
        .prop_map(|(resize, fields)| Block { resize, fields })
}

fn encode(blocks: &[Block]) -> Vec<(Vec<u8>, Vec<Plain>)> {
    let mut encoder = Encoder::with_dynamic_size(4096);
    let encode = |block: &Block| {
        let mut bytes = Vec::new();
        if let Some(size) = block.resize {
            encoder.update_max_dynamic_size(size, &mut bytes).unwrap();
        }
        for ((name, value), flags) in &block.fields {
            encoder.encode((name.clone(), value.clone(), *flags), &mut bytes).unwrap();
        }
        (bytes, block.fields.iter().map(|(field, _)| field.clone()).collect())
    };
    blocks.iter().map(encode).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn made_blocks(blocks in vec(block(), 1..12)) {
        check(&encode(&blocks));
    }

    #[test]
    fn any_bytes_give_a_bounded_value(blocks in vec((vec(any::<u8>(), 0..200), any::<bool>()), 0..8), start: bool) {
        let mut decoder = Decoder::new(start);
        for (block, whole) in blocks {
            let (fields, extent) = decode(&mut decoder, &block, whole);
            prop_assert!(fields.len() <= block.len());
            prop_assert!(whole || extent != Extent::Whole);
        }
    }
}
