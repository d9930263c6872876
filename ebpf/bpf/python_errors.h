/* Exceptions of watched Python processes. What unwinds is kept by the context or thread it unwinds in, a few at a
 * time, and leaves the kernel only with an answer of 5xx or with a connection that is closed in the middle.
 *
 * PyTraceBack_Here (Python/traceback.c) runs once for each frame that an exception leaves, the innermost first, with
 * the frame as its argument. Exceptions that are caught in the frame that raised them are passed over: nothing but the
 * code of that frame can have been ended by them. Where that function is not looked at, what a process asks its interpreter about itself shows what it
 * is handling: who reports a failure calls sys.exc_info or, since 3.11, sys.exception.
 */
#ifndef STARDUST_PROBE_PYTHON_ERRORS_H
#define STARDUST_PROBE_PYTHON_ERRORS_H

#include "lib/answer.h"
#include "lib/connection.h"
#include "lib/noted.h"
#include "lib/own_stack.h"
#include "lib/payload.h"
#include "lib/raised.h"
#include "lib/ring.h"

enum {
	/* A connection in the middle of an answer is closed: fewer frames are everyday life. */
	ODD_FRAMES = 3,
};

/* The last answer on a connection, by the connection's id (or TLS_OBJECT). Kept only of processes that the probe is in. */
struct given_answer {
	u64 by; /* what was running when it began */
	u64 received; /* bytes on the connection by then */
	u32 tid;
	u32 told; /* what was raised before it, or because of which it broke off */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct given_answer);
} given_answers SEC(".maps");

/* An exception leaves a frame. `frame`: a PyFrameObject; 0: it has left that of its traceback's first link. */
__noinline int unwind(u64 frame)
{
	const u64 id = bpf_get_current_pid_tgid();
	const u32 tgid = id >> 32;
	struct exception_layout *layout = bpf_map_lookup_elem(&exception_layouts, &tgid);
	u64 kind = 0, value, traceback, code, instruction, now_ns, state;
	struct traceback_link link = {};
	struct exception *exception;
	struct raised_exceptions *found;
	u32 offset, place;

	if (!layout)
		return 0;
	__sync_fetch_and_add(&layout->hits, 1);
	state = state_of_thread(layout);
	if (!state)
		return 0;
	if (layout->raised_in_parts) {
		/* curexc_type, curexc_value, curexc_traceback */
		u64 parts[3] = {};

		bpf_probe_read_user(parts, sizeof(parts), (void *)(state + layout->raised));
		kind = parts[0];
		value = parts[1];
		traceback = parts[2];
	} else {
		value = read_word(state + layout->raised);
		traceback = value ? read_word(value + layout->exception_traceback) : 0;
	}
	/* Most exceptions are caught where they were raised, and end nothing. The first frame of others is told by their
	 * tracebacks when they leave the second.
	 */
	if (!traceback)
		return 0;
	read_link(layout, traceback, &link);
	if (frame) {
		const u64 inner = interpreter_frame(layout, frame);

		code = read_word(inner + layout->frame_code);
		instruction = read_word(inner + layout->frame_instruction);
		if (layout->first_instruction)
			offset = instruction - ((code & ~3ULL) + layout->first_instruction);
		else
			offset = (u32)instruction * layout->instruction_bytes;
	} else {
		if (!link.next)
			return 0;
		frame = link.frame;
		offset = link.last_instruction;
		code = read_word(interpreter_frame(layout, frame) + layout->frame_code);
		traceback = link.next;
		read_link(layout, traceback, &link);
	}
	if (!layout->raised_in_parts)
		kind = read_word(value + layout->object_kind);
	if (!kind)
		return 0;
	now_ns = bpf_ktime_get_ns();
	found = find_raised(find_running(layout, state, id), tgid, now_ns);
	if (!found)
		return 0;
	place = find_exception(found, link.frame, link.next != 0, kind, value);
	exception = place == EXCEPTIONS_MAX ? 0 : exception_at(found, place);
	if (exception && place & GOES_ON) {
		/* The same, perhaps made only now. */
		if (exception->object != value && value)
			describe(layout, exception, value, &found->object_head);
		if (is_alone(exception))
			keep_those_before(layout, found, exception, now_ns);
	} else if (exception && link.next) {
		/* Raised again. */
		exception->raised_ns = now_ns;
		describe(layout, exception, value, &found->object_head);
		keep_chain(layout, exception, traceback);
	} else {
		/* Another one at the address of one that is gone. */
		if (exception)
			exception->object = 0;
		exception = make_room(found);
		begin_exception(exception, kind, now_ns);
		describe(layout, exception, value, &found->object_head);
		keep_chain(layout, exception, traceback);
	}
	keep_frame(exception, exception->frames, code, offset);
	for (u32 i = 0; i < DISPATCH_CODES; i++)
		exception->dispatched |= layout->dispatch[i] == (code & ~3ULL);
	exception->frames++;
	exception->last_frame = frame;
	exception->left_ns = now_ns;
	return 0;
}

