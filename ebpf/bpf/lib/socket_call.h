/* The one handler of socket calls, whichever way the kernel lets it in: from a socket, a result and a direction to
 * at most one record. `typed`: the verifier knows the socket's type (see FIELD).
 */
#ifndef STARDUST_PROBE_SOCKET_CALL_H
#define STARDUST_PROBE_SOCKET_CALL_H

#include "connection.h"
#include "files.h"
#include "payload.h"
#include "ring.h"

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

static __always_inline int record_socket_call(struct sock *sk, s64 result, u32 direction, u32 slot, bool typed)
{
	const u64 id = bpf_get_current_pid_tgid();
	const u32 tgid = id >> 32;
	struct connection *connection;
	struct arguments arguments;
	struct scratch *scratch;
	struct socket_call *call;
	struct buffer buffer = {};
	u32 kind = CALL_OTHER;
	bool has_buffer = false;
	u64 inode = 0;
	u64 size;

	if (!is_watched(tgid) || (result < 0 && is_passing(result)))
		return 0;
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
	if (is_ignored(connection)) {
		count(COUNTER_IGNORED_CALLS);
		return 0;
	}
	scratch = bpf_map_lookup_elem(&scratches, &slot);
	if (!scratch)
		return 0;

	if (connection->tgid != tgid) {
		connection->tgid = tgid;
		connection->fd = -1;
	}
	call = &scratch->call;
	call->fd = -1;
	if (read_arguments(&arguments)) {
		s32 fd = arguments.first;

		kind = classify(arguments.number, direction);
		if (kind == CALL_SPLICE)
			fd = arguments.third;
		/* The running call may not be the one that moved these bytes (io_uring, a file on a network). */
		if (connection->fd != fd && is_socket(fd, sk, typed))
			connection->fd = fd;
		if (connection->fd == fd) {
			call->fd = fd;
			has_buffer = find_buffer(&arguments, &buffer);
		} else if (kind != CALL_IO_URING) {
			kind = CALL_OTHER;
			count(COUNTER_FD_MISMATCH);
		}
	} else {
		kind = CALL_IO_URING;
	}
	if (result == 0 && (direction == DIRECTION_SENT || (has_buffer && asked_for_nothing(&buffer))))
		return 0;

	fill_header(&call->header, RECORD_SOCKET_CALL, 0, tgid, (u32)id);
	if (connection->origin_start)
		call->header.flags = FLAG_ORIGIN_START;
	call->connection = connection->id;
	call->inode = connection->inode;
	call->result = result;
	call->ends = connection->ends;
	call->call = kind;
	call->direction = direction;
	call->head_bytes = 0;
	call->tail_bytes = 0;
	call->path_bytes = 0;
	call->position = direction == DIRECTION_RECEIVED ? connection->received : connection->sent;
	if (result > 0) {
		__sync_fetch_and_add(direction == DIRECTION_RECEIVED ? &connection->received : &connection->sent, result);
		if (has_buffer)
			copy_payload(scratch, &buffer, result);
		else
			count(COUNTER_WITHOUT_CONTENT + kind);
	}
	if (call->ends.family == FAMILY_UNIX && !connection->path_sent) {
		connection->path_sent = 1;
		copy_path(scratch, sk);
	}
	size = sizeof(*call) + (u64)call->head_bytes + call->tail_bytes + call->path_bytes;
	if (size > sizeof(*scratch))
		return 0;
	call->header.size = size;
	emit(&call->header, size);
	return 0;
}

#endif
