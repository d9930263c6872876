/* The way out. A record does not wake the reader, but for the one that crosses the fill mark and the first one after
 * the reader has gone to sleep.
 */
#ifndef STARDUST_PROBE_RING_H
#define STARDUST_PROBE_RING_H

#include "filter.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} ring SEC(".maps");

/* Set by the agent before it sleeps until something happens, cleared by the record that wakes it. */
volatile u32 reader_sleeps;

static __always_inline void wake_reader(void)
{
	void *token;

	reader_sleeps = 0;
	token = bpf_ringbuf_reserve(&ring, sizeof(u64), 0);
	/* A full ring has woken the reader already. */
	if (token)
		bpf_ringbuf_discard(token, BPF_RB_FORCE_WAKEUP);
}

/* What a record takes in the ring: its own header of 8 bytes, rounded up (kernel/bpf/ringbuf.c). */
static __always_inline u64 room_of(u64 size)
{
	return (size + 8 + 7) & ~7ULL;
}

/* Only the record that crosses the mark wakes the reader, not every one beyond it. */
static __always_inline u64 wake_flag(u64 unread_before, u64 unread_after)
{
	return unread_before < config.wake_bytes && unread_after >= config.wake_bytes ? BPF_RB_FORCE_WAKEUP :
										       BPF_RB_NO_WAKEUP;
}

static __always_inline void count_lost(u64 size)
{
	count(COUNTER_RING_FULL);
	count_many(COUNTER_RING_FULL_BYTES, size);
}

/* Room for a record that is written in place, or NULL (counted). `size` is a constant. */
static __always_inline void *reserve(u64 size)
{
	void *room = bpf_ringbuf_reserve(&ring, size, 0);

	if (!room)
		count_lost(size);
	return room;
}

/* Asking how full the ring is has its price: in a large ring one record of several asks, picked by the clock. */
static __always_inline bool asks(const struct record_header *header)
{
	return (header->at_ns >> 4 & config.ask_mask) == 0;
}

static __always_inline void submit(struct record_header *record)
{
	u64 flag = BPF_RB_NO_WAKEUP;

	if (asks(record) && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= config.wake_bytes)
		flag = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(record, flag);
	/* After the record is out: the agent looks for records after it has set this. */
	if (reader_sleeps)
		wake_reader();
}

/* Copies a finished record. */
static __always_inline void emit(struct record_header *record, u64 size)
{
	const u64 unread = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);

	if (bpf_ringbuf_output(&ring, record, size, wake_flag(unread, unread + room_of(size)))) {
		count_lost(size);
		return;
	}
	if (reader_sleeps)
		wake_reader();
}

/* Copies a finished record and has it read at once. */
static __always_inline void emit_now(struct record_header *record, u64 size)
{
	if (bpf_ringbuf_output(&ring, record, size, BPF_RB_FORCE_WAKEUP))
		count_lost(size);
	else
		reader_sleeps = 0;
}

static __always_inline void fill_header(struct record_header *header, u16 kind, u32 size, u32 tgid, u32 tid)
{
	header->at_ns = bpf_ktime_get_ns();
	header->size = size;
	header->kind = kind;
	header->flags = 0;
	header->tgid = tgid;
	header->tid = tid;
}

#endif
