/* Which exceptions are kept, for how long, and whose they are. */
#ifndef STARDUST_PROBE_RAISED_H
#define STARDUST_PROBE_RAISED_H

#include "exception.h"

enum {
	RAISED_SETS = 256,
	RAISED_WAYS = 4,
	/* User space ends there (Documentation/arch/x86/x86_64/mm.rst): above it is room for a part of the process's number. */
	USER_ADDRESS_BITS = 47,
	/* `except` clauses, one within another. */
	HANDLED_MAX = 8,
	/* Exceptions before an exception that are looked for. */
	EARLIER_MAX = 3,
	/* It has left so many frames when it is first seen; those before it are looked for when it leaves another one. */
	FIRST_FRAMES = 2,
	/* In `dispatched`, for a moment: it keeps its room whatever comes. */
	STAYS = 2,
};

/* What is kept of one context or thread: a record that is ready to go. */
struct raised_exceptions {
	struct exceptions head;
	struct exception exceptions[EXCEPTIONS_MAX];
};

struct raised_key {
	u64 running; /* the context's address, else the thread */
	u32 tgid;
	u32 reserved;
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

/* A function of its own, so that the verifier looks at it once. */
__noinline int displace(u64 owner, u64 raised_ns, u32 many)
{
	count_many(COUNTER_EXCEPTIONS_DISPLACED, many);
	bpf_map_update_elem(&displaced, &owner, &raised_ns, BPF_ANY);
	return 0;
}

static __always_inline void find_key(const struct exception_layout *layout, u64 state, u64 id, struct raised_key *key)
{
	key->running = state ? read_word(state + layout->context) : 0;
	if (!key->running)
		key->running = (u32)id;
	key->tgid = id >> 32;
	key->reserved = 0;
}

static __always_inline u64 owner_key(const struct raised_key *key)
{
	return key->running | (u64)key->tgid << USER_ADDRESS_BITS;
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
static __always_inline u64 displaced_ns(const struct raised_key *key)
{
	const u64 owner = owner_key(key);
	const u64 *raised_ns = bpf_map_lookup_elem(&displaced, &owner);

	return raised_ns ? *raised_ns : 0;
}

static __always_inline void empty(struct raised_exceptions *found)
{
	found->head.count = 0;
	found->head.displaced_ns = 0;
}

/* `now_ns`: not 0, make room if there is none; what was used longest ago goes. What goes, and what finds no room, is noted:
 * nobody knows whether it was over.
 */
static __always_inline struct raised_exceptions *find_raised(const struct raised_key *key, u64 now_ns)
{
	const u64 owner = owner_key(key);
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
		return 0;
	own = &raised_owners[place & (RAISED_SETS * RAISED_WAYS - 1)];
	if (!is_own && __sync_val_compare_and_swap(&own->key, before, owner) != before) {
		displace(owner, now_ns, 1);
		return 0;
	}
	found = bpf_map_lookup_elem(&raised, &place);
	/* Never true; the verifier cannot know. */
	if (!found)
		return 0;
	if (!is_own) {
		if (before && found->head.count && is_watched(found->head.header.tgid))
			displace(before, last_raised_ns(found), found->head.count);
		empty(found);
		found->head.header.tgid = key->tgid;
	}
	if (now_ns)
		own->used_ns = now_ns;
	/* A part of its number may be another process's. */
	if (likely(found->head.header.tgid == key->tgid))
		return found;
	if (now_ns)
		displace(owner, now_ns, 1);
	return 0;
}

static __always_inline void forget_raised(const struct raised_key *key)
{
	const u64 owner = owner_key(key);
	const u32 first = first_place(owner);

	for (u32 i = 0; i < RAISED_WAYS; i++) {
		struct raised_owner *way = &raised_owners[first + i];

		if (way->key == owner) {
			way->used_ns = 0;
			way->key = 0;
		}
	}
}

/* Exceptions that went through the code that calls the service's stay longest, then those that came before others, then
 * those with the most frames, then the older ones: what is raised and caught while an error page is made must not take
 * their place.
 */
#define RANK_DISPATCHED (1U << 31)
#define RANK_EARLIER (1U << 30)

static __always_inline u32 rank_of(const struct exception *exception)
{
	return exception->frames + (exception->dispatched ? RANK_DISPATCHED : 0) + (exception->earlier ? RANK_EARLIER : 0);
}

/* Room for one more: a free one, else that of the exception with the lowest rank. */
static __always_inline struct exception *make_room(struct raised_exceptions *found)
{
	u32 index = found->head.count;

	if (index < EXCEPTIONS_MAX) {
		found->head.count = index + 1;
	} else {
		u32 lowest = ~0U;

		index = 0;
		for (u32 i = 0; i < EXCEPTIONS_MAX; i++) {
			const u32 rank = rank_of(&found->exceptions[i]);

			if (rank <= lowest) {
				lowest = rank;
				index = i;
			}
		}
		/* What is known to have been more than everyday life. */
		if (lowest >= RANK_DISPATCHED) {
			count(COUNTER_EXCEPTIONS_DISPLACED);
			found->head.displaced_ns = found->exceptions[index & (EXCEPTIONS_MAX - 1)].raised_ns;
		}
	}
	return &found->exceptions[index & (EXCEPTIONS_MAX - 1)];
}

static __always_inline void begin_exception(struct exception *exception, u64 kind, u64 now_ns)
{
	/* Texts and frames are only as good as their counts. */
	__builtin_memset(exception, 0, __builtin_offsetof(struct exception, code));
	exception->raised_ns = now_ns;
	exception->kind = kind;
}

/* The exception whose traceback begins with this link; or else the one whose traceback was changed meanwhile. Frames and
 * exceptions come to stand where others were: of several the last one is meant, one that is known by its own address has
 * it, and one that has left a single frame so far is none that has left more.
 */
static __always_inline struct exception *find_exception(struct raised_exceptions *found, const struct traceback_link *link,
							u64 kind, u64 object, bool *goes_on)
{
	u32 best = EXCEPTIONS_MAX, same = EXCEPTIONS_MAX;
	u64 best_ns = 0;

	for (u32 i = 0; i < EXCEPTIONS_MAX; i++) {
		const struct exception *exception = &found->exceptions[i];

		if (i >= found->head.count)
			break;
		if (exception->kind != kind)
			continue;
		if (object && exception->object == object)
			same = i;
		if (link->frame && exception->last_frame == link->frame && exception->left_ns > best_ns &&
		    (exception->frames > 1) == (link->next != 0) &&
		    (!exception->object || exception->object == object)) {
			best = i;
			best_ns = exception->left_ns;
		}
	}
	*goes_on = best < EXCEPTIONS_MAX;
	if (!*goes_on)
		best = same;
	return best < EXCEPTIONS_MAX ? &found->exceptions[best] : 0;
}

/* Adds an exception as it is in memory, unless it is known. `raised_ns`: when that is said to have been, 0: it is being
 * handled now. `earlier`: another one came of it.
 */
__noinline int keep_one(const struct exception_layout *layout, struct raised_exceptions *found, u64 value, u64 raised_ns,
			u32 earlier)
{
	struct exception *exception;
	u64 kind = 0, traceback;

	if (!layout || !found || !value || !(flags_of(layout, value, &kind) & TYPE_EXCEPTION))
		return 0;
	for (u32 i = 0; i < EXCEPTIONS_MAX; i++)
		if (i < found->head.count && found->exceptions[i].object == value)
			return 0;
	traceback = read_word(value + layout->exception_traceback);
	exception = make_room(found);
	begin_exception(exception, kind, raised_ns);
	describe(layout, exception, value);
	keep_chain(layout, exception, traceback);
	if (earlier) {
		exception->earlier = 1;
		exception->left_ns = raised_ns;
		exception->last_frame = traceback ? read_word(traceback + layout->traceback_frame) : 0;
	}
	return 0;
}

/* An exception was made while `object` was handled, or because of it: which of those kept that is. An address may
 * have been another's before, so it goes by where its traceback ends. False: it is not kept.
 */
static __always_inline bool name_earlier(const struct exception_layout *layout, struct raised_exceptions *found, u64 object)
{
	const u64 traceback = read_word(object + layout->exception_traceback);
	const u64 frame = traceback ? read_word(traceback + layout->traceback_frame) : 0;
	const u64 kind = read_word(object + layout->object_kind);
	u64 code = 0, last_ns = 0;
	u32 last = EXCEPTIONS_MAX;

	for (u32 i = 0; i < EXCEPTIONS_MAX; i++) {
		struct exception *exception = &found->exceptions[i];

		if (i >= found->head.count)
			break;
		if (exception->object == object)
			exception->object = 0;
		if (!frame || exception->last_frame != frame || exception->kind != kind || exception->left_ns <= last_ns)
			continue;
		if (!code)
			code = read_word(interpreter_frame(layout, frame) + layout->frame_code) & ~3ULL;
		if (code && exception->code[place_of(exception->frames - 1) & (2 * END_FRAMES - 1)] == code) {
			last_ns = exception->left_ns;
			last = i;
		}
	}
	if (last >= EXCEPTIONS_MAX)
		return false;
	found->exceptions[last].object = object;
	found->exceptions[last].earlier = 1;
	return true;
}

/* Those before an exception, from `object` on: they keep their room, and what was caught where it was raised gets one now.
 * A function of its own, so that the verifier looks at it once.
 */
__noinline int keep_earlier(const struct exception_layout *layout, struct raised_exceptions *found, u64 object, u64 now_ns)
{
	if (!layout || !found)
		return 0;
	for (u32 i = 0; i < EARLIER_MAX && object; i++) {
		u64 cause;

		if (found->head.count && name_earlier(layout, found, object))
			break;
		keep_one(layout, found, object, now_ns, 1);
		cause = read_word(object + layout->exception_cause);
		object = cause ? cause : read_word(object + layout->exception_context);
	}
	return 0;
}

/* The same for one that is kept, which must stay meanwhile. */
static __always_inline void keep_those_before(const struct exception_layout *layout, struct raised_exceptions *found,
					      struct exception *exception, u64 now_ns)
{
	const u64 cause = exception->cause, context = exception->context;

	if (!cause && !context)
		return;
	exception->dispatched |= STAYS;
	keep_earlier(layout, found, context, now_ns);
	if (cause != context)
		keep_earlier(layout, found, cause, now_ns);
	exception->dispatched &= ~STAYS;
}

/* Whether those before it were not looked for yet. */
static __always_inline bool is_alone(const struct exception *exception)
{
	return exception->left_ns && exception->frames == FIRST_FRAMES;
}

static __always_inline bool is_handling(const struct exception_layout *layout, u64 state)
{
	u64 item = state ? read_word(state + layout->handled) : 0, kind = 0;

	for (u32 i = 0; i < HANDLED_MAX && item; i++) {
		const u64 value = read_word(item + layout->handled_value);

		if (value && flags_of(layout, value, &kind) & TYPE_EXCEPTION)
			return true;
		item = read_word(item + layout->handled_previous);
	}
	return false;
}

/* Adds what the thread is handling just now (its `except` clauses). */
static __always_inline void keep_handled(const struct exception_layout *layout, struct raised_exceptions *found, u64 state,
					 u64 noted_ns)
{
	u64 item = read_word(state + layout->handled);

	for (u32 i = 0; i < HANDLED_MAX && item; i++) {
		const u64 value = read_word(item + layout->handled_value);

		keep_one(layout, found, value, noted_ns, 0);
		for (u32 j = 0; j < EXCEPTIONS_MAX; j++) {
			struct exception *exception = &found->exceptions[j];

			if (value && j < found->head.count && exception->object == value && is_alone(exception))
				keep_those_before(layout, found, exception, exception->left_ns);
		}
		item = read_word(item + layout->handled_previous);
	}
}

#endif
