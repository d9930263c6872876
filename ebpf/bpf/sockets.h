/* Socket calls and TCP states. Three ways in, of which the agent loads one: the kernel's own socket tracepoints
 * (6.3 and later), fexit of the socket functions, or the exits of the socket system calls.
 */
#ifndef STARDUST_PROBE_SOCKETS_H
#define STARDUST_PROBE_SOCKETS_H

#include "lib/own_stack.h"
#include "lib/socket_call.h"

enum {
	/* Neither consumes nor adds bytes of the stream. */
	BESIDE_THE_STREAM = MSG_PEEK | MSG_ERRQUEUE | MSG_OOB,
};

LOOK(look_at_receive, DIRECTION_RECEIVED, SLOT_RECEIVE, true)
LOOK(look_at_send, DIRECTION_SENT, SLOT_SEND, true)
LOOK(look_at_unix_send, DIRECTION_SENT, SLOT_SEND_UNIX, true)
LOOK(look_at_inet6_send, DIRECTION_SENT, SLOT_SEND_INET6, true)
LOOK(look_at_sendfile, DIRECTION_SENT, SLOT_SENDFILE, true)
LOOK(look_at_splice, DIRECTION_SENT, SLOT_SPLICE, true)
LOOK(look_at_untyped_receive, DIRECTION_RECEIVED, SLOT_RECEIVE, false)
LOOK(look_at_untyped_send, DIRECTION_SENT, SLOT_SEND, false)

