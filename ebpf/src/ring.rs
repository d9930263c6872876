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
/// A reader that has read all has the writers begin anew at the ring's start once they are so far into it.
const LAP_BYTES: u64 = 65_536;

/// What the ring's records are signed with: nobody else can know it.
pub(crate) fn secret() -> u64 {
    // Keyed by the operating system's randomness.
    RandomState::new().build_hasher().finish()
}

/// Where the agent and the programs meet, in memory that both have as long as the programs are loaded.
#[derive(Clone, Copy)]
pub(crate) struct Meeting {
    /// So many bytes are given out.
    pub given: *const AtomicU64,
    /// So many bytes are read.
    pub read: *const AtomicU64,
    /// Where the last lap began: nothing before it is unread.
    pub lap: *const AtomicU64,
    /// Copies of contexts for which there was no room.
    pub copies_lost: *const AtomicU32,
    /// The ring's size.
    pub ring_bytes: u64,
    /// What records are signed with.
    pub secret: u64,
}

/// The ring's end in the agent. Read it only while the programs are loaded.
pub struct Ring {
    reader: Reader,
    wakeups: RingBuffer<'static>,
}

/// Where the reader is in the ring.
struct Reader {
    memory: MmapRaw,
    meeting: Meeting,
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
        Ok(Self { reader: Reader { memory, meeting, position: 0 }, wakeups })
    }

    /// Waits until a record wakes the reader, at most so long; a signal may cut it short.
    pub fn wait(&self, at_most: Duration) {
        // What matters is that time passes; what is wrong with the ring shows when it is read.
        let _ = self.wakeups.poll_raw(at_most);
    }

    /// Gives each record that is there to `on_record`, which is also told how many copies of contexts were lost before the
    /// record came (or since; never fewer).
    pub fn consume(&mut self, on_record: impl FnMut(&[u8], u32)) {
        self.reader.consume(on_record);
    }
}

