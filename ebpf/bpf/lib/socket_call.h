/* The one handler of socket calls, whichever way the kernel lets it in: from a socket, a result and a direction to
 * at most one record, or several where a call is copied whole (pieces.h). `typed`: the verifier knows the socket's type
 * (see FIELD).
 */
#ifndef STARDUST_PROBE_SOCKET_CALL_H
#define STARDUST_PROBE_SOCKET_CALL_H

#include "call_record.h"
#include "files.h"
#include "kernel_tls.h"
#include "tls_thread.h"

/* Errors after which the process simply tries again. */
static __always_inline bool is_passing(s64 result)
{
	switch (-result) {
	case EINTR:
	case EAGAIN:
	case EINPROGRESS:
	case ERESTARTSYS:
	case ERESTARTNOINTR:
	case ERESTARTNOHAND:
	case ERESTART_RESTARTBLOCK:
	case EIOCBQUEUED:
	/* Asked before it is connected, as Python's `ssl` does: nothing is known of the connection to be. */
	case ENOTCONN:
		return true;
	}
	return false;
}

/* A read whose buffer has no room gives 0 as well, and says nothing about the stream. */
static __always_inline bool asked_for_nothing(const struct buffer *buffer)
{
	return buffer->segments == 0 ? buffer->first.length == 0 : buffer->count == 0;
}

/* What is in the first segments, together; more than any send takes if there are more. A function of its own, so that
 * the verifier looks at it once.
 */
__noinline u64 segments_bytes(u64 segments, u64 count)
{
	struct user_iovec segment = {};
	u64 bytes = 0;

	for (u32 i = 0; i < SEGMENTS_MAX && i < count; i++) {
		if (bpf_probe_read_user(&segment, sizeof(segment), (void *)segments + i * sizeof(segment)))
			return ~0ULL;
		bytes += segment.length;
	}
	return count > SEGMENTS_MAX ? ~0ULL : bytes;
}

/* Whether a send took all that it was given. Not certain is no. */
static __always_inline bool took_all(const struct buffer *buffer, u64 result)
{
	if (!buffer->segments)
		return result >= buffer->first.length;
	if (buffer->count == PAIR)
		return result >= buffer->first.length + buffer->second.length;
	return result >= segments_bytes(buffer->segments, buffer->count);
}

/* The process keeps what the socket does not take, and an event loop sends it later. */
static __always_inline void note_refused(struct sock *sk)
{
	struct connection *connection = find_connection(sk);

	if (connection)
		connection->deferred = 1;
}

