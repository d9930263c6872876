//! One ELF file: its code, the symbols asked for, and who calls them.
//!
//! Invariant: total. What a damaged file lacks is missing here too; nothing is read but headers, tables and code.

mod ends;
mod given;
mod within;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use iced_x86::{FlowControl, Instruction, Mnemonic};
use object::read::elf::ElfFile64;
use object::{
    Architecture, Object, ObjectSection, ObjectSegment, ObjectSymbol, ReadCache, RelocationTarget,
    SegmentFlags,
};

use super::decode::{Code64, arguments, text};
use super::kept::{Operand, given_field, jump_targets, kept_arguments};
use super::released::released;
use super::told_text::{TextField, told_text};
use super::{NoSite, Site, Step, Why};

pub use given::{CHECK_SIGNALS, GivenCall, Gives};

/// Register that holds a result (System V ABI for AMD64, section 3.2.3).
const RESULT: [iced_x86::Register; 1] = [iced_x86::Register::RAX];
/// The longest stub that leads from the procedure linkage table to a function: `endbr64; bnd jmp *x(%rip)`.
const STUB_BYTES: usize = 16;
/// Code that is looked at behind a call.
const BEHIND_CALL_BYTES: usize = 128;
/// A function without a known end is looked at so far.
const FUNCTION_BYTES: usize = 512;
/// Larger code is not looked at.
const MAX_CODE_BYTES: u64 = 256 << 20;

/// A file's code, and the symbols that were asked for.
#[derive(Debug)]
pub struct Image {
    decodable: bool,
    code: Vec<Segment>,
    defined: BTreeMap<String, u64>,
    /// Slots of the global offset table by address, with the function that the dynamic linker puts there.
    imported: BTreeMap<u64, String>,
    /// Where functions begin, sorted.
    starts: Vec<u64>,
    /// Functions that other files can call.
    exported: BTreeSet<u64>,
}

/// An executable segment.
#[derive(Debug)]
struct Segment {
    address: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// A direct call whose arguments can be had once it has returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCall<const COUNT: usize> {
    /// Behind it: the result is whole.
    pub after: Site,
    /// Where the first arguments are there.
    pub arguments: [Operand; COUNT],
}

/// A direct call of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSite {
    /// At the call: the arguments are whole.
    pub call: Site,
    /// Behind it: the result is whole.
    pub after: Site,
    /// The address called: a function, or a stub that leads to one.
    pub target: u64,
}

impl Image {
    /// Reads a file and looks these symbols up in it.
    pub fn load(path: &Path, symbols: &[&str]) -> Result<Self, NoSite> {
        let fail = |error: &dyn std::fmt::Display| NoSite::File(error.to_string());
        let cache = ReadCache::new(File::open(path).map_err(|error| fail(&error))?);
        let file = ElfFile64::<object::Endianness, _>::parse(&cache).map_err(|error| fail(&error))?;
        let mut image = Self {
            decodable: file.architecture() == Architecture::X86_64,
            code: Vec::new(),
            defined: BTreeMap::new(),
            imported: BTreeMap::new(),
            starts: Vec::new(),
            exported: BTreeSet::new(),
        };
        let is_code = |symbol: &object::read::elf::ElfSymbol64<'_, '_, object::Endianness, _>| {
            symbol.kind() == object::SymbolKind::Text && symbol.is_definition()
        };
        image.exported.extend(file.dynamic_symbols().filter(is_code).map(|symbol| symbol.address()));
        let mut starts = Vec::new();
        for symbol in file.dynamic_symbols().chain(file.symbols()) {
            if !is_code(&symbol) {
                continue;
            }
            starts.push(symbol.address());
            if let Some(name) = symbol.name().ok().filter(|name| symbols.contains(name)) {
                image.defined.entry(name.to_owned()).or_insert(symbol.address());
            }
        }
        if let (Some(symbols_of), Some(relocations)) =
            (file.dynamic_symbol_table(), file.dynamic_relocations())
        {
            for (slot, relocation) in relocations {
                let RelocationTarget::Symbol(index) = relocation.target() else { continue };
                let name = object::ObjectSymbolTable::symbol_by_index(&symbols_of, index);
                let name = name.ok().and_then(|symbol| symbol.name().ok());
                if let Some(name) = name.filter(|name| symbols.contains(name)) {
                    image.imported.insert(slot, name.to_owned());
                }
            }
        }
        if image.defined.is_empty() && image.imported.is_empty() {
            return Ok(image);
        }
        if let Some(table) = file.section_by_name(".eh_frame_hdr") {
            starts.extend(unwind_starts(table.address(), table.data().unwrap_or_default()));
        }
        starts.sort_unstable();
        starts.dedup();
        image.starts = starts;
        for segment in file.segments() {
            let SegmentFlags::Elf { p_flags } = segment.flags() else { continue };
            let (offset, size) = segment.file_range();
            if p_flags & object::elf::PF_X != 0 && size <= MAX_CODE_BYTES {
                let bytes = segment.data().map_err(|error| fail(&error))?.to_vec();
                image.code.push(Segment { address: segment.address(), offset, bytes });
            }
        }
        Ok(image)
    }

