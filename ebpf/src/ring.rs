//! The agent's side of the ring (`bpf/lib/ring.h`).
//!
//! Invariant: a record is read only once it is signed for the position at which it is looked for, and its room is given
//! back only when it has been read.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use libbpf_rs::{MapCore, RingBuffer, RingBufferBuilder};
use memmap2::MmapRaw;
use zerocopy::FromBytes;

use crate::abi::{self, RecordHeader, RingHead};
use crate::kernel::LoadError;
use crate::record;

/// Room is given back after so many bytes: programs look at how much was read, and each change takes them time.
const GIVE_BACK_BYTES: u64 = 65_536;

/// What the ring's records are signed with: nobody else can know it.
pub(crate) fn secret() -> u64 {
    // Keyed by the operating system's randomness.
    RandomState::new().build_hasher().finish()
}

/// Where the agent and the programs meet, in memory that both have as long as the programs are loaded.
#[derive(Clone, Copy)]
pub(crate) struct Meeting {
    /// So many bytes are read.
    pub read: *const AtomicU64,
    /// Copies of contexts for which there was no room.
    pub copies_lost: *const AtomicU32,
    /// The ring's size.
    pub ring_bytes: u64,
    /// What records are signed with.
    pub secret: u64,
}

/// The ring's end in the agent. Read it only while the programs are loaded.
pub struct Ring {
    memory: MmapRaw,
    meeting: Meeting,
    wakeups: RingBuffer<'static>,
    position: u64,
}

impl Ring {
    pub(crate) fn new(
        memory: &impl AsFd,
        wakeups: &dyn MapCore,
        meeting: Meeting,
    ) -> Result<Self, LoadError> {
        let fail = |source| LoadError::Map { map: "wakeups", source };
        let mut builder = RingBufferBuilder::new();
        // Nothing is ever left in it.
        builder.add(wakeups, |_| 0).map_err(fail)?;
        let length = meeting.ring_bytes + u64::from(abi::RING_BEYOND_BYTES);
        let memory = memmap2::MmapOptions::new()
            .len(length as usize)
            .map_raw(&memory.as_fd())
            .map_err(|source| LoadError::Map { map: "ring_memory", source: source.into() })?;
        let wakeups = builder.build().map_err(fail)?;
        Ok(Self { memory, meeting, wakeups, position: 0 })
    }

    /// Waits until a record wakes the reader, at most so long; a signal may cut it short.
    pub fn wait(&self, at_most: Duration) {
        // What matters is that time passes; what is wrong with the ring shows when it is read.
        let _ = self.wakeups.poll_raw(at_most);
    }

    /// Gives each record that is there to `on_record`, which is also told how many copies of contexts were lost before the
    /// record came (or since; never fewer).
    pub fn consume(&mut self, mut on_record: impl FnMut(&[u8], u32)) {
        let mut kept = 0;
        while let Some((bytes, room)) = self.next() {
            if kind(bytes) != Some(abi::RECORD_NONE) {
                // SAFETY: see `Meeting`.
                let copies_lost = unsafe { &*self.meeting.copies_lost }.load(Ordering::Acquire);
                on_record(record::trimmed(bytes), copies_lost);
            }
            self.position += room;
            kept += room;
            if kept >= GIVE_BACK_BYTES {
                kept = 0;
                self.give_back();
            }
        }
        if kept > 0 {
            self.give_back();
        }
    }

    fn give_back(&self) {
        // SAFETY: see `Meeting`.
        unsafe { &*self.meeting.read }.store(self.position, Ordering::Release);
    }

    /// The next record with what it takes of the ring; `None`: it is not there yet.
    fn next(&self) -> Option<(&[u8], u64)> {
        let offset = (self.position & (self.meeting.ring_bytes - 1)) as usize;
        let head = self.memory.as_mut_ptr().wrapping_add(offset);
        // SAFETY: positions are multiples of the line, so the head is aligned; with what lies beyond the ring's end it is
        // in the mapping, which is written to by the kernel only.
        let signature = unsafe { AtomicU64::from_ptr(head.cast()) }.load(Ordering::Acquire);
        let room = room_of(signature ^ self.meeting.secret, self.position)?;
        let length = (room as usize).checked_sub(size_of::<RingHead>())?;
        // SAFETY: `room` is at most what lies beyond the ring's end; the record is signed, so that nobody writes to it
        // until its room is given back, which takes `self` by a unique reference.
        Some((unsafe { std::slice::from_raw_parts(head.add(size_of::<RingHead>()), length) }, room))
    }
}

/// The room of the record with this tag, if it is the one at `position`.
fn room_of(tag: u64, position: u64) -> Option<u64> {
    let line = u64::from(abi::RING_LINE_BYTES);
    let room = (tag & ((1 << abi::RING_ROOM_BITS) - 1)) * line;
    let is_next = tag >> abi::RING_ROOM_BITS == position / line;
    (is_next && (line..=abi::RING_BEYOND_BYTES.into()).contains(&room)).then_some(room)
}

fn kind(bytes: &[u8]) -> Option<u16> {
    RecordHeader::read_from_prefix(bytes).ok().map(|(header, _)| header.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_of_a_position_gives_its_room() {
        let tag = |lines: u64, room_lines: u64| lines << abi::RING_ROOM_BITS | room_lines;
        for (given, position, room) in [
            (tag(0, 1), 0, Some(64)),
            (tag(7, 5), 7 * 64, Some(320)),
            (tag(7, 512), 7 * 64, Some(32_768)),
            (tag(7, 513), 7 * 64, None),
            (tag(7, 0), 7 * 64, None),
            (tag(7, 5), 8 * 64, None),
            // The same place one round earlier.
            (tag(7, 5), 8_388_608 + 7 * 64, None),
            (0, 0, None),
        ] {
            assert_eq!(room_of(given, position), room, "{given:#x} at {position}");
        }
    }

    #[test]
    fn no_two_rings_have_the_same_secret() {
        assert_ne!(secret(), secret());
    }
}
