//! Finds the thread states of a running interpreter, and where each thread keeps the pointer to its own.
//!
//! Invariant: what is given was seen to hold in the process's memory, not only in the table.

use thiserror::Error;

use crate::{Layout, Memory};

/// Longest list that is followed: a process that runs meanwhile could make it a circle.
const MAX_INTERPRETERS: usize = 64;
const MAX_THREADS: usize = 4096;

/// glibc on `x86_64`: `struct pthread.specific_1stblock` (nptl/descr.h) from the thread pointer on; each entry is a
/// sequence number and the value. Keys beyond stand in further blocks.
const GLIBC_FIRST_BLOCK: u32 = 0x310;
const GLIBC_ENTRY_BYTES: u32 = 16;
const GLIBC_VALUE: u32 = 8;
const GLIBC_FIRST_BLOCK_KEYS: u32 = 32;

/// A thread of Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadState {
    /// The `PyThreadState`.
    pub address: u64,
    /// What `pthread_self` gives there.
    pub thread_id: u64,
    /// Its current `contextvars.Context`; 0 if it has none yet.
    pub context: u64,
}

/// Where every thread of the process finds its `PyThreadState`: so many bytes from the thread pointer on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// From the thread pointer.
    pub offset: u32,
}

/// Why the thread state of a thread cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoSlot {
    /// It has not made its key yet, or its memory cannot be read.
    #[error("it is not running yet, or its memory cannot be read")]
    NotRunning,
    /// More than one interpreter in the process (PEP 684, `mod_wsgi`): a thread may have several states.
    #[error("several interpreters run in the process")]
    Subinterpreters,
    /// The C library keeps values of keys in a way that is not known.
    #[error("the C library keeps thread-specific values in an unknown place")]
    Library,
    /// A context is no `Context`.
    #[error("its memory is not laid out as its version says")]
    Layout,
}

/// The interpreters of a process, the one made last first. `runtime`: the address of `_PyRuntime`.
pub fn interpreters(memory: &impl Memory, runtime: u64, layout: &Layout) -> Vec<u64> {
    let head = runtime.wrapping_add(layout.runtime.interpreters_head.into());
    follow(memory, head, layout.interpreter.next, MAX_INTERPRETERS)
}

/// The thread states of an interpreter, the newest first.
pub fn thread_states(memory: &impl Memory, interpreter: u64, layout: &Layout) -> Vec<ThreadState> {
    let head = interpreter.wrapping_add(layout.interpreter.threads_head.into());
    let read = |address: u64, field: u32| memory.read_u64(address.wrapping_add(field.into()));
    follow(memory, head, layout.thread.next, MAX_THREADS)
        .into_iter()
        .filter(|address| read(*address, layout.thread.interp) == Some(interpreter))
        .filter_map(|address| {
            let thread_id = read(address, layout.thread.thread_id)?;
            Some(ThreadState { address, thread_id, context: read(address, layout.thread.context)? })
        })
        .collect()
}

/// Finds the slot by the key that the interpreter made, and looks whether its threads' states are there.
pub fn slot(memory: &impl Memory, runtime: u64, layout: &Layout) -> Result<Slot, NoSlot> {
    let key = runtime.wrapping_add(layout.runtime.auto_tss_key.into());
    if memory.read_u32(key) != Some(1) {
        return Err(NoSlot::NotRunning);
    }
    let key = memory.read_u32(key.wrapping_add(4)).ok_or(NoSlot::NotRunning)?;
    let interpreter = match interpreters(memory, runtime, layout)[..] {
        [] => return Err(NoSlot::NotRunning),
        [only] => only,
        [..] => return Err(NoSlot::Subinterpreters),
    };
    let threads = thread_states(memory, interpreter, layout);
    if threads.is_empty() {
        return Err(NoSlot::NotRunning);
    }
    if threads.iter().any(|thread| thread.context != 0 && !is_context(memory, thread.context, layout)) {
        return Err(NoSlot::Layout);
    }
    if key >= GLIBC_FIRST_BLOCK_KEYS {
        return Err(NoSlot::Library);
    }
    let slot = Slot { offset: GLIBC_FIRST_BLOCK + GLIBC_ENTRY_BYTES * key + GLIBC_VALUE };
    // A thread that is just being born has not filled it yet.
    let filled = |thread: &ThreadState| {
        memory.read_u64(thread.thread_id.wrapping_add(slot.offset.into())) == Some(thread.address)
    };
    if threads.iter().any(filled) { Ok(slot) } else { Err(NoSlot::Library) }
}

