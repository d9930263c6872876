//! The kernel programs fit on the stack that every kernel gives them.
//!
//! The kernel adds up the stack of a function and of those that it calls, and refuses what takes more than 512 bytes or nests
//! more than 8 deep (`check_max_stack_depth` in kernel/bpf/verifier.c). Since 6.13 it gives large functions a stack of their
//! own (e00931c02568), so that a kernel of today says nothing of what those before it refuse.
//!
//! Invariant: too much is counted rather than too little; code that the verifier finds to be dead counts, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _};
use object::{RelocationTarget, SectionIndex, SymbolKind};

/// `MAX_BPF_STACK` in include/linux/filter.h.
const STACK_BYTES: u32 = 512;
/// What each function takes is rounded up to so many, by some kernels to 16.
const ROUND_BYTES: u32 = 32;
/// `MAX_CALL_FRAMES` in `include/linux/bpf_verifier.h`.
const FRAMES: usize = 8;

// struct bpf_insn and its parts: include/uapi/linux/bpf.h and bpf_common.h
const INSTRUCTION_BYTES: usize = 8;
const CLASS_MASK: u8 = 0x07;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const MOVE_REGISTER: u8 = 0xbf;
const ADD_NUMBER: u8 = 0x07;
const LOAD_ADDRESS: u8 = 0x18;
const CALL: u8 = 0x85;
const OF_PROGRAM: u8 = 1;
const FRAME_POINTER: u8 = 10;

#[derive(Debug, Clone, Copy)]
struct Instruction {
    code: u8,
    target: u8,
    source: u8,
    offset: i16,
    number: i32,
}

/// Where a function begins: its section, and how many instructions stand before it there.
type Place = (usize, usize);

/// What a function takes of the stack, and which ones it calls or passes on to be called.
#[derive(Debug, Default)]
struct Frame {
    name: String,
    bytes: u32,
    calls: BTreeSet<Place>,
}

/// The programs that take too much.
pub fn violations(object: &Path) -> Result<Vec<String>> {
    let file = std::fs::read(object).with_context(|| format!("read {}", object.display()))?;
    let frames = frames(&object::File::parse(&*file).context("the object is no ELF file")?)?;
    let called: BTreeSet<Place> = frames.values().flat_map(|frame| frame.calls.iter().copied()).collect();
    let mut found = Vec::new();
    for place in frames.keys().filter(|place| !called.contains(place)) {
        let (bytes, chain) = depth(&frames, *place, &mut Vec::new());
        if bytes > STACK_BYTES || chain.len() > FRAMES {
            let chain: Vec<_> = chain.iter().map(|(name, bytes)| format!("{name} ({bytes})")).collect();
            found.push(format!("{bytes} bytes: {}", chain.join(", ")));
        }
    }
    Ok(found)
}

fn frames(object: &object::File<'_>) -> Result<BTreeMap<Place, Frame>> {
    let mut frames = BTreeMap::new();
    for symbol in object.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let Some(index) = symbol.section_index() else { continue };
        let section = object.section_by_index(index)?;
        let begin = usize::try_from(symbol.address())? / INSTRUCTION_BYTES;
        let count = usize::try_from(symbol.size())? / INSTRUCTION_BYTES;
        let code = read(section.data()?);
        let body = code.get(begin..begin + count).context("a function beyond its section")?;
        let relocated = relocated(object, index, &code)?;
        let mut calls: BTreeSet<Place> =
            relocated.range(begin..begin + count).map(|(_, place)| *place).collect();
        for (at, instruction) in body.iter().enumerate() {
            if instruction.code == CALL
                && instruction.source == OF_PROGRAM
                && !relocated.contains_key(&(begin + at))
            {
                let to = i64::try_from(begin + at + 1)? + i64::from(instruction.number);
                calls.insert((index.0, usize::try_from(to)?));
            }
        }
        let name = symbol.name()?.to_owned();
        frames.insert((index.0, begin), Frame { name, bytes: taken(body), calls });
    }
    Ok(frames)
}