    /// Whether the file defines the symbol.
    pub fn defines(&self, symbol: &str) -> bool {
        self.defined.contains_key(symbol)
    }

    /// Whether the file has the dynamic linker look the symbol up.
    pub fn imports(&self, symbol: &str) -> bool {
        self.imported.values().any(|name| name == symbol)
    }

    /// Where the dynamic linker puts the addresses of the functions that are looked up and wanted.
    pub fn slots(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<u64> {
        self.imported.iter().filter(|(_, name)| is_wanted(name)).map(|(slot, _)| *slot).collect()
    }

    /// The address of all code less its place in the file. `None`: it is not the same everywhere.
    pub fn code_shift(&self) -> Option<u64> {
        let mut shifts = self.code.iter().map(|segment| segment.address.wrapping_sub(segment.offset));
        let first = shifts.next()?;
        shifts.all(|shift| shift == first).then_some(first)
    }

    /// Where a function begins, its first `count` arguments whole.
    pub fn entry(&self, symbol: &str, count: usize) -> Result<Site, NoSite> {
        let address = self.address_of(symbol)?;
        let code = self.function(address).ok_or_else(|| NoSite::Symbol(symbol.to_owned()))?;
        if !self.decodable {
            return Ok(Site {
                offset: self.offset_of(address).unwrap_or_default(),
                address,
                instruction: String::new(),
                step: Step::Unknown,
                why: Why::NotDecided,
            });
        }
        let found = code.first_emulated(arguments(count));
        // Reached a second time by a loop, it would be a second call.
        let found = found.filter(|found| !is_jumped_to(code, address, found.ip()));
        let site = match found {
            Some(found) => self.site(&found, Step::Emulated, Why::Entry),
            None => code
                .instructions()
                .next()
                .and_then(|first| self.site(&first, Step::Single, Why::NoEmulatedEntry)),
        };
        site.ok_or_else(|| NoSite::Symbol(symbol.to_owned()))
    }

    /// The first call that a function makes in a straight line, its first `count` arguments handed on.
    pub fn inner_call(&self, symbol: &str, count: usize) -> Result<CallSite, NoSite> {
        let none = || NoSite::Call(format!("another function in {symbol}"));
        let code = self.function(self.address_of(symbol)?).ok_or_else(none)?;
        if !self.decodable {
            return Err(NoSite::Processor);
        }
        code.first_call(arguments(count)).and_then(|call| self.call_site(&call)).ok_or_else(none)
    }

    /// Every direct call of a function that the file defines or imports.
    pub fn call_sites(&self, symbol: &str) -> Result<Vec<CallSite>, NoSite> {
        if !self.decodable {
            return Err(NoSite::Processor);
        }
        let sites: Vec<_> = self.calls(symbol).iter().filter_map(|(_, call)| self.call_site(call)).collect();
        if sites.is_empty() { Err(NoSite::Call(symbol.to_owned())) } else { Ok(sites) }
    }

    /// Every direct call of a function but those in another one, and where each has certainly returned. Empty unless all
    /// are at emulated instructions.
    pub fn brackets(&self, symbol: &str, but_in: &str) -> Vec<(Site, Site)> {
        let mut calls = if self.decodable { self.calls(symbol) } else { Vec::new() };
        calls.retain(|(function, _)| self.defined.get(but_in) != Some(&function.address));
        let bracket = |(_, call): &(Code64<'_>, Instruction)| {
            let behind = self.code_at(call.next_ip())?.first_passed()?;
            let after = self.site(&behind, Step::Emulated, Why::Passed)?;
            Some((self.site(call, Step::Emulated, Why::Call)?, after))
        };
        calls.iter().map(bracket).collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// Whether nothing jumps to a function from outside, as what ends with a call of it may.
    pub fn is_only_called(&self, symbol: &str) -> bool {
        let Ok(address) = self.address_of(symbol) else { return false };
        let jumps_there = |code: Code64<'_>| {
            code.address != address
                && code.instructions().any(|instruction| {
                    let jumps = instruction.is_jmp_short_or_near() || instruction.is_jcc_short_or_near();
                    jumps && instruction.near_branch_target() == address
                })
        };
        self.decodable && !self.functions().any(jumps_there)
    }

    /// Every direct call of a function, if of each the first arguments can be had at an emulated instruction behind it.
    pub fn kept_calls<const COUNT: usize>(&self, symbol: &str) -> Option<Vec<KeptCall<COUNT>>> {
        let calls = if self.decodable { self.calls(symbol) } else { Vec::new() };
        let jumps: Vec<u64> = self.functions().flat_map(jump_targets).collect();
        let kept = |(function, call): &(Code64<'_>, Instruction)| {
            let after = self.call_site(call)?.after;
            let behind = function.instructions().skip_while(|one| one.ip() <= call.ip());
            let behind: Vec<_> = behind.take_while(|one| one.ip() < after.address).collect();
            let arguments = kept_arguments(*function, call, &behind, &jumps)?;
            (after.step == Step::Emulated).then_some(KeptCall { after, arguments })
        };
        let kept: Option<Vec<_>> = calls.iter().map(kept).collect();
        kept.filter(|kept| !kept.is_empty())
    }

    /// Where a function lets go of what another one, `taker`, gives it through its third argument, if that is something.
    /// Empty if that cannot be told.
    pub fn released(&self, symbol: &str, taker: &str) -> Vec<Site> {
        let Ok(address) = self.address_of(symbol) else { return Vec::new() };
        let Some(code) = self.function(address).filter(|_| self.decodable) else { return Vec::new() };
        let is_it = |call: &Instruction| self.name_of(call.near_branch_target()) == Some(taker);
        let jumps = released(code, is_it);
        jumps.iter().filter_map(|jump| self.site(jump, Step::Emulated, Why::Released)).collect()
    }

    /// The place in its first argument from which a function takes what it gives, if it does nothing else.
    pub fn given_field(&self, symbol: &str) -> Option<u64> {
        let address = self.address_of(symbol).ok().filter(|_| self.decodable)?;
        given_field(self.function(address)?)
    }

    /// Where its first argument keeps the text that a function tells of through its second and third, if it does nothing else.
    pub fn told_text(&self, symbol: &str) -> Option<TextField> {
        let address = self.address_of(symbol).ok().filter(|_| self.decodable)?;
        told_text(self.function(address)?)
    }

    fn functions(&self) -> impl Iterator<Item = Code64<'_>> {
        self.starts.iter().enumerate().filter_map(|(index, start)| {
            let code = self.code_at(*start)?;
            let end = self.starts.get(index + 1).map_or(code.bytes.len(), |next| (next - start) as usize);
            Some(Code64 { bytes: &code.bytes[..end.min(code.bytes.len())], ..code })
        })
    }

