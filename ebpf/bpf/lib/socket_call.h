/* The one handler of socket calls, whichever way the kernel lets it in: from a socket, a result and a direction to
 * at most one record, or several where a call is copied whole (pieces.h). `typed`: the verifier knows the socket's type
 * (see FIELD).
 */
#ifndef STARDUST_PROBE_SOCKET_CALL_H
#define STARDUST_PROBE_SOCKET_CALL_H

#include "connection.h"
#include "files.h"
#include "payload.h"
#include "pieces.h"
#include "python.h"
#include "../python_errors.h"
#include "ring.h"
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
		return true;
	}
	return false;
}

/* Copies the path that a unix socket, or else its peer, is bound to, behind the payload. */
static __always_inline void copy_path(struct scratch *scratch, struct sock *sk)
{
	struct unix_sock *own = (struct unix_sock *)sk;
	struct unix_address *address = BPF_CORE_READ(own, addr);
	u64 offset = (u64)scratch->call.head_bytes + scratch->call.tail_bytes;
	long length;

	if (!address) {
		own = (struct unix_sock *)BPF_CORE_READ(own, peer);
		address = BPF_CORE_READ(own, addr);
		scratch->call.header.flags |= FLAG_PATH_OF_PEER;
	}
	if (!address)
		return;
	length = (long)BPF_CORE_READ(address, len) - (long)sizeof(u16); /* less sun_family */
	if (length <= 0 || offset > HEAD_BYTES_MAX + TAIL_BYTES_MAX)
		return;
	if (length > PATH_BYTES_MAX)
		length = PATH_BYTES_MAX;
	if (bpf_probe_read_kernel(&scratch->payload[offset], length,
				  (void *)address + bpf_core_field_offset(address->name) +
					  bpf_core_field_offset(struct sockaddr_un, sun_path))) {
		count(COUNTER_PATH_UNREADABLE);
		return;
	}
	scratch->call.path_bytes = length;
}

/* A read whose buffer has no room gives 0 as well, and says nothing about the stream. */
static __always_inline bool asked_for_nothing(const struct buffer *buffer)
{
	return buffer->segments == 0 ? buffer->first.length == 0 : buffer->count == 0;
}

/* What a call's record says, beside what the connection knows. */
struct call_facts {
	struct task_struct *task;
	u64 position;
	s64 result;
	s32 fd;
	u32 kind;
	u32 direction;
	bool has_buffer;
	bool deferred;
};

/* The usual calls, of few bytes, are written to the ring in place. */
struct small_record {
	struct socket_call call;
	u8 payload[SMALL_PAYLOAD_BYTES];
};

/* From two buffers. Twice the room, as the verifier adds the largest offset to the largest length. */
struct pair_record {
	struct socket_call call;
	u8 payload[PAIR * SMALL_PAYLOAD_BYTES];
};

/* One buffer of more bytes, also written in place. The rest is put together aside. */
struct medium_record {
	struct socket_call call;
	u8 payload[MEDIUM_PAYLOAD_BYTES + TAIL_BYTES_MAX];
};

static __always_inline void fill_call(struct socket_call *call, const struct call_facts *facts,
				      const struct connection *connection)
{
	fill_header(&call->header, RECORD_SOCKET_CALL, sizeof(*call), facts->task->tgid, facts->task->pid);
	if (connection->origin_start)
		call->header.flags = FLAG_ORIGIN_START;
	if (facts->deferred)
		call->header.flags |= FLAG_DEFERRED;
	call->connection = connection->id;
	call->inode = connection->inode;
	call->position = facts->position;
	call->result = facts->result;
	call->ends = connection->ends;
	call->fd = facts->fd;
	call->head_bytes = 0;
	call->tail_bytes = 0;
	call->path_bytes = 0;
	call->call = facts->kind;
	call->direction = facts->direction;
	call->identity = read_identity(facts->task, &call->context);
	call->reserved = 0;
}

static __always_inline void add_head(struct socket_call *call, u64 length)
{
	call->head_bytes += length;
	call->header.size += length;
}