/* include/trace/events/sock.h, since 6.3 (6e6eda44b939). */
SEC("tp_btf/sock_recv_length")
int BPF_PROG(tp_recv, struct sock *sk, int result, int flags)
{
	ON_KERNEL_STACK(ctx);
	if (flags & BESIDE_THE_STREAM)
		return 0;
	return record_socket_call(sk, result, look_at_receive, SLOT_RECEIVE);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(tp_send, struct sock *sk, int result, int flags)
{
	ON_KERNEL_STACK(ctx);
	if (flags & MSG_OOB)
		return 0;
	return record_socket_call(sk, result, look_at_send, SLOT_SEND);
}

SEC("fexit/sock_recvmsg")
int BPF_PROG(fexit_recv, struct socket *socket, struct msghdr *message, int flags, int result)
{
	if (flags & BESIDE_THE_STREAM)
		return 0;
	return record_socket_call(socket->sk, result, look_at_receive, SLOT_RECEIVE);
}

/* sock_sendmsg is inlined into its callers: its stream implementations are not. Not tcp_sendmsg, in whose place others
 * stand on some connections (KTLS).
 */
SEC("fexit/inet_sendmsg")
int BPF_PROG(fexit_send_inet, struct socket *socket, struct msghdr *message, size_t size, int result)
{
	return record_socket_call(socket->sk, result, look_at_send, SLOT_SEND);
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(fexit_send_inet6, struct socket *socket, struct msghdr *message, size_t size, int result)
{
	return record_socket_call(socket->sk, result, look_at_inet6_send, SLOT_SEND_INET6);
}

SEC("fexit/unix_stream_sendmsg")
int BPF_PROG(fexit_send_unix, struct socket *socket, struct msghdr *message, size_t size, int result)
{
	return record_socket_call(socket->sk, result, look_at_unix_send, SLOT_SEND_UNIX);
}

/* Up to 6.4 (dc97391e6610) what sendfile and splice move to a socket does not pass where messages do, but for MPTCP. */
static __always_inline int record_pages(struct file *to, s64 result, look_fn *look, u32 slot)
{
	struct socket *socket = bpf_sock_from_file(to);

	if (!socket || !socket->sk || socket->sk->sk_protocol == IPPROTO_MPTCP)
		return 0;
	return record_socket_call(socket->sk, result, look, slot);
}

SEC("fexit/do_splice_direct")
int BPF_PROG(pages_sendfile, struct file *from, s64 *from_position, struct file *to, s64 *to_position, size_t length, u32 flags,
	     s64 result)
{
	return record_pages(to, result, look_at_sendfile, SLOT_SENDFILE);
}

SEC("fexit/do_splice")
int BPF_PROG(pages_splice, struct file *from, s64 *from_position, struct file *to, s64 *to_position, size_t length, u32 flags,
	     s64 result)
{
	return record_pages(to, result, look_at_splice, SLOT_SPLICE);
}

/* The arguments are still in the saved registers when a system call returns, so its entry needs no program. */
static __always_inline int exit_of_call(long result, u32 direction)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct arguments arguments;
	struct socket *socket;
	u32 kind;

	if (!is_watched(task->tgid) || !read_arguments(task, &arguments))
		return 0;
	kind = form_of(arguments.number).call;
	if (direction == DIRECTION_RECEIVED && (kind == CALL_RECVFROM || kind == CALL_RECVMSG)) {
		const u64 flags = kind == CALL_RECVMSG ? arguments.third : arguments.fourth;

		if (flags & BESIDE_THE_STREAM)
			return 0;
	}
	socket = socket_of(kind == CALL_SPLICE ? arguments.third : arguments.first);
	if (!socket)
		return 0;
	if (direction == DIRECTION_RECEIVED)
		return record_socket_call(BPF_CORE_READ(socket, sk), result, look_at_untyped_receive, SLOT_RECEIVE);
	return record_socket_call(BPF_CORE_READ(socket, sk), result, look_at_untyped_send, SLOT_SEND);
}

#define EXIT_OF(call, direction)                                                                                       \
	SEC("tp/syscalls/sys_exit_" #call)                                                                             \
	int exit_##call(struct trace_event_raw_sys_exit *context)                                                      \
	{                                                                                                              \
		return exit_of_call(context->ret, direction);                                                          \
	}

EXIT_OF(read, DIRECTION_RECEIVED)
EXIT_OF(readv, DIRECTION_RECEIVED)
EXIT_OF(recvfrom, DIRECTION_RECEIVED)
EXIT_OF(recvmsg, DIRECTION_RECEIVED)
EXIT_OF(write, DIRECTION_SENT)
EXIT_OF(writev, DIRECTION_SENT)
EXIT_OF(sendto, DIRECTION_SENT)
EXIT_OF(sendmsg, DIRECTION_SENT)
EXIT_OF(sendfile64, DIRECTION_SENT)
EXIT_OF(splice, DIRECTION_SENT)

/* Whether nothing more passes between the process and a TCP socket that it closes: close shuts both directions before it
 * sends its farewell (__tcp_close in net/ipv4/tcp.c), as SHUT_RDWR does.
 */
static __always_inline bool is_through(const struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD(sk, sk_shutdown) == SHUTDOWN_BOTH;
}

/* Whether the process has no way to such a socket any more: it closes it, and does not only shut it down, after which it may
 * read what has come before.
 */
static __always_inline bool is_let_off(struct task_struct *task)
{
	const u64 call = running_call(task);

	return call != NO_NUMBER && call != NR_SHUTDOWN && call != NR_IO_URING_ENTER;
}

/* include/trace/events/sock.h, since 4.16. Runs in the process for connect and close, anywhere else for packets. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int old, int new)
{
	struct connection *connection = 0;
	struct socket_state *state;
	struct file *file;
	bool opens = false, is_over = false;
	u64 inode, id;
	u32 tgid;

	ON_KERNEL_STACK(ctx);
	switch (new) {
	case STATE_SYN_SENT:
		tgid = bpf_get_current_pid_tgid() >> 32;
		if (!is_watched(tgid) || !is_stream(sk, true))
			return 0;
		file = socket_file(sk, true);
		inode = file ? inode_of(file, true) : 0;
		connection = find_connection(sk);
		/* A socket whose connect failed may be used for another. */
		if (connection) {
			set_let_go(sk, false);
			__builtin_memset(connection, 0, sizeof(*connection));
			begin_connection(connection, next_connection_id(), inode);
		} else {
			connection = open_connection(sk, inode);
		}
		opens = true;
		break;
	case STATE_CLOSE:
	case STATE_CLOSE_WAIT:
	case STATE_FIN_WAIT1:
	case STATE_LAST_ACK:
		connection = find_connection(sk);
		break;
	}
	if (!connection)
		return 0;
	id = bpf_get_current_pid_tgid();
	tgid = id >> 32;
	if (opens) {
		connection->tgid = tgid;
		connection->origin_start = 1;
	}
	if (is_ignored(connection, false))
		return 0;
	/* A closed socket has lost its port. */
	if (!connection->ends_known && new != STATE_CLOSE)
		read_ends(sk, &connection->ends, true);
	if (!opens && new != STATE_CLOSE_WAIT)
		before_close(connection, id);
	/* Its end is told once, and at once: a record less for each connection. */
	if ((new == STATE_FIN_WAIT1 || new == STATE_LAST_ACK) && is_through(sk)) {
		connection->ignored = WISH_IGNORE;
		new = STATE_CLOSE;
		is_over = true;
	}
	state = reserve(sizeof(*state));
	if (!state)
		return 0;
	fill_header(&state->header, RECORD_SOCKET_STATE, sizeof(*state), connection->tgid,
		    tgid == connection->tgid ? (u32)id : 0);
	state->connection = connection->id;
	state->context_or_sent = connection->sent;
	state->ends = connection->ends;
	state->error = sk->sk_err;
	state->old_state = old;
	state->new_state = new;
	state->identity =
		opens ? read_identity(id, thread_pointer(bpf_get_current_task_btf()), &state->context_or_sent) : 0;
	state->reserved = 0;
	submit(&state->header);
	/* Here and now: the packets that it is destroyed with may come in on another CPU, which would take the slot into its
	 * cache.
	 */
	if (is_over && is_let_off(bpf_get_current_task_btf()))
		give_slot_back(sk);
	return 0;
}

/* include/trace/events/tcp.h, since 4.16. The last that is heard of a socket: after CLOSE its process may still read. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroyed, struct sock *sk)
{
	forget_connection(sk);
	return 0;
}

#endif
