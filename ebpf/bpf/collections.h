/* Collections of garbage by Python's collector of cycles: when each began and when it ended. All threads of the interpreter
 * wait meanwhile.
 */
#ifndef STARDUST_PROBE_COLLECTIONS_H
#define STARDUST_PROBE_COLLECTIONS_H

#include "lib/ring.h"

/* Of a process: the collection under way, and how many there were. */
struct collecting {
	u64 begun_ns; /* 0: none */
	u64 number;
	u32 tid;
	u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct collecting);
} collections SEC(".maps");

SEC("uprobe")
int collection_begins(struct pt_regs *registers)
{
	const u64 id = bpf_get_current_pid_tgid();
	const u32 tgid = id >> 32;
	struct collecting *known = bpf_map_lookup_elem(&collections, &tgid);
	const struct collecting fresh = { .begun_ns = bpf_ktime_get_ns(), .tid = (u32)id };

	if (known) {
		known->begun_ns = fresh.begun_ns;
		known->tid = fresh.tid;
	} else {
		bpf_map_update_elem(&collections, &tgid, &fresh, BPF_ANY);
	}
	return 0;
}

SEC("uprobe")
int collection_ends(struct pt_regs *registers)
{
	const u64 id = bpf_get_current_pid_tgid();
	const u32 tgid = id >> 32;
	struct collecting *known = bpf_map_lookup_elem(&collections, &tgid);
	struct collection *record;
	u64 begun_ns;

	if (!known || !known->begun_ns || known->tid != (u32)id)
		return 0;
	begun_ns = known->begun_ns;
	known->begun_ns = 0;
	/* One for which there is no room is missed by its number. */
	known->number++;
	record = reserve(sizeof(*record));
	if (!record)
		return 0;
	fill_header(&record->header, RECORD_COLLECTION, sizeof(*record), tgid, (u32)id);
	record->begun_ns = begun_ns;
	record->number = known->number;
	/* It says nothing before the next socket call, which wakes the reader if it sleeps. */
	submit_quietly(&record->header);
	return 0;
}

#endif
