/* The one handler of socket calls, whichever way the kernel lets it in: from a socket, a result and a direction to
 * at most one record. `typed`: the verifier knows the socket's type (see FIELD).
 */
#ifndef STARDUST_PROBE_SOCKET_CALL_H
#define STARDUST_PROBE_SOCKET_CALL_H

#include "connection.h"
#include "files.h"
#include "payload.h"
#include "pieces.h"
#include "python.h"
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
	return buffer->segments == 0 ? buffer->single.length == 0 : buffer->count == 0;
}

/* What a call's record says, beside what the connection knows. */
struct call_facts {
	u64 position;
	s64 result;
	s32 fd;
	u32 kind;
	u32 direction;
	bool has_buffer;
	bool deferred;
};

/* The usual call: one buffer, few bytes. It is written to the ring in place; the rest is put together aside. */
struct small_record {
	struct socket_call call;
	u8 payload[SMALL_PAYLOAD_BYTES];
};

static __always_inline void fill_call(struct socket_call *call, const struct call_facts *facts,
				      const struct connection *connection, u64 id)
{
	fill_header(&call->header, RECORD_SOCKET_CALL, sizeof(*call), id >> 32, (u32)id);
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
	call->identity = read_identity(id >> 32, &call->context);
	call->reserved = 0;
}

static __always_inline bool is_small(const struct call_facts *facts, const struct buffer *buffer,
				     const struct connection *connection)
{
	if (connection->ends.family == FAMILY_UNIX && !connection->path_sent)
		return false;
	if (facts->result <= 0 || !facts->has_buffer)
		return true;
	return !buffer->segments && facts->result <= SMALL_PAYLOAD_BYTES && facts->result <= config.head_bytes;
}

static __always_inline void write_small(const struct call_facts *facts, const struct buffer *buffer,
					const struct connection *connection, u64 id)
{
	struct small_record *record = reserve(sizeof(*record));
	u64 length = facts->result;

	if (!record)
		return;
	fill_call(&record->call, facts, connection, id);
	if (facts->result > 0 && facts->has_buffer) {
		/* Never true; the verifier cannot know, the compiler must not. */
		barrier_var(length);
		if (length > SMALL_PAYLOAD_BYTES)
			length = SMALL_PAYLOAD_BYTES;
		if (bpf_probe_read_user(record->payload, length, (void *)buffer->single.base)) {
			count(COUNTER_PAYLOAD_UNREADABLE);
		} else {
			record->call.head_bytes = length;
			record->call.header.size += length;
		}
	}
	submit(record, sizeof(*record));
}

static __always_inline void write_large(const struct call_facts *facts, const struct buffer *buffer,
					struct connection *connection, u64 id, struct sock *sk, u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct socket_call *call;
	u64 size;

	if (!scratch)
		return;
	call = &scratch->call;
	fill_call(call, facts, connection, id);
	if (connection->whole && facts->result > 0 && facts->has_buffer) {
		copy_whole(scratch, buffer, facts->result, slot);
		return;
	}
	if (facts->result > 0 && facts->has_buffer)
		copy_payload(scratch, buffer, facts->result);
	if (call->ends.family == FAMILY_UNIX && !connection->path_sent) {
		connection->path_sent = 1;
		copy_path(scratch, sk);
	}
	size = sizeof(*call) + (u64)call->head_bytes + call->tail_bytes + call->path_bytes;
	/* Never true; the verifier cannot know. */
	if (size > sizeof(*scratch))
		return;
	call->header.size = size;
	emit(&call->header, size);
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
	return result >= (buffer->segments ? segments_bytes(buffer->segments, buffer->count) : buffer->single.length);
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
	const u64 id = bpf_get_current_pid_tgid();
	const u32 tgid = id >> 32;
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
	if (tls_is_probed)
		note_socket_call(id);
	connection = find_connection(sk);
	if (!connection || !config.use_socket_storage) {
		inode = inode_of(sk, typed);
		if (!inode)
			return 0;
	}
	if (!connection || (!config.use_socket_storage && connection->inode != inode)) {
		if (!is_stream(sk, typed))
			return 0;
		connection = open_connection(sk, inode);
		if (!connection)
			return 0;
		connection->origin_start = is_first(sk, direction, result, typed);
	}
	if (!connection->ends_known) {
		read_ends(sk, &connection->ends, typed);
		connection->ends_known = 1;
	}
	if (is_ignored(connection, result > 0)) {
		count(COUNTER_IGNORED_CALLS);
		return 0;
	}
	if (connection->tgid != tgid) {
		connection->tgid = tgid;
		connection->fd = -1;
	}
	facts.result = result;
	facts.direction = direction;
	facts.fd = -1;
	if (read_arguments(&arguments)) {
		s32 fd = arguments.first;

		facts.kind = classify(arguments.number);
		if (facts.kind == CALL_SPLICE)
			fd = arguments.third;
		/* The running call may not be the one that moved these bytes (io_uring, a file on a network). */
		if (connection->fd != fd && is_socket(fd, sk, typed))
			connection->fd = fd;
		if (connection->fd == fd) {
			facts.fd = fd;
			facts.has_buffer = find_buffer(&arguments, &buffer);
		} else if (facts.kind != CALL_IO_URING) {
			facts.kind = CALL_OTHER;
			count(COUNTER_FD_MISMATCH);
		}
	} else {
		facts.kind = CALL_IO_URING;
	}
	if (result == 0 && (direction == DIRECTION_SENT || (facts.has_buffer && asked_for_nothing(&buffer))))
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
	/* Only a connection's first call holds it: what follows an upgrade is told by the agent. */
	if (result > 0 && facts.position == 0 && facts.has_buffer && begins_with_preface(&buffer, result))
		connection->whole = 1;
	if (is_small(&facts, &buffer, connection))
		write_small(&facts, &buffer, connection, id);
	else
		write_large(&facts, &buffer, connection, id, sk, slot);
	return 0;
}

#endif