/// What the instructions of a section name that the linker has to find: by instruction, functions only.
fn relocated(
    object: &object::File<'_>,
    index: SectionIndex,
    code: &[Instruction],
) -> Result<BTreeMap<usize, Place>> {
    let mut places = BTreeMap::new();
    for (offset, relocation) in object.section_by_index(index)?.relocations() {
        let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
        let symbol = object.symbol_by_index(symbol)?;
        let Some(section) = symbol.section_index() else { continue };
        let at = usize::try_from(offset)? / INSTRUCTION_BYTES;
        let instruction = code.get(at).context("a relocation beyond its section")?;
        let begin = match (symbol.kind(), instruction.code) {
            (SymbolKind::Text, CALL | LOAD_ADDRESS) => usize::try_from(symbol.address())? / INSTRUCTION_BYTES,
            // Of a section's start: a call counts in instructions from the next one on, an address in bytes.
            (SymbolKind::Section, CALL) => usize::try_from(instruction.number + 1)?,
            (SymbolKind::Section, LOAD_ADDRESS)
                if object.section_by_index(section)?.kind() == object::SectionKind::Text =>
            {
                usize::try_from(instruction.number)? / INSTRUCTION_BYTES
            }
            _ => continue,
        };
        places.insert(at, (section.0, begin));
    }
    Ok(places)
}

fn read(code: &[u8]) -> Vec<Instruction> {
    let (instructions, _) = code.as_chunks::<INSTRUCTION_BYTES>();
    let instruction = |bytes: &[u8; INSTRUCTION_BYTES]| Instruction {
        code: bytes[0],
        target: bytes[1] & 0x0f,
        source: bytes[1] >> 4,
        offset: i16::from_le_bytes([bytes[2], bytes[3]]),
        number: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    instructions.iter().map(instruction).collect()
}

/// The deepest place on the stack that a function names.
fn taken(body: &[Instruction]) -> u32 {
    let mut deepest = 0;
    for (at, instruction) in body.iter().enumerate() {
        let (reads, writes) = (instruction.source == FRAME_POINTER, instruction.target == FRAME_POINTER);
        let offset = match instruction.code & CLASS_MASK {
            LDX if reads => i32::from(instruction.offset),
            ST | STX if writes => i32::from(instruction.offset),
            _ if instruction.code == MOVE_REGISTER && reads => {
                body.get(at + 1).filter(|next| next.code == ADD_NUMBER).map_or(0, |next| next.number)
            }
            _ => 0,
        };
        deepest = deepest.min(offset);
    }
    deepest.unsigned_abs().max(1).next_multiple_of(ROUND_BYTES)
}

/// The bytes of a function and of the deepest chain of those below it, and what each of these takes.
fn depth<'a>(
    frames: &'a BTreeMap<Place, Frame>,
    at: Place,
    above: &mut Vec<Place>,
) -> (u32, Vec<(&'a str, u32)>) {
    let Some(frame) = frames.get(&at).filter(|_| !above.contains(&at)) else {
        return (0, Vec::new());
    };
    above.push(at);
    let below = frame.calls.iter().map(|call| depth(frames, *call, above)).max().unwrap_or_default();
    above.pop();
    (frame.bytes + below.0, [vec![(&*frame.name, frame.bytes)], below.1].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_place_is_named_in_an_instruction_or_in_two() {
        let store = Instruction { code: 0x7b, target: FRAME_POINTER, source: 1, offset: -40, number: 0 };
        let load = Instruction { code: 0x79, target: 1, source: FRAME_POINTER, offset: -48, number: 0 };
        let copy =
            Instruction { code: MOVE_REGISTER, target: 2, source: FRAME_POINTER, offset: 0, number: 0 };
        let add = Instruction { code: ADD_NUMBER, target: 2, source: 0, offset: 0, number: -72 };
        let elsewhere = Instruction { code: 0x7b, target: 1, source: 2, offset: -400, number: 0 };
        for (body, bytes) in [
            (&[elsewhere][..], 32),
            (&[store, elsewhere], 64),
            (&[load, store], 64),
            (&[copy, add, store], 96),
        ] {
            assert_eq!(taken(body), bytes, "{body:?}");
        }
    }

    #[test]
    fn the_deepest_chain_counts() {
        let frame = |name: &str, bytes, calls: &[usize]| Frame {
            name: name.to_owned(),
            bytes,
            calls: calls.iter().map(|begin| (0, *begin)).collect(),
        };
        let frames = BTreeMap::from([
            ((0, 0), frame("program", 96, &[5, 8])),
            ((0, 5), frame("calls", 32, &[8])),
            ((0, 8), frame("called", 64, &[])),
        ]);
        let chain = vec![("program", 96), ("calls", 32), ("called", 64)];
        assert_eq!(depth(&frames, (0, 0), &mut Vec::new()), (192, chain));
    }
}
