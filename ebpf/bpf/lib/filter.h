/* Which processes are watched: asked first, in every program. */
#ifndef STARDUST_PROBE_FILTER_H
#define STARDUST_PROBE_FILTER_H

#include "counters.h"

const volatile struct probe_config config;

/* The agent adds a target and its children at attach; forks add theirs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, u8);
} watched SEC(".maps");

static __always_inline bool is_watched(u32 tgid)
{
	return bpf_map_lookup_elem(&watched, &tgid) != 0;
}

static __always_inline bool watch(u32 tgid)
{
	const u8 yes = 1;

	if (tgid == config.own_tgid)
		return false;
	if (bpf_map_update_elem(&watched, &tgid, &yes, BPF_ANY)) {
		count(COUNTER_PROCESSES_FULL);
		return false;
	}
	return true;
}

#endif