    /// Every direct call of a function, with the one that it is in.
    fn calls(&self, symbol: &str) -> Vec<(Code64<'_>, Instruction)> {
        let mut stubs = BTreeMap::new();
        let mut calls = Vec::new();
        for code in self.functions() {
            for call in code.instructions().filter(Instruction::is_call_near) {
                let target = call.near_branch_target();
                let is_it = *stubs.entry(target).or_insert_with(|| self.name_of(target) == Some(symbol));
                if is_it {
                    calls.push((code, call));
                }
            }
        }
        calls
    }

    fn call_site(&self, call: &Instruction) -> Option<CallSite> {
        let behind = self.code_at(call.next_ip())?;
        let behind = Code64 { bytes: &behind.bytes[..behind.bytes.len().min(BEHIND_CALL_BYTES)], ..behind };
        let after = match behind.first_emulated(&RESULT) {
            Some(found) => self.site(&found, Step::Emulated, Why::AfterCall),
            None => self.site(&behind.instructions().next()?, Step::Single, Why::NoEmulatedAfterCall),
        };
        let target = call.near_branch_target();
        Some(CallSite { call: self.site(call, Step::Emulated, Why::Call)?, after: after?, target })
    }

    /// The function at an address: the file's own, or the one that a stub there leads to.
    fn name_of(&self, address: u64) -> Option<&str> {
        if let Some((name, _)) = self.defined.iter().find(|(_, defined)| **defined == address) {
            return Some(name);
        }
        let code = self.code_at(address)?;
        let code = Code64 { bytes: &code.bytes[..code.bytes.len().min(STUB_BYTES)], ..code };
        let jump = code.instructions().find(|instruction| instruction.mnemonic() != Mnemonic::Endbr64)?;
        let through_table =
            jump.flow_control() == FlowControl::IndirectBranch && jump.is_ip_rel_memory_operand();
        self.imported.get(&jump.ip_rel_memory_address()).filter(|_| through_table).map(String::as_str)
    }

