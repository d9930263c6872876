//! Which processes the programs watch, and which interpreter each has.
//!
//! Invariant: the tables know every process; the slots, which the programs ask first, only make asking cheaper.

use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_rs::{MapCore, MapFlags};

use crate::abi;
use crate::kernel::{Kernel, LoadError, shared_u64};

const KEEPS_EXCEPTIONS: u64 = 1 << abi::SLOT_KEEPS_EXCEPTIONS;

impl Kernel {
    /// Watches a process. Its children follow by themselves.
    pub fn watch(&mut self, pid: u32) -> Result<(), LoadError> {
        // First, or an exit in between would not find the process in the table.
        self.set_slot(pid, abi::SLOT_ASK_TABLE);
        let map = &self.skeleton.maps.watched;
        let fail = |source| LoadError::Map { map: "watched", source };
        map.update(&pid.to_ne_bytes(), &[1], MapFlags::ANY).map_err(fail)?;
        self.set_slot(pid, pid);
        // Gone in between: its number may be another's one day.
        if self.skeleton.maps.watched.lookup(&pid.to_ne_bytes(), MapFlags::ANY).map_err(fail)?.is_none() {
            self.set_slot(pid, abi::SLOT_ASK_TABLE);
        }
        Ok(())
    }

    /// Watches a process no more.
    pub fn unwatch(&mut self, pid: u32) {
        // Not there is as good as gone.
        let _ = self.skeleton.maps.watched.delete(&pid.to_ne_bytes());
        self.set_slot(pid, abi::SLOT_ASK_TABLE);
    }

    /// The table of watched processes in short (`lib/filter.h`).
    fn set_slot(&mut self, pid: u32, value: u32) {
        if let Some(slot) = self.slot(pid) {
            slot.store(value.into(), Ordering::SeqCst);
        }
    }

    fn slot(&mut self, pid: u32) -> Option<&AtomicU64> {
        let bss = self.skeleton.maps.bss_data.as_deref_mut()?;
        Some(shared_u64(&mut bss.watched_slots[(pid % abi::WATCHED_SLOTS) as usize]))
    }

    /// Has the calls of a process say what its interpreter was running. Its forks follow by themselves.
    pub fn follow(&mut self, pid: u32, interpreter: &abi::Interpreter) -> Result<(), LoadError> {
        let index = self.index_of(interpreter)?;
        let map = &self.skeleton.maps.interpreter_indices;
        map.update(&pid.to_ne_bytes(), &index.to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| LoadError::Map { map: "interpreter_indices", source })?;
        self.set_interpreter(pid, index);
        Ok(())
    }

    /// Where this build stands among the interpreters that the programs know.
    fn index_of(&mut self, interpreter: &abi::Interpreter) -> Result<u32, LoadError> {
        let known = self.interpreters.iter().position(|known| known == interpreter);
        let position = known.unwrap_or(self.interpreters.len());
        // The first place stands for none.
        let index = position + 1;
        if known.is_none() {
            let bss = self.skeleton.maps.bss_data.as_deref_mut();
            let place = bss.and_then(|bss| bss.interpreters.get_mut(index)).ok_or(LoadError::Interpreters)?;
            place.slot = interpreter.slot;
            place.context = interpreter.context;
            place.entered = interpreter.entered;
            place.outside = interpreter.outside;
            place.unread = interpreter.unread;
            place.thread = interpreter.thread;
            place.previous = interpreter.previous;
            place.greenlet_module = interpreter.greenlet_module;
            place.greenlet_place = interpreter.greenlet_place;
            self.interpreters.push(*interpreter);
        }
        Ok(index as u32)
    }

    fn set_interpreter(&mut self, pid: u32, index: u32) {
        self.change_slot(pid, |slot| slot & KEEPS_EXCEPTIONS | u64::from(index) << 32 | u64::from(pid));
    }

    /// Says whether the process's exceptions are kept as they unwind. Where its slot is another's, they may be.
    pub fn say_exceptions_kept(&mut self, pid: u32, kept: bool) {
        self.change_slot(pid, |slot| slot & !KEEPS_EXCEPTIONS | if kept { KEEPS_EXCEPTIONS } else { 0 });
    }

    fn change_slot(&mut self, pid: u32, change: impl Fn(u64) -> u64) {
        if let Some(slot) = self.slot(pid) {
            let own = |slot: u64| (slot as u32 == pid).then(|| change(slot));
            // Not its own: the tables are asked.
            let _ = slot.fetch_update(Ordering::SeqCst, Ordering::SeqCst, own);
        }
    }

    /// The process's calls say no more than their thread.
    pub fn unfollow(&mut self, pid: u32) {
        self.set_interpreter(pid, 0);
        // Not there is as good as gone.
        let _ = self.skeleton.maps.interpreter_indices.delete(&pid.to_ne_bytes());
    }
}
