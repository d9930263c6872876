/* Whose exceptions are kept, and where: those of one context or thread have a place. */
#ifndef STARDUST_PROBE_RAISED_PLACES_H
#define STARDUST_PROBE_RAISED_PLACES_H

#include "exception.h"

enum {
	RAISED_SETS = 256,
	RAISED_WAYS = 4,
	/* User space ends there (Documentation/arch/x86/x86_64/mm.rst): above it is room for a part of the process's number. */
	USER_ADDRESS_BITS = 47,
	NO_PLACE = RAISED_SETS * RAISED_WAYS,
};

/* What is kept of one context or thread: a record that is ready to go, and room to work in. */
struct raised_exceptions {
	struct exceptions head;
	struct exception exceptions[EXCEPTIONS_MAX];
	struct object_head object_head;
};

/* By place. A table with keys would have to copy a whole value for each context, and look at more of it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RAISED_SETS * RAISED_WAYS);
	__type(key, u32);
	__type(value, struct raised_exceptions);
} raised SEC(".maps");

/* Whose each place is. */
struct raised_owner {
	u64 key; /* 0: nobody's */
	u64 used_ns;
};

/* What can be a context's or thread's are a line of the cache. */
struct raised_owner raised_owners[RAISED_SETS * RAISED_WAYS] __attribute__((aligned(64)));

/* Owners whose exceptions had to give way, and when the last of those was raised. Whether it was missed shows when a failure is
 * answered there: mostly it was caught, or was under way still and is kept anew with the next frame that it leaves.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u64);
} displaced SEC(".maps");

/* A function of its own, so that the verifier looks at it once, and its part of the stack is free again: so are the others. */
__noinline int displace(u64 owner, u64 raised_ns, u32 many)
{
	count_many(COUNTER_EXCEPTIONS_DISPLACED, many);
	bpf_map_update_elem(&displaced, &owner, &raised_ns, BPF_ANY);
	return 0;
}

/* The context's address, else the thread. */
static __always_inline u64 find_running(const struct exception_layout *layout, u64 state, u64 id)
{
	const u64 context = state ? read_word(state + layout->context) : 0;

	return context ? context : (u32)id;
}

static __always_inline u64 owner_of(u64 running, u32 tgid)
{
	return running | (u64)tgid << USER_ADDRESS_BITS;
}

/* The first of the places that can be an owner's. */
static __always_inline u32 first_place(u64 owner)
{
	/* Fibonacci hashing: addresses differ in the middle. */
	return (owner * 0x9e3779b97f4a7c15ULL >> 32) % RAISED_SETS * RAISED_WAYS;
}

static __always_inline u64 last_raised_ns(const struct raised_exceptions *found)
{
	u64 last_ns = found->head.displaced_ns;

	for (u32 i = 0; i < EXCEPTIONS_MAX; i++)
		if (i < found->head.count && found->exceptions[i].raised_ns > last_ns)
			last_ns = found->exceptions[i].raised_ns;
	return last_ns;
}

/* When the last one was raised that had to give way, if any. */
__noinline u64 displaced_ns(u64 running, u32 tgid)
{
	const u64 owner = owner_of(running, tgid);
	const u64 *raised_ns = bpf_map_lookup_elem(&displaced, &owner);

	return raised_ns ? *raised_ns : 0;
}

static __always_inline void empty(struct raised_exceptions *found)
{
	found->head.count = 0;
	found->head.displaced_ns = 0;
}

/* Gives a place, or one that there is not. */
__noinline u32 find_place(u64 running, u32 tgid, u64 now_ns)
{
	const u64 owner = owner_of(running, tgid);
	const u32 first = first_place(owner);
	struct raised_exceptions *found;
	struct raised_owner *own;
	u64 oldest_ns = ~0ULL, before = 0;
	u32 place = first;
	bool is_own = false;

	for (u32 i = 0; i < RAISED_WAYS; i++) {
		const struct raised_owner *way = &raised_owners[first + i];

		if (way->key == owner) {
			place = first + i;
			is_own = true;
			break;
		}
		if (way->used_ns < oldest_ns) {
			oldest_ns = way->used_ns;
			before = way->key;
			place = first + i;
		}
	}
	if (!is_own && !now_ns)
		return NO_PLACE;
	own = &raised_owners[place & (RAISED_SETS * RAISED_WAYS - 1)];
	if (!is_own && __sync_val_compare_and_swap(&own->key, before, owner) != before) {
		displace(owner, now_ns, 1);
		return NO_PLACE;
	}
	found = bpf_map_lookup_elem(&raised, &place);
	/* Never true; the verifier cannot know. */
	if (!found)
		return NO_PLACE;
	if (!is_own) {
		if (before && found->head.count && is_watched(found->head.header.tgid))
			displace(before, last_raised_ns(found), found->head.count);
		empty(found);
		found->head.header.tgid = tgid;
	}
	if (now_ns)
		own->used_ns = now_ns;
	/* A part of its number may be another process's. */
	if (likely(found->head.header.tgid == tgid))
		return place;
	if (now_ns)
		displace(owner, now_ns, 1);
	return NO_PLACE;
}

/* `now_ns`: not 0, make room if there is none; what was used longest ago goes. What goes, and what finds no room, is noted:
 * nobody knows whether it was over.
 */
static __always_inline struct raised_exceptions *find_raised(u64 running, u32 tgid, u64 now_ns)
{
	const u32 place = find_place(running, tgid, now_ns);

	return bpf_map_lookup_elem(&raised, &place);
}

__noinline int forget_raised(u64 running, u32 tgid)
{
	const u64 owner = owner_of(running, tgid);
	const u32 first = first_place(owner);

	for (u32 i = 0; i < RAISED_WAYS; i++) {
		struct raised_owner *way = &raised_owners[first + i];

		if (way->key == owner) {
			way->used_ns = 0;
			way->key = 0;
		}
	}
	return 0;
}

#endif
