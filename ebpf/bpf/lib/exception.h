/* Exceptions as they are kept: what each says of itself, and the frames it has left.
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
	OBJECT_HEAD_WORDS = 16,
	/* Until behind PyASCIIObject.state, PyBaseExceptionObject.suppress_context, and the first item of a tuple; smaller objects
	 * than the first are hardly ever the last ones before memory that is not there.
	 */
	ARGUMENT_HEAD_BYTES = 40,
	EXCEPTION_HEAD_BYTES = 72,
	TUPLE_HEAD_BYTES = 40,
};

/* By process: where things are, and how often the probe was hit. The agent fills it in. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct exception_layout);
} exception_layouts SEC(".maps");

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

static __always_inline u64 flags_of(const struct exception_layout *layout, u64 object, u64 *kind)
{
	*kind = read_word(object + layout->object_kind);
	return *kind ? read_word(*kind + layout->type_flags) : 0;
}

/* The beginning of an object by words: what is there costs one guarded read, not one for each. It is read into memory of the
 * one who asks: there is little room on the stack (see own_stack.h).
 */
struct object_head {
	u64 words[OBJECT_HEAD_WORDS];
};

/* `bytes` is a constant, no more than what such an object has. */
static __always_inline void read_head(struct object_head *head, u64 object, u32 bytes)
{
	if (bpf_probe_read_user(head, bytes, (void *)object))
		__builtin_memset(head, 0, sizeof(*head));
}

static __always_inline u64 word_of(const struct object_head *head, u32 offset)
{
	return head->words[offset / sizeof(u64) & (OBJECT_HEAD_WORDS - 1)];
}

/* The start of a text, or a number of one digit. `room` is a constant; `head` is to work in. */
static __always_inline void keep_argument(const struct exception_layout *layout, u64 object, struct argument *argument,
					  u8 *text, u32 room, struct object_head *head)
{
	u64 flags, data, length, bytes;
	u32 state, width;

	if (!object)
		return;
	read_head(head, object, ARGUMENT_HEAD_BYTES);
	argument->kind = word_of(head, layout->object_kind);
	flags = argument->kind ? read_word(argument->kind + layout->type_flags) : 0;
	if (flags & TYPE_STR) {
		state = word_of(head, layout->str_state);
		length = word_of(head, layout->str_length);
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
		const u64 tag = word_of(head, layout->int_tag);
		const u32 digit = word_of(head, layout->int_digits);

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
__noinline int describe(const struct exception_layout *layout, struct exception *exception, u64 value,
			struct object_head *head)
{
	u64 args = 0, first = 0, second = 0, file = 0, count = 0, kind, flags;

	if (!layout || !exception || !value || !head)
		return 0;
	read_head(head, value, EXCEPTION_HEAD_BYTES);
	kind = word_of(head, layout->object_kind);
	flags = kind ? read_word(kind + layout->type_flags) : 0;
	if (flags & TYPE_EXCEPTION) {
		exception->object = value;
		exception->kind = kind;
		args = word_of(head, layout->exception_args);
		exception->args = args;
		exception->cause = word_of(head, layout->exception_cause);
		exception->context = word_of(head, layout->exception_context);
		exception->suppress_context = (u8)word_of(head, layout->exception_suppress_context) != 0;
	} else if (flags & TYPE_TUPLE) {
		args = value;
	} else {
		first = value;
		count = 1;
	}
	if (args) {
		read_head(head, args, TUPLE_HEAD_BYTES);
		count = word_of(head, layout->object_size);
		if (count > 0)
			first = word_of(head, layout->tuple_items);
		if (count > 1)
			second = read_word(args + layout->tuple_items + 8);
	}
	exception->arguments_count = count > 255 ? 255 : count;
	/* OSError keeps its file elsewhere; whether it is one is for the agent to know. */
	if (count == 2 && (flags & TYPE_EXCEPTION))
		file = read_word(value + layout->exception_filename);
	keep_argument(layout, first, &exception->arguments[0], exception->first_text, FIRST_TEXT_BYTES, head);
	keep_argument(layout, second, &exception->arguments[1], exception->second_text, SECOND_TEXT_BYTES, head);
	keep_argument(layout, file, &exception->arguments[2], exception->third_text, THIRD_TEXT_BYTES, head);
	return 0;
}

/* Frames count from the innermost: the first ones stay, of the others the last ones. */
static __always_inline u32 place_of(u32 frame)
{
	return frame < END_FRAMES ? frame : END_FRAMES + (frame & (END_FRAMES - 1));
}

/* A PyTracebackObject without what stands before: the agent has seen these to follow each other. */
struct traceback_link {
	u64 next; /* towards where it was raised */
	u64 frame;
	u32 last_instruction;
	u32 line;
};

static __always_inline void read_link(const struct exception_layout *layout, u64 traceback, struct traceback_link *link)
{
	if (bpf_probe_read_user(link, sizeof(*link), (void *)(traceback + layout->traceback_next)))
		__builtin_memset(link, 0, sizeof(*link));
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
	struct traceback_link link = {};
	u32 frame;

	if (!walk->next || walk->index >= walk->length)
		return 1;
	read_link(layout, walk->next, &link);
	walk->next = link.next;
	/* The chain begins with the outermost. */
	frame = walk->length - 1 - walk->index;
	walk->index++;
	if (frame < END_FRAMES || frame + END_FRAMES >= walk->length) {
		const u64 inner = interpreter_frame(layout, link.frame);

		keep_frame(walk->exception, frame, read_word(inner + layout->frame_code), link.last_instruction);
	}
	return 0;
}

/* Takes the frames over that the traceback already has. */
__noinline int keep_chain(const struct exception_layout *layout, struct exception *exception, u64 traceback)
{
	struct traceback_link link = {};
	struct chain_walk walk = {};

	if (!layout || !exception)
		return 0;
	read_link(layout, traceback, &link);
	if (!link.next) {
		const u64 inner = interpreter_frame(layout, link.frame);

		if (link.frame)
			keep_frame(exception, 0, read_word(inner + layout->frame_code), link.last_instruction);
		exception->frames = link.frame != 0;
		return 0;
	}
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

#endif
