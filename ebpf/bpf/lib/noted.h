/* Which threads have noted exceptions that an answer is to end, so that only answers there are looked at more closely; and
 * in which processes all answers are, as exceptions are kept there while they unwind.
 */
#ifndef STARDUST_PROBE_NOTED_H
#define STARDUST_PROBE_NOTED_H

#include "at_hand.h"
#include "filter.h"

/* What was noted is answered soon, or not at all. */
#define NOTED_NS 2000000000ULL
#define NOTED_OF_SEVERAL (~0ULL)

enum {
	NOTED_SLOTS = 4096,
};

/* Of whom a thread has noted something last, among the threads with this slot. */
struct noted {
	u64 owner; /* see owner_of; NOTED_OF_SEVERAL; 0: of nobody */
	u64 until_ns;
};

struct noted noted_slots[NOTED_SLOTS];

static __always_inline void note(u64 owner, u32 tid, u64 now_ns)
{
	struct noted *noted = &noted_slots[tid % NOTED_SLOTS];
	const u64 before = noted->owner;

	noted->until_ns = now_ns + NOTED_NS;
	noted->owner = before && before != owner ? NOTED_OF_SEVERAL : owner;
	at_hand.noted_until_ns = now_ns + NOTED_NS;
}

/* An answer has ended what was noted of its owner. */
static __always_inline void end_note(u64 owner, u32 tid)
{
	__sync_val_compare_and_swap(&noted_slots[tid % NOTED_SLOTS].owner, owner, 0);
}

/* Whether the thread may have noted something that no answer has ended. A function of its own: seldom any has. */
__noinline int is_noted(u32 tid)
{
	struct noted *noted = &noted_slots[tid % NOTED_SLOTS];
	const u64 now_ns = bpf_ktime_get_ns();

	if (now_ns > at_hand.noted_until_ns) {
		at_hand.noted_until_ns = 0;
		return false;
	}
	if (now_ns > noted->until_ns)
		noted->owner = 0;
	return noted->owner != 0;
}

/* Whether the process's exceptions are kept, as far as its slot tells. */
static __always_inline bool may_keep(u32 tgid)
{
	const u64 slot = watched_slots[tgid % WATCHED_SLOTS];

	return at_hand.exceptions_are_kept && ((u32)slot != tgid || slot >> SLOT_KEEPS_EXCEPTIONS);
}

/* Whether an answer of this thread ends what was kept or noted before it. */
static __always_inline bool answers_count(u64 id)
{
	return unlikely(may_keep(id >> 32)) || (unlikely(at_hand.noted_until_ns) && is_noted(id));
}

#endif