/* False: unreadable from some byte on. */
static __always_inline bool copy_pair(struct pair_record *record, const struct buffer *buffer, u64 total)
{
	u64 first = bounded(buffer->first.length < total ? buffer->first.length : total, SMALL_PAYLOAD_BYTES);
	u64 second;

	if (bpf_probe_read_user(record->payload, first, (void *)buffer->first.base))
		return false;
	add_head(&record->call, first);
	second = bounded(total - first, SMALL_PAYLOAD_BYTES);
	if (bpf_probe_read_user(&record->payload[first], second, (void *)buffer->second.base))
		return false;
	add_head(&record->call, second);
	return true;
}

static __always_inline bool copy_single(struct pair_record *record, u64 base, u64 total)
{
	total = bounded(total, SMALL_PAYLOAD_BYTES);
	if (bpf_probe_read_user(record->payload, total, (void *)base))
		return false;
	add_head(&record->call, total);
	return true;
}

static __always_inline void write_small(const struct call_facts *facts, const struct buffer *buffer,
					struct connection *connection)
{
	const bool copies = facts->result > 0 && facts->has_buffer;
	const u64 segments = copies ? buffer->segments : 0;
	/* What stands behind the pointer is as large as what was reserved: the verifier keeps count. */
	struct pair_record *record = segments ? reserve(sizeof(struct pair_record)) :
						reserve(sizeof(struct small_record));

	if (!record)
		return;
	fill_call(&record->call, facts, connection);
	if (copies && !(segments ? copy_pair(record, buffer, facts->result) :
				   copy_single(record, buffer->first.base, facts->result)))
		count(COUNTER_PAYLOAD_UNREADABLE);
	if (unlikely(facts->position == 0) && record->call.head_bytes >= PREFACE_BYTES &&
	    is_preface((const u64 *)record->payload))
		connection->whole = 1;
	submit(&record->call.header);
}

static __noinline int write_medium(const struct call_facts *facts, const struct buffer *buffer,
				   const struct connection *connection)
{
	struct medium_record *record = reserve(sizeof(*record));
	const u64 total = facts->result;
	const u64 head = bounded(total < config.head_bytes ? total : config.head_bytes, MEDIUM_PAYLOAD_BYTES);
	const u64 tail = bounded(total - head, TAIL_BYTES_MAX);

	if (!record)
		return 0;
	fill_call(&record->call, facts, connection);
	if (bpf_probe_read_user(record->payload, head, (void *)buffer->first.base)) {
		count(COUNTER_PAYLOAD_UNREADABLE);
	} else {
		add_head(&record->call, head);
		if (bpf_probe_read_user(&record->payload[head], tail,
					(void *)buffer->first.base + (total - tail))) {
			count(COUNTER_PAYLOAD_UNREADABLE);
		} else {
			record->call.tail_bytes = tail;
			record->call.header.size += tail;
		}
	}
	submit(&record->call.header);
	return 0;
}

static __noinline int write_large(const struct call_facts *facts, const struct buffer *buffer,
				  struct connection *connection, struct sock *sk, u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct socket_call *call;
	u64 size;

	if (!scratch)
		return 0;
	call = &scratch->call;
	fill_call(call, facts, connection);
	if (facts->result > 0 && facts->has_buffer) {
		scratch->walk.buffer = *buffer;
		if (connection->whole)
			return copy_whole(slot, facts->result);
		copy_payload(slot, facts->result);
	}
	if (call->ends.family == FAMILY_UNIX && !connection->path_sent) {
		connection->path_sent = 1;
		copy_path(scratch, sk);
	}
	size = sizeof(*call) + (u64)call->head_bytes + call->tail_bytes + call->path_bytes;
	/* Never true; the verifier cannot know. */
	if (size > sizeof(*scratch))
		return 0;
	call->header.size = size;
	emit(&call->header, size);
	return 0;
}