/// Whether an object's type says that it is a `contextvars.Context`: `Context`, with its module since 3.14.
fn is_context(memory: &impl Memory, object: u64, layout: &Layout) -> bool {
    let mut name = [0; 24];
    let field = |address: u64, offset: u32| address.wrapping_add(offset.into());
    let found = memory
        .read_pointer(field(object, layout.object.kind))
        .and_then(|kind| memory.read_pointer(field(kind, layout.object.type_name)))
        .is_some_and(|text| memory.read(text, &mut name));
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    found && matches!(&name[..end], b"Context" | b"_contextvars.Context")
}

/// A list of structs: `head` is where the pointer to the first stands, `next` is in each.
fn follow(memory: &impl Memory, head: u64, next: u32, most: usize) -> Vec<u64> {
    let first = memory.read_pointer(head);
    std::iter::successors(first, |address| memory.read_pointer(address.wrapping_add(next.into())))
        .take(most)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Version;

    type Change = Box<dyn Fn(&mut Fake)>;

    #[derive(Default)]
    struct Fake(BTreeMap<u64, u8>);

    impl Fake {
        fn put(&mut self, address: u64, bytes: &[u8]) {
            self.0.extend((address..).zip(bytes.iter().copied()));
        }

        fn put_u64(&mut self, address: u64, value: u64) {
            self.put(address, &value.to_ne_bytes());
        }
    }

    impl Memory for Fake {
        fn read(&self, address: u64, into: &mut [u8]) -> bool {
            into.iter_mut().enumerate().all(|(index, byte)| {
                self.0.get(&address.wrapping_add(index as u64)).map(|found| *byte = *found).is_some()
            })
        }
    }

    const RUNTIME: u64 = 0x10_0000;
    const INTERPRETER: u64 = 0x20_0000;

    fn layout() -> &'static Layout {
        Layout::of(Version::release(3, 11)).unwrap()
    }

    /// A process with key 1 and two threads, of which the first has a context.
    fn process() -> Fake {
        let layout = layout();
        let mut fake = Fake::default();
        fake.put(RUNTIME + u64::from(layout.runtime.auto_tss_key), &1_u32.to_ne_bytes());
        fake.put(RUNTIME + u64::from(layout.runtime.auto_tss_key) + 4, &1_u32.to_ne_bytes());
        fake.put_u64(RUNTIME + u64::from(layout.runtime.interpreters_head), INTERPRETER);
        fake.put_u64(INTERPRETER + u64::from(layout.interpreter.next), 0);
        fake.put_u64(INTERPRETER + u64::from(layout.interpreter.threads_head), 0x3000);
        for (state, next, thread, context) in [(0x3000, 0x4000, 0x7000, 0), (0x4000, 0, 0x8000, 0x5000)] {
            fake.put_u64(state + u64::from(layout.thread.next), next);
            fake.put_u64(state + u64::from(layout.thread.interp), INTERPRETER);
            fake.put_u64(state + u64::from(layout.thread.thread_id), thread);
            fake.put_u64(state + u64::from(layout.thread.context), context);
        }
        fake.put_u64(0x8000 + 0x310 + 16 + 8, 0x4000);
        fake.put_u64(0x5000 + u64::from(layout.object.kind), 0x6000);
        fake.put_u64(0x6000 + u64::from(layout.object.type_name), 0x6800);
        fake.put(0x6800, b"Context\0................");
        fake
    }

    #[test]
    fn a_slot_is_found_and_seen_to_hold() {
        assert_eq!(slot(&process(), RUNTIME, layout()), Ok(Slot { offset: 0x328 }));
        let threads = thread_states(&process(), INTERPRETER, layout());
        assert_eq!(threads.iter().map(|thread| thread.address).collect::<Vec<_>>(), [0x3000, 0x4000]);
    }

    #[test]
    fn what_does_not_hold_is_no_slot() {
        let key = RUNTIME + u64::from(layout().runtime.auto_tss_key);
        let head = RUNTIME + u64::from(layout().runtime.interpreters_head);
        let next = INTERPRETER + u64::from(layout().interpreter.next);
        let cases: [(Change, NoSlot); 6] = [
            (Box::new(|fake| fake.0.clear()), NoSlot::NotRunning),
            (Box::new(move |fake| fake.put(key, &0_u32.to_ne_bytes())), NoSlot::NotRunning),
            (Box::new(move |fake| fake.put_u64(head, 0)), NoSlot::NotRunning),
            // A circle ends, too.
            (Box::new(move |fake| fake.put_u64(next, INTERPRETER)), NoSlot::Subinterpreters),
            (Box::new(|fake| fake.put_u64(0x8000 + 0x310 + 16 + 8, 0x4001)), NoSlot::Library),
            (Box::new(|fake| fake.put(0x6800, b"dict\0")), NoSlot::Layout),
        ];
        for (change, want) in cases {
            let mut fake = process();
            change(&mut fake);
            assert_eq!(slot(&fake, RUNTIME, layout()), Err(want));
        }
    }
}
