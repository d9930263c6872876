//! Where a process's `greenlet` library (gevent and eventlet build on it) keeps which greenlet each of its threads is
//! running.
//!
//! Invariant: what is given was seen to hold in the process's memory.

use std::fs::File;

use object::elf::R_X86_64_DTPMOD64;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSegment, ObjectSymbol, ReadCache, RelocationFlags, SymbolKind};
use python::state::ThreadState;
use python::{Layout, Memory};

use super::Proc;
use super::maps::Mapping;

/// `static thread_local ThreadStateCreator g_thread_state_global` (greenlet's TThreadStateDestroy.cpp, 2.0 and later): begins
/// with the pointer to a thread's `ThreadState`. Builds without symbols do not show it.
const STATE: &str = "g_thread_state_global";
/// `ThreadState` begins with the main greenlet, then comes the current one (TThreadState.hpp).
const MAIN: u64 = 0;
const CURRENT: u64 = 8;
/// glibc on `x86_64`, from the thread pointer on: the pointer to the table of what libraries keep of the thread (`tcbhead_t` in
/// nptl/tls.h), an entry of 16 bytes for each (`dtv_t` in generic/dl-dtv.h).
const TABLE: u64 = 8;
const ENTRY_BYTES: u64 = 16;
/// `PyTypeObject.tp_base` (Include/cpython/object.h): the same from 3.8 to 3.14.
const TYPE_BASE: u64 = 256;
/// How far up a type's bases are followed.
const MAX_BASES: usize = 8;
const GREENLET: &[u8] = b"greenlet.greenlet\0";

/// How a thread's current greenlet is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greenlets {
    /// The library, as the process knows it.
    pub path: String,
    /// Its number among those that keep something of each thread.
    pub module: u32,
    /// Where in that the pointer to the state of the thread's greenlets is.
    pub place: u32,
}

/// Looks how the current greenlets of these threads are found. `None`: no thread has one yet, or it cannot be told.
pub(super) fn greenlets(
    proc: &Proc,
    pid: u32,
    (mappings, memory): (&[Mapping], &impl Memory),
    (threads, layout): (&[ThreadState], &Layout),
) -> Option<Greenlets> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let mapping = mappings.iter().find(|mapping| mapping.path.contains("/greenlet/_greenlet."))?;
    let cache = ReadCache::new(File::open(proc.reachable(pid, mapping)).ok()?);
    let file = ElfFile64::<object::Endianness, _>::parse(&cache).ok()?;
    let is_state = |symbol: &object::read::elf::ElfSymbol64<'_, '_, _, _>| {
        symbol.kind() == SymbolKind::Tls && symbol.name().is_ok_and(|name| name.contains(STATE))
    };
    let place = file.symbols().find(is_state)?.address();
    let is_module = |flags| matches!(flags, RelocationFlags::Elf { r_type } if r_type == R_X86_64_DTPMOD64);
    let (told_at, _) = file.dynamic_relocations()?.find(|(_, relocation)| is_module(relocation.flags()))?;
    let base = file.segments().find(|segment| segment.file_range().0 == 0)?.address();
    let module = memory.read_u64(mapping.start.wrapping_sub(base).wrapping_add(told_at))?;
    let found = Greenlets {
        path: mapping.path.clone(),
        module: module.try_into().ok()?,
        place: place.try_into().ok()?,
    };
    threads.iter().any(|thread| found.holds(memory, thread.thread_id, layout)).then_some(found)
}

impl Greenlets {
    /// Whether a thread's greenlets are found so.
    fn holds(&self, memory: &impl Memory, thread: u64, layout: &Layout) -> bool {
        let entry = u64::from(self.module) * ENTRY_BYTES;
        let state = memory
            .read_pointer(thread.wrapping_add(TABLE))
            .and_then(|table| memory.read_pointer(table.wrapping_add(entry)))
            .and_then(|kept| memory.read_pointer(kept.wrapping_add(self.place.into())));
        let is_there = |state: u64, at: u64| {
            let object = memory.read_pointer(state.wrapping_add(at));
            object.is_some_and(|object| is_greenlet(memory, object, layout))
        };
        state.is_some_and(|state| is_there(state, MAIN) && is_there(state, CURRENT))
    }
}

fn is_greenlet(memory: &impl Memory, object: u64, layout: &Layout) -> bool {
    let named = |kind: u64| {
        let mut name = [0; GREENLET.len()];
        let text = memory.read_pointer(kind.wrapping_add(layout.object.type_name.into()));
        text.is_some_and(|text| memory.read(text, &mut name)) && name == GREENLET
    };
    let kind = memory.read_pointer(object.wrapping_add(layout.object.kind.into()));
    std::iter::successors(kind, |kind| memory.read_pointer(kind.wrapping_add(TYPE_BASE)))
        .take(MAX_BASES)
        .any(named)
}

#[cfg(test)]
mod tests;
