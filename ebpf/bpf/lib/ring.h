/* The way out. A record never wakes the reader, but the one that crosses the fill mark. */
#ifndef STARDUST_PROBE_RING_H
#define STARDUST_PROBE_RING_H

#include "filter.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} ring SEC(".maps");

static __always_inline void emit(struct record_header *record, u64 size)
{
	const u64 unread = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
	const bool crosses = unread < config.wake_bytes && unread + size >= config.wake_bytes;

	if (bpf_ringbuf_output(&ring, record, size, crosses ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP)) {
		count(COUNTER_RING_FULL);
		count_many(COUNTER_RING_FULL_BYTES, size);
		return;
	}
	count(COUNTER_RECORDS);
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
