//! `str` objects: PEP 393's three widths to text.
//!
//! Invariant: total and bounded. A lone surrogate, which no text of Rust's can hold, stays visible as the escape
//! that Python's own `backslashreplace` writes.

use std::fmt::Write as _;

use crate::{Layout, Memory};

/// `PyASCIIObject.state` without the interning bits (Include/cpython/unicodeobject.h): three bits of width, then
/// compact, then ASCII. Unchanged from 3.8 to 3.14.
const WIDTH_SHIFT: u32 = 2;
const COMPACT: u32 = 1 << 5;
const ASCII: u32 = 1 << 6;

/// What was read of a `str`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// The characters, at most as many as were asked for.
    pub text: String,
    /// There were more.
    pub is_cut: bool,
}

/// The text of the `str` (or of an instance of its subclass) at `address`, at most `max_chars` of it.
/// `None`: it cannot be read or is no `str` that makes sense. That it is one is for the caller to know.
pub fn read(memory: &dyn Memory, layout: &Layout, address: u64, max_chars: usize) -> Option<Text> {
    let Place { data, width, length } = locate(memory, layout, address)?;
    let chars = usize::try_from(length).ok()?.min(max_chars);
    let mut bytes = vec![0; chars * width as usize];
    if !memory.read(data, &mut bytes) {
        return None;
    }
    Some(Text { text: decode(&bytes, width), is_cut: length > chars as u64 })
}

/// The code point of the character at `index` in the `str` at `address`.
pub fn code_point(memory: &dyn Memory, layout: &Layout, address: u64, index: u64) -> Option<u32> {
    let Place { data, width, length } = locate(memory, layout, address)?;
    if index >= length {
        return None;
    }
    let mut bytes = [0; 4];
    let unit = &mut bytes[..width as usize];
    if !memory.read(data.checked_add(index.checked_mul(width.into())?)?, unit) {
        return None;
    }
    Some(match *unit {
        [one] => one.into(),
        [first, second] => u16::from_ne_bytes([first, second]).into(),
        _ => u32::from_ne_bytes(bytes),
    })
}

/// Where a `str` keeps its characters.
struct Place {
    data: u64,
    width: u32,
    length: u64,
}

fn locate(memory: &dyn Memory, layout: &Layout, address: u64) -> Option<Place> {
    let object = &layout.object;
    let length = memory.read_u64(address.checked_add(object.str_length.into())?)?;
    let state = memory.read_u32(address.checked_add(object.str_state.into())?)?;
    let width = (state >> WIDTH_SHIFT) & 7;
    let wide = address.checked_add(object.str_wide.into())?;
    let data = match (state & COMPACT != 0, state & ASCII != 0) {
        (true, true) if width == 1 => address.checked_add(object.str_ascii.into())?,
        (true, false) => wide,
        // Instances of subclasses keep their text elsewhere (`PyUnicodeObject.data`).
        (false, _) => memory.read_pointer(wide)?,
        (true, true) => return None,
    };
    matches!(width, 1 | 2 | 4).then_some(Place { data, width, length })
}

/// The text of characters of `width` bytes each: 1 (Latin-1), 2 or 4, in the host's byte order. A part of a
/// character at the end is left out; any other width gives nothing.
pub fn decode(bytes: &[u8], width: u32) -> String {
    let mut text = String::with_capacity(bytes.len());
    match width {
        1 => text.extend(bytes.iter().map(|byte| char::from(*byte))),
        2 => bytes
            .chunks_exact(2)
            .for_each(|unit| push(&mut text, u16::from_ne_bytes([unit[0], unit[1]]).into())),
        4 => bytes
            .chunks_exact(4)
            .for_each(|unit| push(&mut text, u32::from_ne_bytes([unit[0], unit[1], unit[2], unit[3]]))),
        _ => {}
    }
    text
}

fn push(text: &mut String, code_point: u32) {
    match char::from_u32(code_point) {
        Some(character) => text.push(character),
        // Writing into a String cannot fail.
        None if code_point <= 0xffff => drop(write!(text, "\\u{code_point:04x}")),
        None => text.push(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_is_decoded() {
        let two = |units: &[u16]| units.iter().flat_map(|unit| unit.to_ne_bytes()).collect::<Vec<u8>>();
        let four = |units: &[u32]| units.iter().flat_map(|unit| unit.to_ne_bytes()).collect::<Vec<u8>>();
        for (bytes, width, want) in [
            (b"abc".to_vec(), 1, "abc"),
            (vec![0xe9, 0xff], 1, "\u{e9}\u{ff}"),
            (two(&[0x661f, 0x5c18]), 2, "\u{661f}\u{5c18}"),
            (two(&[0x61, 0xdc80, 0xd83d]), 2, "a\\udc80\\ud83d"),
            (four(&[0x1f600, 0xdc00, 0x11_0000]), 4, "\u{1f600}\\udc00\u{fffd}"),
            (vec![1, 2, 3], 3, ""),
            (vec![0x61, 0, 0x62], 2, "a"),
        ] {
            assert_eq!(decode(&bytes, width), want);
        }
    }
}