impl Reader {
    fn consume(&mut self, mut on_record: impl FnMut(&[u8], u32)) {
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
            self.begin_lap();
            self.give_back();
        }
    }

    fn give_back(&self) {
        // SAFETY: see `Meeting`.
        unsafe { &*self.meeting.read }.store(self.position, Ordering::Release);
    }

    /// Has the writers begin anew at the ring's start, if all is read that they have taken room for. Between the two steps by which
    /// they learn of it they find the ring full, unless they know that a lap has begun.
    fn begin_lap(&mut self) {
        let Some(next) = next_lap(self.position, self.meeting.ring_bytes) else { return };
        // SAFETY: see `Meeting`.
        let (given, lap) = unsafe { (&*self.meeting.given, &*self.meeting.lap) };
        let before = lap.swap(next, Ordering::AcqRel);
        if given.compare_exchange(self.position, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.position = next;
        } else {
            lap.store(before, Ordering::Release);
        }
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

/// Where the next lap begins; `None`: not worth it yet. It lies further ahead than writers can have got by themselves, a
/// ring's length from what is read: that they are there tells that the lap has begun.
fn next_lap(position: u64, ring_bytes: u64) -> Option<u64> {
    let within = position & (ring_bytes - 1);
    (within >= LAP_BYTES).then_some(position - within + 2 * ring_bytes)
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
    fn a_lap_begins_at_the_start_of_the_ring_and_out_of_reach() {
        const RING: u64 = 1 << 20;
        for (position, next) in [
            (0, None),
            (LAP_BYTES - 64, None),
            (LAP_BYTES, Some(2 * RING)),
            (RING - 64, Some(2 * RING)),
            (RING, None),
            (5 * RING + LAP_BYTES, Some(7 * RING)),
        ] {
            assert_eq!(next_lap(position, RING), next, "at {position}");
            assert!(next.is_none_or(|next| next > position + RING && next % RING == 0), "at {position}");
        }
        assert_eq!(next_lap(65_535 * 64, LAP_BYTES), None, "a ring that is no longer than a lap");
    }

    /// What writers share, as in `lib/at_hand.h`.
    #[derive(Default)]
    struct Shared {
        given: AtomicU64,
        read: AtomicU64,
        lap: AtomicU64,
        copies_lost: AtomicU32,
    }

    const SECRET: u64 = 0x5eed_5eed_5eed_5eed;

    /// As `take_room` in `lib/ring.h`.
    fn take_room(shared: &Shared, ring_bytes: u64, room: u64) -> Option<u64> {
        loop {
            let at = shared.given.load(Ordering::SeqCst);
            let lap = shared.lap.load(Ordering::SeqCst);
            let read = shared.read.load(Ordering::SeqCst);
            let read = if at >= lap { read.max(lap) } else { read };
            if (at + room).wrapping_sub(read).cast_signed() > ring_bytes.cast_signed() {
                return None;
            }
            if shared.given.compare_exchange(at, at + room, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return Some(at);
            }
        }
    }

    /// Writes a record that says `number`; false: there was no room. Mostly it lets the reader keep up, which then has read
    /// all again and again while the other writer goes on.
    fn write(shared: &Shared, memory: *mut u8, ring_bytes: u64, number: u32) -> bool {
        let line = u64::from(abi::RING_LINE_BYTES);
        let room = line * (1 + u64::from(number % 4));
        let Some(at) = take_room(shared, ring_bytes, room) else { return false };
        let place = memory.wrapping_add((at & (ring_bytes - 1)) as usize);
        let header = RecordHeader {
            at_ns: 0,
            size: size_of::<RecordHeader>() as u32,
            kind: abi::RECORD_EXIT,
            flags: 0,
            tgid: 0,
            tid: number,
        };
        let bytes = zerocopy::IntoBytes::as_bytes(&header);
        // SAFETY: the room is this writer's until it has signed for it.
        unsafe {
            place.add(size_of::<RingHead>()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            let tag = ((at / line) << abi::RING_ROOM_BITS) | (room / line);
            AtomicU64::from_ptr(place.cast()).store(tag ^ SECRET, Ordering::Release);
        }
        while !number.is_multiple_of(8) && at > shared.read.load(Ordering::SeqCst) + 8 * line {
            std::thread::yield_now();
        }
        true
    }

    #[test]
    fn all_that_writers_had_room_for_is_read_once_whatever_laps_begin() {
        const RING: u64 = 1 << 18;
        const EACH: u32 = 15_000;
        let shared = Shared::default();
        let meeting = Meeting {
            given: &raw const shared.given,
            read: &raw const shared.read,
            lap: &raw const shared.lap,
            copies_lost: &raw const shared.copies_lost,
            ring_bytes: RING,
            secret: SECRET,
        };
        let length = (RING + u64::from(abi::RING_BEYOND_BYTES)) as usize;
        let memory = MmapRaw::from(memmap2::MmapMut::map_anon(length).unwrap());
        let place = memory.as_mut_ptr() as usize;
        let mut reader = Reader { memory, meeting, position: 0 };
        std::thread::scope(|scope| {
            let writer = |from: u32| {
                let shared = &shared;
                move || {
                    let numbers = from..from + EACH;
                    numbers
                        .filter(|&number| write(shared, place as *mut u8, RING, number))
                        .collect::<Vec<_>>()
                }
            };
            let writers = [scope.spawn(writer(0)), scope.spawn(writer(EACH))];
            let mut read = Vec::new();
            let mut take = |reader: &mut Reader| {
                reader.consume(|bytes, _| read.push(RecordHeader::read_from_prefix(bytes).unwrap().0.tid));
            };
            while writers.iter().any(|writer| !writer.is_finished()) {
                take(&mut reader);
            }
            take(&mut reader);
            let mut written: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
            written.sort_unstable();
            read.sort_unstable();
            assert!(written == read, "{} written, {} read", written.len(), read.len());
        });
        let lap = shared.lap.load(Ordering::SeqCst);
        assert!(lap > 10 * RING, "laps have begun: the last one at {lap}");
    }

    #[test]
    fn no_two_rings_have_the_same_secret() {
        assert_ne!(secret(), secret());
    }
}
