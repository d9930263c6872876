/* Which exceptions are kept, and for how long. */
#ifndef STARDUST_PROBE_RAISED_H
#define STARDUST_PROBE_RAISED_H

#include "raised_places.h"

enum {
	/* `except` clauses, one within another. */
	HANDLED_MAX = 8,
	/* Exceptions before an exception that are looked for. */
	EARLIER_MAX = 3,
	/* It has left so many frames when it is first seen; those before it are looked for when it leaves another one. */
	FIRST_FRAMES = 2,
	/* In `dispatched`, for a moment: it keeps its room whatever comes. */
	STAYS = 2,
};

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

/* Gives the place of room for one more: a free one, else that of the exception with the lowest rank. */
__noinline u32 find_room(struct raised_exceptions *found)
{
	u32 index, lowest = ~0U;

	if (!found)
		return 0;
	index = found->head.count;
	if (index < EXCEPTIONS_MAX) {
		found->head.count = index + 1;
		return index;
	}
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
	return index;
}

/* A place that another function gave: the verifier is to see it bounded, so the compiler must not know what that function gives. */
static __always_inline struct exception *exception_at(struct raised_exceptions *found, u32 place)
{
	barrier_var(place);
	return &found->exceptions[place & (EXCEPTIONS_MAX - 1)];
}

static __always_inline struct exception *make_room(struct raised_exceptions *found)
{
	return exception_at(found, find_room(found));
}

static __always_inline void begin_exception(struct exception *exception, u64 kind, u64 now_ns)
{
	/* Texts and frames are only as good as their counts. */
	__builtin_memset(exception, 0, __builtin_offsetof(struct exception, code));
	exception->raised_ns = now_ns;
	exception->kind = kind;
}

/* The place of an exception among those kept, from EXCEPTIONS_MAX on there is none; with GOES_ON: it is the one whose traceback
 * begins as asked.
 */
#define GOES_ON 0x100U

/* The exception whose traceback begins with a link of this frame, `is_further`: behind which there are others; or else the one
 * whose traceback was changed meanwhile. Frames and exceptions come to stand where others were: of several the last one is
 * meant, one that is known by its own address has it, and one that has left a single frame so far is none that has left more.
 */
__noinline u32 find_exception(const struct raised_exceptions *found, u64 frame, bool is_further, u64 kind, u64 object)
{
	u32 best = EXCEPTIONS_MAX, same = EXCEPTIONS_MAX;
	u64 best_ns = 0;

	if (!found)
		return EXCEPTIONS_MAX;
	for (u32 i = 0; i < EXCEPTIONS_MAX; i++) {
		const struct exception *exception = &found->exceptions[i];

		if (i >= found->head.count)
			break;
		if (exception->kind != kind)
			continue;
		if (object && exception->object == object)
			same = i;
		if (frame && exception->last_frame == frame && exception->left_ns > best_ns &&
		    (exception->frames > 1) == is_further && (!exception->object || exception->object == object)) {
			best = i;
			best_ns = exception->left_ns;
		}
	}
	return best < EXCEPTIONS_MAX ? best | GOES_ON : same;
}

/* Adds an exception as it is in memory but for its frames, unless it is known; gives its place, or EXCEPTIONS_MAX. `raised_ns`:
 * when that is said to have been, 0: it is being handled now. `earlier`: another one came of it.
 */
__noinline u32 begin_one(const struct exception_layout *layout, struct raised_exceptions *found, u64 value, u64 raised_ns,
			 u32 earlier)
{
	struct exception *exception;
	u64 kind = 0, traceback;
	u32 place;

	if (!layout || !found || !value || !(flags_of(layout, value, &kind) & TYPE_EXCEPTION))
		return EXCEPTIONS_MAX;
	for (u32 i = 0; i < EXCEPTIONS_MAX; i++)
		if (i < found->head.count && found->exceptions[i].object == value)
			return EXCEPTIONS_MAX;
	place = find_room(found);
	exception = exception_at(found, place);
	begin_exception(exception, kind, raised_ns);
	describe(layout, exception, value, &found->object_head);
	if (earlier) {
		traceback = read_word(value + layout->exception_traceback);
		exception->earlier = 1;
		exception->left_ns = raised_ns;
		exception->last_frame = traceback ? read_word(traceback + layout->traceback_frame) : 0;
	}
	return place;
}

/* The same with its frames. */
static __always_inline void keep_one(const struct exception_layout *layout, struct raised_exceptions *found, u64 value,
				     u64 raised_ns, u32 earlier)
{
	const u32 place = begin_one(layout, found, value, raised_ns, earlier);

	if (place < EXCEPTIONS_MAX)
		keep_chain(layout, exception_at(found, place), read_word(value + layout->exception_traceback));
}

/* An exception was made while `object` was handled, or because of it: which of those kept that is. An address may
 * have been another's before, so it goes by where its traceback ends. False: it is not kept.
 */
__noinline int name_earlier(const struct exception_layout *layout, struct raised_exceptions *found, u64 object)
{
	u64 traceback, frame, kind, code = 0, last_ns = 0;
	u32 last = EXCEPTIONS_MAX;

	if (!layout || !found)
		return false;
	traceback = read_word(object + layout->exception_traceback);
	frame = traceback ? read_word(traceback + layout->traceback_frame) : 0;
	kind = read_word(object + layout->object_kind);
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

__noinline int is_handling(const struct exception_layout *layout, u64 state)
{
	u64 item, kind = 0;

	if (!layout || !state)
		return false;
	item = read_word(state + layout->handled);

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
