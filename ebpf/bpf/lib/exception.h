/* Exceptions as they are kept: what each says of itself, the frames it has left, and which are kept for how long.
 *
 * An exception may be freed before the agent reads what is reported: its type and its code objects are named by
 * addresses that outlive it, its text is copied when it is first met.
 */
#ifndef STARDUST_PROBE_EXCEPTION_H
#define STARDUST_PROBE_EXCEPTION_H

#include "counters.h"
#include "python.h"

/* Py_TPFLAGS_*_SUBCLASS (Include/object.h). */
enum type_flag {
	TYPE_INT = 1 << 24,
	TYPE_TUPLE = 1 << 26,
	TYPE_STR = 1 << 28,
	TYPE_EXCEPTION = 1 << 30,
};

/* PyASCIIObject.state (Include/cpython/unicodeobject.h), without the interning bits. */
enum str_state {
	STR_WIDTH_SHIFT = 2,
	STR_WIDTH_MASK = 7,
	STR_COMPACT = 1 << 5,
	STR_ASCII = 1 << 6,
};

enum {
	/* Tracebacks are followed so far. */
	CHAIN_MAX = 4096,
	/* Where the kernel has no bpf_loop (before 5.17). */
	CHAIN_MAX_UNROLLED = 48,
	/* `except` clauses, one within another. */
	HANDLED_MAX = 8,
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

/* By process: where things are, and how often the probe was hit. The agent fills it in. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct exception_layout);
} exception_layouts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct raised_key);
	__type(value, struct raised_exceptions);
} raised SEC(".maps");

/* Where each entry of the table begins. */
static const struct raised_exceptions nothing_raised;

static __always_inline u64 read_word(u64 address)
{
	u64 word = 0;

	bpf_probe_read_user(&word, sizeof(word), (void *)address);
	return word;
}

static __always_inline u64 state_of_thread(const struct exception_layout *layout)
{
	return read_word(thread_pointer(bpf_get_current_task_btf()) + layout->slot);
}

static __always_inline void find_key(const struct exception_layout *layout, u64 state, u64 id, struct raised_key *key)
{
	key->running = state ? read_word(state + layout->context) : 0;
	if (!key->running)
		key->running = (u32)id;
	key->tgid = id >> 32;
	key->reserved = 0;
}

static __always_inline u64 flags_of(const struct exception_layout *layout, u64 object, u64 *kind)
{
	*kind = read_word(object + layout->object_kind);
	return *kind ? read_word(*kind + layout->type_flags) : 0;
}

/* The start of a text, or a number of one digit. `room` is a constant. */
static __always_inline void keep_argument(const struct exception_layout *layout, u64 object, struct argument *argument,
					  u8 *text, u32 room)
{
	const u64 flags = object ? flags_of(layout, object, &argument->kind) : 0;
	u64 data, length, bytes;
	u32 state, width;

	if (flags & TYPE_STR) {
		state = read_word(object + layout->str_state);
		length = read_word(object + layout->str_length);
		width = (state >> STR_WIDTH_SHIFT) & STR_WIDTH_MASK;
		if (!(state & STR_COMPACT))
			data = read_word(object + layout->str_wide);
		else
			data = object + (state & STR_ASCII ? layout->str_ascii : layout->str_wide);
		bytes = length < room ? length * width : room;
		argument->cut = bytes > room || length >= room;
		barrier_var(bytes);
		if (bytes > room)
			bytes = room;
		if (bpf_probe_read_user(text, bytes, (void *)data))
			return;
		argument->width = width;
		argument->bytes = bytes;
	} else if (flags & TYPE_INT) {
		const u64 tag = read_word(object + layout->int_tag);
		const u32 digit = read_word(object + layout->int_digits);

		if (tag <= layout->int_one_digit) {
			argument->is_number = 1;
			argument->number = tag ? digit : 0;
		}
	}
}

/* What an exception says of itself. `value` need not be an exception: until 3.11 the interpreter makes one only
 * when code looks at it, and until then keeps its arguments. A function of its own, as the next ones, so that the
 * verifier looks at it once.
 */
__noinline int describe(const struct exception_layout *layout, struct exception *exception, u64 value)
{
	u64 kind = 0, args = 0, first = 0, second = 0, file = 0, count = 0, suppress;
	u64 flags;

	if (!layout || !exception || !value)
		return 0;
	flags = flags_of(layout, value, &kind);
	if (flags & TYPE_EXCEPTION) {
		exception->object = value;
		exception->kind = kind;
		args = read_word(value + layout->exception_args);
		exception->args = args;
		exception->cause = read_word(value + layout->exception_cause);
		exception->context = read_word(value + layout->exception_context);
		suppress = read_word(value + layout->exception_suppress_context);
		exception->suppress_context = (u8)suppress != 0;
	} else if (flags & TYPE_TUPLE) {
		args = value;
	} else {
		first = value;
		count = 1;
	}
	if (args) {
		count = read_word(args + layout->object_size);
		if (count > 0)
			first = read_word(args + layout->tuple_items);
		if (count > 1)
			second = read_word(args + layout->tuple_items + 8);
	}
	exception->arguments_count = count > 255 ? 255 : count;
	/* OSError keeps its file elsewhere; whether it is one is for the agent to know. */
	if (count == 2 && (flags & TYPE_EXCEPTION))
		file = read_word(value + layout->exception_filename);
	keep_argument(layout, first, &exception->arguments[0], exception->first_text, FIRST_TEXT_BYTES);
	keep_argument(layout, second, &exception->arguments[1], exception->second_text, SECOND_TEXT_BYTES);
	keep_argument(layout, file, &exception->arguments[2], exception->third_text, THIRD_TEXT_BYTES);
	return 0;
}

/* Frames count from the innermost: the first ones stay, of the others the last ones. */
static __always_inline u32 place_of(u32 frame)
{
	return frame < END_FRAMES ? frame : END_FRAMES + (frame & (END_FRAMES - 1));
}

static __always_inline u64 interpreter_frame(const struct exception_layout *layout, u64 frame)
{
	return layout->frame_inner ? read_word(frame + layout->frame_inner) : frame;
}

static __always_inline void keep_frame(struct exception *exception, u32 frame, u64 code, u32 offset)
{
	const u32 place = place_of(frame) & (2 * END_FRAMES - 1);

	/* Since 3.14 the lowest bits are tags. */
	exception->code[place] = code & ~3ULL;
	exception->offset[place] = offset;
}

struct chain_walk {
	const struct exception_layout *layout;
	struct exception *exception;
	u64 next;
	u32 length;
	u32 index;
};

static long count_link(u32 index, void *context)
{
	struct chain_walk *walk = context;

	if (!walk->next)
		return 1;
	walk->next = read_word(walk->next + walk->layout->traceback_next);
	walk->length++;
	return 0;
}

static long keep_link(u32 index, void *context)
{
	struct chain_walk *walk = context;
	const struct exception_layout *layout = walk->layout;
	const u64 link = walk->next;
	u32 frame;

	if (!link || walk->index >= walk->length)
		return 1;
	walk->next = read_word(link + layout->traceback_next);
	/* The chain begins with the outermost. */
	frame = walk->length - 1 - walk->index;
	walk->index++;
	if (frame < END_FRAMES || frame + END_FRAMES >= walk->length) {
		const u64 inner = interpreter_frame(layout, read_word(link + layout->traceback_frame));

		keep_frame(walk->exception, frame, read_word(inner + layout->frame_code),
			   read_word(link + layout->traceback_last_instruction));
	}
	return 0;
}

/* Takes the frames over that the traceback already has. */
__noinline int keep_chain(const struct exception_layout *layout, struct exception *exception, u64 traceback)
{
	struct chain_walk walk = {};

	if (!layout || !exception)
		return 0;
	walk.layout = layout;
	walk.exception = exception;
	walk.next = traceback;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) {
		bpf_loop(CHAIN_MAX, count_link, &walk, 0);
		walk.next = traceback;
		bpf_loop(CHAIN_MAX, keep_link, &walk, 0);
	} else {
		for (u32 i = 0; i < CHAIN_MAX_UNROLLED; i++)
			if (count_link(i, &walk))
				break;
		walk.next = traceback;
		for (u32 i = 0; i < CHAIN_MAX_UNROLLED; i++)
			if (keep_link(i, &walk))
				break;
	}
	exception->frames = walk.length;
	return 0;
}