    fn address_of(&self, symbol: &str) -> Result<u64, NoSite> {
        self.defined.get(symbol).copied().ok_or_else(|| NoSite::Symbol(symbol.to_owned()))
    }

    fn site(&self, instruction: &Instruction, step: Step, why: Why) -> Option<Site> {
        let address = instruction.ip();
        Some(Site { offset: self.offset_of(address)?, address, instruction: text(instruction), step, why })
    }

    fn offset_of(&self, address: u64) -> Option<u64> {
        let segment = self.segment_of(address)?;
        Some(address - segment.address + segment.offset)
    }

    /// A function's code: to the start of the next one, if that is known.
    fn function(&self, address: u64) -> Option<Code64<'_>> {
        let code = self.code_at(address)?;
        let next = self.starts.partition_point(|start| *start <= address);
        let end = self.starts.get(next).map_or(FUNCTION_BYTES, |next| (next - address) as usize);
        Some(Code64 { bytes: &code.bytes[..end.min(code.bytes.len())], ..code })
    }

    fn code_at(&self, address: u64) -> Option<Code64<'_>> {
        let segment = self.segment_of(address)?;
        let bytes = segment.bytes.get((address - segment.address) as usize..)?;
        Some(Code64 { bytes, address })
    }

    fn segment_of(&self, address: u64) -> Option<&Segment> {
        self.code.iter().find(|segment| {
            address.checked_sub(segment.address).is_some_and(|at| at < segment.bytes.len() as u64)
        })
    }
}

/// Whether a function's code jumps back to somewhere between its start and an address.
fn is_jumped_to(code: Code64<'_>, start: u64, address: u64) -> bool {
    address > start
        && code.instructions().any(|instruction| {
            let jumps = instruction.is_jmp_short_or_near() || instruction.is_jcc_short_or_near();
            jumps && (start..=address).contains(&instruction.near_branch_target())
        })
}

/// Where functions begin, from the unwind table: it is there in stripped files too (Linux Standard Base Core 5.0,
/// section 10.6.2). Empty if the table is of another form than compilers write today.
fn unwind_starts(address: u64, table: &[u8]) -> Vec<u64> {
    // Version, then the encodings: pcrel sdata4, udata4, datarel sdata4.
    const USUAL: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
    if !table.starts_with(&USUAL) {
        return Vec::new();
    }
    let word = |at: usize| {
        let bytes = table.get(at..at + 4)?.try_into().ok()?;
        Some(i32::from_le_bytes(bytes))
    };
    let count = word(8).map_or(0, i32::cast_unsigned) as usize;
    let starts = (0..count).map_while(|index| word(12 + 8 * index));
    starts.map(|start| address.wrapping_add_signed(start.into())).collect()
}
