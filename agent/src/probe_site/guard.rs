//! The marks that a program has for tracers (`SystemTap`'s static probes), where it looks whether one listens.
//!
//! A mark stands behind a comparison of a counter with 0 and a conditional jump; who listens raises the counter, in the
//! process's memory. The jump is passed whether or not somebody does, and the kernel emulates it. Invariant: total.

use std::fs::File;
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Architecture, Object, ObjectSection, ObjectSegment, ReadCache, SegmentFlags};

use super::decode::{Code64, text};
use super::{NoSite, Site, Step, Why};

/// `cmpw $0, x(%rip)`: the opcode and what leads to it, then four bytes to add to the next address, then the 0.
const COMPARES: [u8; 3] = [0x66, 0x83, 0x3d];
const COMPARE_BYTES: usize = 8;
/// Larger code is not looked at.
const MAX_CODE_BYTES: u64 = 256 << 20;
/// A note: the lengths of its two parts and its kind, then the parts, each filled up to four bytes (System V ABI, "Note
/// Section"). The second part of one about a mark: its address, that of the section `.stapsdt.base`, that of its counter,
/// then provider and name (sys/sdt.h).
const NOTE_HEAD_BYTES: usize = 12;
const MARKED: u32 = 3;

/// Where a file looks whether a tracer listens to its marks of these names, by name. Empty where there are none.
pub fn guards<const COUNT: usize>(
    path: &Path,
    provider: &str,
    names: [&str; COUNT],
) -> Result<[Vec<Site>; COUNT], NoSite> {
    let fail = |error: &dyn std::fmt::Display| NoSite::File(error.to_string());
    let cache = ReadCache::new(File::open(path).map_err(|error| fail(&error))?);
    let file = ElfFile64::<object::Endianness, _>::parse(&cache).map_err(|error| fail(&error))?;
    let none = || [const { Vec::new() }; COUNT];
    let (Some(notes), Architecture::X86_64) = (file.section_by_name(".note.stapsdt"), file.architecture())
    else {
        return Ok(none());
    };
    let base = file.section_by_name(".stapsdt.base").map_or(0, |section| section.address());
    let counters = names.map(|name| counters(notes.data().unwrap_or_default(), base, (provider, name)));
    let mut found = none();
    for segment in file.segments() {
        let SegmentFlags::Elf { p_flags } = segment.flags() else { continue };
        let (offset, size) = segment.file_range();
        if p_flags & object::elf::PF_X == 0 || size > MAX_CODE_BYTES {
            continue;
        }
        let bytes = segment.data().map_err(|error| fail(&error))?;
        for (found, counters) in found.iter_mut().zip(&counters) {
            found.extend(jumps(Code64 { bytes, address: segment.address() }, offset, counters));
        }
    }
    Ok(found)
}

/// The counters of a mark.
fn counters(mut notes: &[u8], base: u64, mark: (&str, &str)) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some((name_bytes, bytes, kind)) = head(notes) {
        let begin = NOTE_HEAD_BYTES + name_bytes.next_multiple_of(4);
        let Some(note) = notes.get(begin..begin.saturating_add(bytes)) else { break };
        if kind == MARKED && names(note) == Some(mark) {
            // The addresses are those of before the file was laid out anew, if it was.
            let moved = base.wrapping_sub(word(note, 8));
            found.extend(
                Some(word(note, 16)).filter(|counter| *counter != 0).map(|at| at.wrapping_add(moved)),
            );
        }
        notes = notes.get(begin + bytes.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn head(note: &[u8]) -> Option<(usize, usize, u32)> {
    let word = |at: usize| Some(u32::from_le_bytes(note.get(at..at + 4)?.try_into().ok()?));
    Some((word(0)? as usize, word(4)? as usize, word(8)?))
}

fn names(note: &[u8]) -> Option<(&str, &str)> {
    let mut parts = note.get(24..)?.split(|byte| *byte == 0).map(std::str::from_utf8);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

/// The jumps behind comparisons of these counters.
fn jumps(code: Code64<'_>, offset: u64, counters: &[u64]) -> Vec<Site> {
    let at = |index: usize| -> Option<Site> {
        let compared = code.bytes.get(index..index + COMPARE_BYTES)?;
        let next = code.address + (index + COMPARE_BYTES) as u64;
        let added = i32::from_le_bytes(compared[3..7].try_into().ok()?);
        if !counters.contains(&next.wrapping_add_signed(added.into())) || compared[7] != 0 {
            return None;
        }
        let behind = Code64 { bytes: code.bytes.get(index + COMPARE_BYTES..)?, address: next };
        let jump = behind.instructions().next()?;
        (jump.is_jcc_short_or_near() && behind.is_emulated(&jump)).then(|| Site {
            offset: offset + (next - code.address),
            address: next,
            instruction: text(&jump),
            step: Step::Emulated,
            why: Why::Guard,
        })
    };
    if counters.is_empty() {
        return Vec::new();
    }
    let starts = code.bytes.windows(COMPARES.len()).enumerate().filter(|(_, bytes)| *bytes == COMPARES);
    starts.filter_map(|(index, _)| at(index)).collect()
}