static __always_inline struct raised_exceptions *find_raised(const struct raised_key *key, bool make)
{
	struct raised_exceptions *found = bpf_map_lookup_elem(&raised, key);

	if (found || !make)
		return found;
	bpf_map_update_elem(&raised, key, &nothing_raised, BPF_NOEXIST);
	return bpf_map_lookup_elem(&raised, key);
}

/* Exceptions that went through the code that calls the service's stay longest, then those that came before others, then
 * those with the most frames, then the older ones: what is raised and caught while an error page is made must not take
 * their place.
 */
static __always_inline u32 rank_of(const struct exception *exception)
{
	return exception->frames + (exception->dispatched ? 1U << 31 : 0) + (exception->earlier ? 1U << 30 : 0);
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

/* The exception that has left `frame` last; or else the one whose traceback was changed meanwhile. Frames and exceptions
 * come to stand where others were: of several the last one is meant, and one that is known by its own address has it.
 */
static __always_inline struct exception *find_exception(struct raised_exceptions *found, u64 frame, u64 kind, u64 object,
							bool *goes_on)
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
		if (frame && exception->last_frame == frame && exception->left_ns > best_ns &&
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

/* Adds an exception that is being handled, unless it is known. `noted_ns`: when that was noted, 0: now. */
__noinline int keep_one_handled(const struct exception_layout *layout, struct raised_exceptions *found, u64 value,
				u64 noted_ns)
{
	struct exception *exception;
	u64 kind = 0;

	if (!layout || !found || !value || !(flags_of(layout, value, &kind) & TYPE_EXCEPTION))
		return 0;
	for (u32 i = 0; i < EXCEPTIONS_MAX; i++)
		if (i < found->head.count && found->exceptions[i].object == value)
			return 0;
	exception = make_room(found);
	begin_exception(exception, kind, noted_ns);
	describe(layout, exception, value);
	keep_chain(layout, exception, read_word(value + layout->exception_traceback));
	return 0;
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
		keep_one_handled(layout, found, read_word(item + layout->handled_value), noted_ns);
		item = read_word(item + layout->handled_previous);
	}
}

#endif