/* All of a call but what was put aside: gives whether something was. */
static __always_inline int look_at_call(struct task_struct *task, struct sock *sk, s64 result, u32 direction, u32 slot,
					bool typed)
{
	const u64 id = task_id(task);
	const u32 tgid = id >> 32;
	struct connection *connection;
	struct arguments arguments;
	struct call_facts facts = {};
	struct buffer buffer = {};
	struct file *file = 0;
	bool has_arguments, ran_on;
	u64 added_up_at, inode = 0;

	if (unlikely(result < 0) && is_passing(result)) {
		if (result == -EAGAIN && direction == DIRECTION_SENT)
			note_refused(sk);
		return 0;
	}
	if (result > 0 && unlikely(is_let_go(sk))) {
		note_socket_call(id, direction);
		count(COUNTER_IGNORED_CALLS);
		return 0;
	}
	/* All that is wanted of the task, before the ways part: the verifier's every look at it takes long. */
	facts.id = id;
	facts.thread = thread_pointer(task);
	added_up_at = task->se.exec_start;
	facts.ran_less_clock = ran_less_clock(task, added_up_at);
	ran_on = has_run_on(id, added_up_at);
	has_arguments = read_arguments(task, &arguments);
	note_socket_call(id, direction);
	connection = find_connection(sk);
	if (!connection || !config.use_socket_storage) {
		file = socket_file(sk, typed);
		if (!file)
			return 0;
		inode = inode_of(file, typed);
	}
	if (unlikely(!connection || (!config.use_socket_storage && connection->inode != inode))) {
		if (!is_stream(sk, typed))
			return 0;
		connection = open_connection(sk, inode);
		if (!connection)
			return 0;
		connection->origin_start = is_first(sk, direction, result, typed);
		/* What the process begins it is seen to begin, but of unix sockets. */
		connection->accepted = connection->origin_start && direction == DIRECTION_RECEIVED &&
				       FIELD(typed, sk, __sk_common.skc_family) != FAMILY_UNIX;
	}
	/* Another thread is about to fill it in. */
	if (unlikely(!connection->id)) {
		count(COUNTER_CONNECTIONS_FULL);
		return 0;
	}
	if (unlikely(!connection->ends_known)) {
		read_ends(sk, &connection->ends, typed);
		connection->ends_known = 1;
	}
	if (unlikely(is_ignored(connection, result > 0))) {
		set_let_go(sk, true);
		count(COUNTER_IGNORED_CALLS);
		return 0;
	}
	if (unlikely(connection->tgid != tgid)) {
		connection->tgid = tgid;
		connection->fd = -1;
	}
	facts.result = result;
	facts.direction = direction;
	facts.fd = -1;
	if (likely(has_arguments)) {
		const struct call_form form = form_of(arguments.number);
		s32 fd = arguments.first;

		facts.kind = form.call;
		if (facts.kind == CALL_SPLICE)
			fd = arguments.third;
		/* The running call may not be the one that moved these bytes (io_uring, a file on a network). */
		if (unlikely(connection->fd != fd) && (file ? file_at(fd) == (u64)file : is_socket(fd, sk)))
			connection->fd = fd;
		if (likely(connection->fd == fd)) {
			facts.fd = fd;
			facts.has_buffer = find_buffer(&arguments, form.shape, &buffer);
		} else if (facts.kind != CALL_IO_URING) {
			facts.kind = CALL_OTHER;
			count(COUNTER_FD_MISMATCH);
		}
	} else {
		facts.kind = CALL_IO_URING;
	}
	if (unlikely(result == 0) && (direction == DIRECTION_SENT || (facts.has_buffer && asked_for_nothing(&buffer))))
		return 0;
	if (result > 0) {
		facts.position = __sync_fetch_and_add(direction == DIRECTION_RECEIVED ? &connection->received :
											&connection->sent,
						      result);
		if (typed && direction == DIRECTION_RECEIVED)
			read_arrival(sk, connection->origin_start && facts.position == 0, &facts.arrival);
		facts.kernel_tls = has_kernel_tls(sk, connection, typed);
		if (!facts.has_buffer) {
			connection->between[direction & 1] = 0;
			/* Clear text is missed where the library is asked to send it. */
			if (!facts.kernel_tls)
				count(COUNTER_WITHOUT_CONTENT + facts.kind);
		}
	} else {
		facts.position = direction == DIRECTION_RECEIVED ? connection->received : connection->sent;
	}
	if (direction == DIRECTION_SENT && result > 0) {
		facts.deferred = connection->deferred;
		connection->deferred = facts.has_buffer && !took_all(&buffer, result);
		/* The thread's own time is counted up to the same moment: it must not have stood still since. */
		if (typed && ran_on)
			facts.at_ns = sent_ns(sk);
	}
	facts.answers = config.exceptions && direction == DIRECTION_SENT && answers_count(id) && facts.has_buffer &&
			!facts.kernel_tls;
	return likely(write_at_once(&facts, &buffer, connection)) ? false : put_aside(&facts, &buffer, slot);
}

/* A look of one kind. A function of its own: what it needs of the stack is free again for what comes after it. */
#define LOOK(name, direction, slot, typed)                                                                             \
	static __noinline int name(struct task_struct *task, struct sock *sk, s64 result)                              \
	{                                                                                                              \
		return look_at_call(task, sk, result, direction, slot, typed);                                         \
	}

typedef int look_fn(struct task_struct *task, struct sock *sk, s64 result);

/* Of the calls of others nothing more is done: they pass here, too. */
static __always_inline int record_socket_call(struct sock *sk, s64 result, look_fn *look, u32 slot)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (is_watched(task->tgid) && unlikely(look(task, sk, result)))
		write_aside(find_connection(sk), sk, slot);
	return 0;
}

#endif
