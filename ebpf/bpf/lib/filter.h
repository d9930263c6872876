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

/* The tables of processes in short, for one load instead of look-ups: the tgid last watched among those with this slot,
 * above it the index of its interpreter (python.h) and SLOT_KEEPS_EXCEPTIONS; 0 if none ever was. Two processes that share
 * a slot may write it at once: either outcome leaves the tables to be asked.
 */
volatile u64 watched_slots[WATCHED_SLOTS];

static __always_inline bool is_watched(u32 tgid)
{
	const u64 slot = watched_slots[tgid % WATCHED_SLOTS];

	if (slot == 0)
		return false;
	return (u32)slot == tgid || bpf_map_lookup_elem(&watched, &tgid);
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
	watched_slots[tgid % WATCHED_SLOTS] = tgid;
	return true;
}

/* False: it was not watched. */
static __always_inline bool unwatch(u32 tgid)
{
	if ((u32)watched_slots[tgid % WATCHED_SLOTS] == tgid)
		watched_slots[tgid % WATCHED_SLOTS] = SLOT_ASK_TABLE;
	return bpf_map_delete_elem(&watched, &tgid) == 0;
}

#endif