/* By value: what the usual calls keep in registers is put into memory for the others only. */
static __always_inline void write_more(struct call_facts facts, struct buffer buffer, struct connection *connection,
				       struct sock *sk, u32 slot)
{
	const bool lacks_path = connection->ends.family == FAMILY_UNIX && !connection->path_sent;

	/* Only a connection's first call holds it: what follows an upgrade is told by the agent. */
	if (facts.position == 0 && facts.result > 0 && facts.has_buffer && begins_with_preface(&buffer, facts.result))
		connection->whole = 1;
	if (facts.result > 0 && facts.has_buffer && !lacks_path && !buffer.segments && !connection->whole &&
	    config.head_bytes <= MEDIUM_PAYLOAD_BYTES)
		write_medium(&facts, &buffer, connection);
	else
		write_large(&facts, &buffer, connection, sk, slot);
}

static __always_inline void write_record(const struct call_facts *facts, const struct buffer *buffer,
					 struct connection *connection, struct sock *sk, u32 slot)
{
	const bool few = facts->result <= SMALL_PAYLOAD_BYTES && facts->result <= config.head_bytes;
	const bool none = facts->result <= 0 || !facts->has_buffer;
	const bool lacks_path = connection->ends.family == FAMILY_UNIX && !connection->path_sent;

	if (likely(!lacks_path && (none || (few && (!buffer->segments || buffer->count == PAIR))))) {
		write_small(facts, buffer, connection);
		return;
	}
	write_more(*facts, *buffer, connection, sk, slot);
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

static __always_inline int record_socket_call(struct sock *sk, s64 result, u32 direction, u32 slot, bool typed)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const u32 tgid = task->tgid;
	struct connection *connection;
	struct arguments arguments;
	struct call_facts facts = {};
	struct buffer buffer = {};
	u64 inode = 0;

	if (!is_watched(tgid))
		return 0;
	if (result < 0 && is_passing(result)) {
		if (result == -EAGAIN && direction == DIRECTION_SENT)
			note_refused(sk);
		return 0;
	}
	note_socket_call(task_id(task));
	connection = find_connection(sk);
	if (!connection || !config.use_socket_storage) {
		inode = inode_of(sk, typed);
		if (!inode)
			return 0;
	}
	if (unlikely(!connection || (!config.use_socket_storage && connection->inode != inode))) {
		if (!is_stream(sk, typed))
			return 0;
		connection = open_connection(sk, inode);
		if (!connection)
			return 0;
		connection->origin_start = is_first(sk, direction, result, typed);
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
		count(COUNTER_IGNORED_CALLS);
		return 0;
	}
	if (unlikely(connection->tgid != tgid)) {
		connection->tgid = tgid;
		connection->fd = -1;
	}
	facts.task = task;
	facts.result = result;
	facts.direction = direction;
	facts.fd = -1;
	if (likely(read_arguments(task, &arguments))) {
		s32 fd = arguments.first;

		facts.kind = classify(arguments.number);
		if (facts.kind == CALL_SPLICE)
			fd = arguments.third;
		/* The running call may not be the one that moved these bytes (io_uring, a file on a network). */
		if (unlikely(connection->fd != fd) && is_socket(fd, sk, typed))
			connection->fd = fd;
		if (likely(connection->fd == fd)) {
			facts.fd = fd;
			facts.has_buffer = find_buffer(&arguments, &buffer);
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
		if (!facts.has_buffer)
			count(COUNTER_WITHOUT_CONTENT + facts.kind);
	} else {
		facts.position = direction == DIRECTION_RECEIVED ? connection->received : connection->sent;
	}
	if (direction == DIRECTION_SENT && result > 0) {
		facts.deferred = connection->deferred;
		connection->deferred = facts.has_buffer && !took_all(&buffer, result);
	}
	if (config.exceptions && exceptions_are_known && direction == DIRECTION_SENT && facts.has_buffer)
		before_answer(&buffer, connection, result);
	write_record(&facts, &buffer, connection, sk, slot);
	return 0;
}

#endif
