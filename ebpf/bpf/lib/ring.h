/* The way out: one ring for all CPUs, in memory that the agent maps. A record does not wake the reader, but for the one
 * that crosses the fill mark and the first one after the reader has gone to sleep.
 *
 * Room is given out by moving one position on, in one step and without a lock. A record counts once its head is signed with
 * its own position: what is left there from an earlier round has another one. What bytes of strangers stand there cannot
 * look like a signature, as a secret of this run goes into it. A reader that has read all has the next records begin at the
 * ring's start again: a small part of it is used over and over, and is in the cache. The kernel's own ring buffer takes a lock for each record,
 * and a barrier that waits for all that was just written: a seventh of the programs' time (docs/performance.md).
 */
#ifndef STARDUST_PROBE_RING_H
#define STARDUST_PROBE_RING_H

#include "at_hand.h"
#include "filter.h"

enum {
	/* How often room is asked for when other CPUs keep getting ahead. */
	TAKE_ATTEMPTS = 64,
	WAKEUPS_BYTES = 4096,
};

/* No position: they are multiples of the ring's line. */
#define NO_ROOM (~0ULL)

/* Its value: `config.ring_bytes`, and behind them the room that the largest record takes, so that none has to wrap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, RING_BEYOND_BYTES);
} ring_memory SEC(".maps");

/* Holds nothing for long: it is how a program wakes who sleeps on a map. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WAKEUPS_BYTES);
} wakeups SEC(".maps");

/* A position in bytes is a multiple of the line, and so is the room: both go into one word. */
static __always_inline u64 ring_tag(u64 position, u64 room)
{
	return position / RING_LINE_BYTES << RING_ROOM_BITS | room / RING_LINE_BYTES;
}

static __always_inline u64 ring_position(u64 tag)
{
	return (tag >> RING_ROOM_BITS) * RING_LINE_BYTES;
}

static __always_inline u64 ring_room(u64 tag)
{
	return (tag & ((1 << RING_ROOM_BITS) - 1)) * RING_LINE_BYTES;
}

static __always_inline void wake_reader(void)
{
	void *token;

	at_hand.ring_reader.sleeps = 0;
	token = bpf_ringbuf_reserve(&wakeups, sizeof(u64), 0);
	/* Where there is no room it has been woken already. */
	if (token)
		bpf_ringbuf_discard(token, BPF_RB_FORCE_WAKEUP);
}

static __always_inline u64 room_of(u64 size)
{
	return (sizeof(struct ring_head) + size + RING_LINE_BYTES - 1) & ~(u64)(RING_LINE_BYTES - 1);
}

/* Gives the position of room for a record of so many bytes, or NO_ROOM (counted). A function of its own, so that the
 * verifier looks at it once.
 */
__noinline u64 take_room(u64 size)
{
	const u64 room = room_of(size);

	for (u32 i = 0; i < TAKE_ATTEMPTS && room <= RING_BEYOND_BYTES; i++) {
		const u64 at = at_hand.ring_given, lap = at_hand.ring_reader.lap;
		u64 read = at_hand.ring_reader.read;

		if (at >= lap && read < lap)
			read = lap;
		/* Less than nothing: others have got ahead, and the reader too. */
		if ((s64)(at + room - read) > (s64)config.ring_bytes)
			break;
		if (__sync_val_compare_and_swap(&at_hand.ring_given, at, at + room) == at)
			return at;
	}
	count(COUNTER_RING_FULL);
	count_many(COUNTER_RING_FULL_BYTES, size);
	return NO_ROOM;
}

static __always_inline void *record_at(u64 at, u64 size)
{
	const u32 first = 0;
	struct ring_head *head;
	void *memory;

	if (at == NO_ROOM)
		return 0;
	memory = bpf_map_lookup_elem(&ring_memory, &first);
	/* Never true; the verifier cannot know. */
	if (!memory)
		return 0;
	head = memory + (at & (config.ring_bytes - 1));
	head->tag = ring_tag(at, room_of(size));
	return head + 1;
}

/* Room for a record of so many bytes, or NULL (counted): mostly without a call. The record is written in place, then
 * submitted.
 */
static __always_inline void *reserve(u64 size)
{
	const u64 room = room_of(size), at = at_hand.ring_given;

	if (likely((s64)(at + room - at_hand.ring_reader.read) <= (s64)config.ring_bytes &&
		   __sync_val_compare_and_swap(&at_hand.ring_given, at, at + room) == at))
		return record_at(at, size);
	return record_at(take_room(size), size);
}

static __always_inline void sign(struct record_header *record)
{
	struct ring_head *head = (struct ring_head *)record - 1;
	const u64 signature = head->tag ^ config.ring_secret;

#if defined(__TARGET_ARCH_x86)
	/* Stores are seen in the order in which they are made. */
	barrier();
	*(volatile u64 *)&head->signature = signature;
#else
	__sync_lock_test_and_set(&head->signature, signature);
#endif
}

/* It is no record after all. */
static __always_inline void discard(struct record_header *record)
{
	record->kind = RECORD_NONE;
	sign(record);
}

/* Only the record that crosses the mark wakes the reader, not every one beyond it. */
static __always_inline bool crosses_mark(const struct record_header *record)
{
	const u64 tag = ((const struct ring_head *)record - 1)->tag;
	const u64 unread = ring_position(tag) - at_hand.ring_reader.read;

	return unread < config.wake_bytes && unread + ring_room(tag) >= config.wake_bytes;
}

static __always_inline void submit(struct record_header *record)
{
	const bool fills = crosses_mark(record);

	sign(record);
	if (unlikely(fills || at_hand.ring_reader.sleeps))
		wake_reader();
}

/* The reader need not hurry. */
static __always_inline void submit_quietly(struct record_header *record)
{
	sign(record);
}

/* Copies a finished record, to be submitted; NULL: no room (counted). `size` is at most RING_BEYOND_BYTES, less a line. */
static __always_inline struct record_header *copy_record(const struct record_header *record, u64 size)
{
	struct record_header *copy;

	size = bounded(size, RING_BEYOND_BYTES - RING_LINE_BYTES);
	copy = reserve(size);
	if (copy && bpf_probe_read_kernel(copy, size, record)) {
		discard(copy);
		copy = 0;
	}
	return copy;
}

static __always_inline void emit(const struct record_header *record, u64 size)
{
	struct record_header *copy = copy_record(record, size);

	if (copy)
		submit(copy);
}

/* Copies a finished record and has it read at once. */
static __always_inline void emit_now(const struct record_header *record, u64 size)
{
	struct record_header *copy = copy_record(record, size);

	if (!copy)
		return;
	sign(copy);
	at_hand.ring_reader.hurries = 1;
	wake_reader();
}

static __always_inline void fill_header_at(struct record_header *header, u64 at_ns, u16 kind, u32 size, u32 tgid,
					   u32 tid)
{
	header->at_ns = at_ns;
	header->size = size;
	header->kind = kind;
	header->flags = 0;
	header->tgid = tgid;
	header->tid = tid;
}

static __always_inline void fill_header(struct record_header *header, u16 kind, u32 size, u32 tgid, u32 tid)
{
	fill_header_at(header, bpf_ktime_get_ns(), kind, size, tgid, tid);
}

#endif
