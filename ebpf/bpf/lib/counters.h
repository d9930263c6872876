/* Counts, per CPU and per reason, of what was not recorded. */
#ifndef STARDUST_PROBE_COUNTERS_H
#define STARDUST_PROBE_COUNTERS_H

#include "../abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

static __always_inline void count_many(u32 counter, u64 many)
{
	u64 *slot = bpf_map_lookup_elem(&counters, &counter);

	if (slot)
		*slot += many;
}

/* A function of its own: those who count seldom do, and need not carry it along. */
__noinline int count(u32 counter)
{
	count_many(counter, 1);
	return 0;
}

#endif