/* At PyTraceBack_Here, or a call of it. */
SEC("uprobe")
int exception_left_frame(struct pt_regs *registers)
{
	ON_KERNEL_STACK(registers);
	return unwind(registers->ARGUMENT_FIRST);
}

/* In PyTraceBack_Here, where it lets the traceback go that the exception had before. */
SEC("uprobe")
int exception_left_another(struct pt_regs *registers)
{
	ON_KERNEL_STACK(registers);
	return unwind(0);
}

/* sys.exc_info or sys.exception is called (Python/sysmodule.c). */
SEC("uprobe")
int exception_asked_for(struct pt_regs *registers)
{
	const u64 id = bpf_get_current_pid_tgid(), now_ns = bpf_ktime_get_ns();
	const u32 tgid = id >> 32;
	struct exception_layout *layout = bpf_map_lookup_elem(&exception_layouts, &tgid);
	struct raised_exceptions *found;
	u64 state, running;

	ON_KERNEL_STACK(registers);
	if (!layout)
		return 0;
	__sync_fetch_and_add(&layout->asked, 1);
	state = state_of_thread(layout);
	if (!is_handling(layout, state))
		return 0;
	running = find_running(layout, state, id);
	found = find_raised(running, tgid, now_ns);
	if (!found)
		return 0;
	/* What was noted before is being handled still, or it is over. */
	empty(found);
	keep_handled(layout, found, state, now_ns);
	note(owner_of(running, tgid), id, now_ns);
	return 0;
}

/* The head stands before `count` exceptions. */
static __always_inline void report(struct exceptions *head, u32 count, u64 connection, u64 sent, u32 stream, u64 id)
{
	const u64 size = sizeof(*head) + (u64)count * sizeof(struct exception);

	fill_header(&head->header, RECORD_EXCEPTIONS, size, id >> 32, (u32)id);
	head->connection = connection;
	head->sent = sent;
	head->stream = stream;
	/* Soon: a part of it is read from the process's memory, where it does not last. */
	emit_now(&head->header, size);
}

/* A function of its own, as the next ones, so that the verifier looks at it once, and its part of the stack is free again. */
__noinline int report_raised(struct raised_exceptions *found, u64 connection, u64 sent, u32 stream, u64 id)
{
	u32 count;

	if (!found)
		return 0;
	count = found->head.count;
	if (count || found->head.displaced_ns)
		report(&found->head, count > EXCEPTIONS_MAX ? EXCEPTIONS_MAX : count, connection, sent, stream, id);
	return 0;
}

/* What had to give way elsewhere, too. */
static __always_inline void add_displaced(struct raised_exceptions *found, u64 gone_ns)
{
	if (found->head.displaced_ns < gone_ns)
		found->head.displaced_ns = gone_ns;
}

/* There is no room for anything. */
__noinline int report_gone(u64 running, u64 connection, u64 sent, u32 stream)
{
	const u64 id = bpf_get_current_pid_tgid();
	struct exceptions head = { .displaced_ns = displaced_ns(running, id >> 32) };

	if (head.displaced_ns)
		report(&head, 0, connection, sent, stream, id);
	return 0;
}

/* Where nothing is kept, nothing can come after the answer's beginning. */
__noinline int note_answer(u64 connection, u64 running, u64 received, u32 tid, u32 told)
{
	const struct given_answer given = { .by = running, .received = received, .tid = tid, .told = told };

	bpf_map_update_elem(&given_answers, &connection, &given, BPF_ANY);
	return 0;
}

/* An answer is about to be recorded. `received`, `sent`: on the connection before it. */
__noinline int answer(u64 connection, u32 class, u64 received, u64 sent, u32 stream)
{
	const bool may_fail = may_be_failure(class);
	const u64 id = bpf_get_current_pid_tgid();
	const u32 tgid = id >> 32;
	const struct exception_layout *layout = bpf_map_lookup_elem(&exception_layouts, &tgid);
	struct raised_exceptions *found;
	u64 state, running;
	bool is_made;

	/* Where nothing was kept yet, an answer that is fine ends nothing. */
	if (!layout || (!may_fail && !layout->hits && !layout->asked))
		return 0;
	state = state_of_thread(layout);
	running = find_running(layout, state, id);
	is_made = may_fail && (class == CLASS_FAILURE || is_handling(layout, state));
	found = find_raised(running, tgid, is_made ? bpf_ktime_get_ns() : 0);
	if (found) {
		if (may_fail) {
			if (state)
				keep_handled(layout, found, state, 0);
			add_displaced(found, displaced_ns(running, tgid));
			report_raised(found, connection, sent, stream, id);
		}
		empty(found);
		/* Contexts come and go, threads stay. */
		if (running != (u32)id)
			forget_raised(running, tgid);
	} else if (may_fail) {
		report_gone(running, connection, sent, stream);
	}
	end_note(owner_of(running, tgid), id);
	if (layout->hits)
		note_answer(connection, running, received, (u32)id, may_fail);
	return 0;
}

/* Bytes that are about to be recorded as sent. */
struct sending {
	u64 connection; /* or TLS_OBJECT */
	u64 start;
	u64 bytes;
	u64 received; /* on the connection before */
	u64 sent;
	bool frames; /* it is HTTP/2 */
};

/* `all`: each answer counts, not only those of failures. */
static __always_inline void before_sending(const struct sending *sending, bool all)
{
	u8 head[ANSWER_BYTES] = {};
	u64 found = 0;
	u32 class;

	if (sending->bytes < ANSWER_BYTES || bpf_probe_read_user(head, sizeof(head), (void *)sending->start))
		return;
	if (*(u32 *)head == HTTP_IN_MEMORY)
		found = beginning(head[9], 0);
	else if (sending->frames && head[3] != FRAME_DATA)
		found = find_block(sending->start, sending->bytes);
	class = found >> 32;
	if (may_be_failure(class) || (all && class && class != CLASS_INTERIM))
		answer(sending->connection, class, sending->received, sending->sent, (u32)found);
}

/* The same for what was put aside of a socket call. A function of its own: its part of the stack is free again. */
__noinline int before_answer(u32 slot, const struct connection *connection, bool all)
{
	const struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct sending sending = {};

	if (!scratch || !connection || scratch->facts.result < ANSWER_BYTES)
		return 0;
	sending.connection = connection->id;
	sending.start = scratch->walk.buffer.first.base;
	sending.bytes = scratch->facts.result;
	sending.received = connection->received;
	sending.sent = connection->sent - sending.bytes;
	sending.frames = connection->whole;
	before_sending(&sending, all);
	return 0;
}

/* The process closes a connection (or TLS_OBJECT) that may be in the middle of a request. */
__noinline int close_connection(u64 connection, u64 received, u64 sent)
{
	const u64 id = bpf_get_current_pid_tgid();
	const u32 tgid = id >> 32;
	const struct exception_layout *layout = bpf_map_lookup_elem(&exception_layouts, &tgid);
	struct given_answer *given;
	struct raised_exceptions *found;
	u32 most_frames = 0;
	bool is_answered, is_own;
	u64 state, running, gone_ns;

	if (!layout)
		return 0;
	state = state_of_thread(layout);
	running = find_running(layout, state, id);
	/* The answer to what came last has begun, maybe in another context than the one that closes. Another thread may
	 * be at something else by now.
	 */
	given = bpf_map_lookup_elem(&given_answers, &connection);
	is_answered = given && given->received == received;
	if (is_answered && (given->told || given->tid != (u32)id))
		return 0;
	is_own = !is_answered || given->by == running;
	if (is_answered)
		running = given->by;
	found = find_raised(running, tgid, is_answered ? 0 : bpf_ktime_get_ns());
	if (!found)
		return 0;
	if (!is_answered && state)
		keep_handled(layout, found, state, 0);
	for (u32 i = 0; i < EXCEPTIONS_MAX; i++)
		if (i < found->head.count && found->exceptions[i].frames > most_frames)
			most_frames = found->exceptions[i].frames;
	gone_ns = is_answered ? 0 : displaced_ns(running, tgid);
	if (gone_ns || most_frames >= (is_answered ? ODD_FRAMES : 1)) {
		add_displaced(found, gone_ns);
		report_raised(found, connection, sent, 0, id);
		if (is_answered)
			given->told = 1;
	}
	/* Else it may be another's by now. */
	if (is_own)
		empty(found);
	return 0;
}

/* Until exceptions are kept, only a connection (or TLS_OBJECT) on which nothing was ever answered is known to be in the middle
 * of a request.
 */
static __always_inline void before_end(u32 tgid, u64 connection, u64 received, u64 sent)
{
	if (config.exceptions && at_hand.exceptions_are_known && received && (!sent || may_keep(tgid)))
		close_connection(connection, received, sent);
}

static __always_inline void before_close(const struct connection *connection, u64 id)
{
	/* Packets change states too, on whatever thread they come in. In HTTP/2 the server says so otherwise, and of what is
	 * encrypted the library's object was closed before.
	 */
	if (!connection->whole && !connection->ignored && connection->tgid == (u32)(id >> 32))
		before_end(connection->tgid, connection->id, connection->received, connection->sent);
}

#endif
