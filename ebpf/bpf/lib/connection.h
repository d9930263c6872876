/* What is kept for each live connection of a watched process, and how it is found.
 *
 * Where the kernel lets tracing programs use socket storage, the state hangs on the socket itself and goes with it.
 * Before that come, for TCP, slots: an array in which connections stand side by side in the order in which they were first
 * seen, and a table of places that tells which slot a socket has, and whether its bytes are let go. A slot is found without a
 * search and had without an allocation; who finds its place or its slot taken uses socket storage. A slot is given back before the socket's address
 * is, and is the next one to be taken, as it is still in the cache. Elsewhere a bounded LRU table is keyed by the socket's
 * address; its inode number tells a reused address apart.
 */
#ifndef STARDUST_PROBE_CONNECTION_H
#define STARDUST_PROBE_CONNECTION_H

#include "at_hand.h"
#include "filter.h"
#include "told_frames.h"

struct connection {
	u64 id;
	u64 inode;
	u64 received; /* bytes so far */
	u64 sent;
	u32 tgid; /* the process that used it last */
	s32 fd;   /* known to be this socket in that process; -1: not yet */
	u32 wish_round; /* the round in which the table of wishes was last asked */
	u8 origin_start;
	u8 ignored; /* 0, WISH_IGNORE or WISH_IGNORE_DATA */
	u8 path_sent;
	u8 deferred; /* bytes that were to be sent wait in the process */
	u8 ends_known; /* false until the kernel has chosen the local end of a connect */
	u8 whole; /* enum wholeness */
	u8 accepted; /* the process has certainly not begun it */
	u32 between[2]; /* by direction: see between_frames */
	/* Behind what each call looks at: with a slot's owner that is one cache line. */
	struct endpoints ends;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, s32);
	__type(value, struct connection);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, struct connection);
} connections_by_address SEC(".maps");

enum {
	CONNECTION_SLOTS_BITS = 14,
	CONNECTION_SLOTS = 1 << CONNECTION_SLOTS_BITS,
	SOCKET_BITS = 11, /* in so many bits of an address no two sockets begin */
};

struct connection_slot {
	u64 owner; /* the socket's number; 0: free, and all of it zero */
	struct connection connection;
	u64 reserved;
};
_Static_assert(sizeof(struct connection_slot) == 128, "two cache lines");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE); /* nobody maps it: this lays it out by lines of the cache */
	__uint(max_entries, CONNECTION_SLOTS);
	__type(key, u32);
	__type(value, struct connection_slot);
} connection_slots SEC(".maps");

/* What the agent asks for (enum wish), by the connection's id. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, u8);
} wishes SEC(".maps");

u64 last_connection_id;

/* TCP connections whose state hangs on the socket: as long as there are none, a socket without a slot is not known. */
u32 tcp_in_storage;

/* The slot that was given back last, plus one; 0: none. */
u32 last_free_slot;

/* Which socket has which slot: see place_word. 0: none. */
u64 connection_places[CONNECTION_SLOTS];

/* In a place: the bytes of its connection are let go. */
#define PLACE_IGNORED (1ULL << CONNECTION_SLOTS_BITS)

/* NULL: the kernel keeps the socket for itself. Its bytes are not the process's. */
static __always_inline struct file *socket_file(struct sock *sk, bool typed)
{
	struct socket *socket = FIELD(typed, sk, sk_socket);

	return socket ? FIELD(typed, socket, file) : 0;
}

static __always_inline u64 inode_of(struct file *file, bool typed)
{
	return typed ? file->f_inode->i_ino : BPF_CORE_READ(file, f_inode, i_ino);
}

static __always_inline bool is_stream(struct sock *sk, bool typed)
{
	const u16 family = FIELD(typed, sk, __sk_common.skc_family);
	const u16 protocol = FIELD(typed, sk, sk_protocol);

	if (FIELD(typed, sk, sk_type) != SOCK_STREAM)
		return false;
	if (family == FAMILY_UNIX)
		return true;
	return (family == FAMILY_INET || family == FAMILY_INET6) &&
	       (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

static __always_inline void read_ends(struct sock *sk, struct endpoints *ends, bool typed)
{
	ends->family = FIELD(typed, sk, __sk_common.skc_family);
	ends->netns = typed ? sk->__sk_common.skc_net.net->ns.inum :
			      BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if (ends->family == FAMILY_UNIX)
		return;
	ends->local_port = FIELD(typed, sk, __sk_common.skc_num);
	ends->remote_port = bpf_ntohs(FIELD(typed, sk, __sk_common.skc_dport));
	if (ends->family == FAMILY_INET) {
		*(u32 *)ends->local = FIELD(typed, sk, __sk_common.skc_rcv_saddr);
		*(u32 *)ends->remote = FIELD(typed, sk, __sk_common.skc_daddr);
	} else {
		BPF_CORE_READ_INTO(&ends->local, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&ends->remote, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	}
}

/* NULL for a stream that is not TCP. The helper that looks what else a socket may be takes as long as a guarded read. */
static __always_inline const struct tcp_sock *tcp_sock_of(struct sock *sk)
{
	if (!bpf_ksym_exists(bpf_rdonly_cast))
		return bpf_skc_to_tcp_sock(sk);
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	return bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct tcp_sock));
}

/* Whether the `result` bytes that just passed are the connection's first. The kernel's own counters tell for TCP;
 * a race with the network only makes the answer "no", which costs nothing but patience.
 */
static __always_inline bool is_first(struct sock *sk, u32 direction, s64 result, bool typed)
{
	const struct tcp_sock *tcp = typed ? tcp_sock_of(sk) : (struct tcp_sock *)sk;
	u32 read;

	if (!tcp || FIELD(typed, sk, sk_protocol) != IPPROTO_TCP || result <= 0)
		return false;
	read = FIELD(typed, tcp, copied_seq) - FIELD(typed, tcp, rcv_nxt) + (u32)FIELD(typed, tcp, bytes_received);
	if (direction == DIRECTION_RECEIVED)
		return read == (u32)result;
	/* What has come and was not read is yet to pass here. */
	return read == 0 && (u32)(FIELD(typed, tcp, write_seq) - FIELD(typed, tcp, snd_nxt) +
				  (u32)FIELD(typed, tcp, bytes_sent)) == (u32)result;
}

/* A number that stands for a socket as long as it lives, as its address does. The verifier lets no program calculate with
 * addresses, but take the difference of two.
 */
static __always_inline u64 number_of(const struct sock *sk)
{
	u64 number = (u64)sk;

	asm volatile("%0 -= %1" : "+r"(number) : "r"(&last_connection_id));
	return number;
}

/* Where a socket's slot is told: the connection's number, cut short. A TCP socket takes somewhat more than 2 KiB: those that
 * the kernel made side by side have places side by side, and no two have the same number but for its last bits.
 */
static __always_inline u64 *told_at(u64 number)
{
	return &connection_places[number >> SOCKET_BITS & (CONNECTION_SLOTS - 1)];
}

/* What is told there: the number but for its last bits, so that no slot has to be looked at to know whose it is, and the
 * slot's index. Addresses have more bits in front, all alike, than fall off here.
 */
static __always_inline u64 place_word(u64 number, u32 index)
{
	return number >> SOCKET_BITS << (CONNECTION_SLOTS_BITS + 1) | index;
}

/* Whether connections have slots at all. */
static __always_inline bool are_slots_used(void)
{
	return config.use_slots && bpf_core_type_size(struct tcp_sock) >= 1 << SOCKET_BITS;
}

/* Gives what is told of a socket, or 0. */
static __always_inline u64 read_place(const struct sock *sk)
{
	const u64 number = number_of(sk), place = *(volatile u64 *)told_at(number);

	return (place ^ place_word(number, 0)) >> (CONNECTION_SLOTS_BITS + 1) ? 0 : place;
}

static __always_inline struct connection_slot *slot_at(u32 index)
{
	index &= CONNECTION_SLOTS - 1;
	return bpf_map_lookup_elem(&connection_slots, &index);
}

/* NULL: it has none. */
static __always_inline struct connection_slot *find_slot(const struct sock *sk)
{
	u64 place;

	if (!are_slots_used())
		return 0;
	place = read_place(sk);
	return place ? slot_at(place) : 0;
}

/* Whether it is known, without a look at its slot, that the bytes of a connection are let go. */
static __always_inline bool is_let_go(const struct sock *sk)
{
	return are_slots_used() && read_place(sk) & PLACE_IGNORED;
}

/* The connection's bytes are let go from now on, or not any more. */
static __always_inline void set_let_go(const struct sock *sk, bool let_go)
{
	u64 place;

	if (!are_slots_used())
		return;
	place = read_place(sk);
	if (place && !(place & PLACE_IGNORED) == let_go)
		__sync_val_compare_and_swap(told_at(number_of(sk)), place, place ^ PLACE_IGNORED);
}

/* NULL: not known. */
static __always_inline struct connection *find_connection(struct sock *sk)
{
	struct connection_slot *slot = find_slot(sk);
	u64 address = (u64)sk;

	if (slot)
		return &slot->connection;
	if (are_slots_used() && !tcp_in_storage && sk->sk_protocol == IPPROTO_TCP)
		return 0;
	if (config.use_socket_storage)
		return bpf_sk_storage_get(&connections, sk, 0, 0);
	return bpf_map_lookup_elem(&connections_by_address, &address);
}

/* NULL: another socket has it. */
static __always_inline struct connection_slot *claim_slot(u32 index, u64 number)
{
	struct connection_slot *slot = slot_at(index);

	return slot && __sync_val_compare_and_swap(&slot->owner, 0, number) == 0 ? slot : 0;
}

/* NULL: its place or its slot is taken. */
static __always_inline struct connection *take_slot(const struct sock *sk, u32 id)
{
	const u64 number = number_of(sk);
	u64 *place = told_at(number);
	struct connection_slot *slot = 0;
	u32 index = last_free_slot;

	if (*(volatile u64 *)place)
		return 0;
	if (index) {
		last_free_slot = 0;
		slot = claim_slot(--index, number);
	}
	if (!slot) {
		index = id & (CONNECTION_SLOTS - 1);
		slot = claim_slot(index, number);
	}
	if (!slot)
		return 0;
	if (__sync_val_compare_and_swap(place, 0, place_word(number, index)) != 0) {
		slot->owner = 0;
		return 0;
	}
	return &slot->connection;
}

static __always_inline u64 next_connection_id(void)
{
	return __sync_fetch_and_add(&last_connection_id, 1) + 1;
}

static __always_inline void begin_connection(struct connection *connection, u64 id, u64 inode)
{
	connection->id = id;
	connection->inode = inode;
	connection->fd = -1;
	/* Nobody can have wished for anything yet. */
	connection->wish_round = at_hand.wish_round;
}

/* NULL: no room (counted). */
static __always_inline struct connection *open_connection(struct sock *sk, u64 inode)
{
	const u64 id = next_connection_id();
	/* Not MPTCP: nothing tells of its sockets' end. */
	const bool may_have_slot = are_slots_used() && sk->sk_protocol == IPPROTO_TCP;
	struct connection *connection = may_have_slot ? take_slot(sk, id) : 0;
	u64 address = (u64)sk;

	if (!connection && config.use_socket_storage) {
		if (may_have_slot)
			__sync_fetch_and_add(&tcp_in_storage, 1);
		connection = bpf_sk_storage_get(&connections, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	} else if (!connection) {
		struct connection empty = {};

		bpf_map_update_elem(&connections_by_address, &address, &empty, BPF_ANY);
		connection = bpf_map_lookup_elem(&connections_by_address, &address);
	}
	if (!connection) {
		count(COUNTER_CONNECTIONS_FULL);
		return 0;
	}
	begin_connection(connection, id, inode);
	return connection;
}

/* Nothing more is to be told of the socket. False: it has no slot. */
static __always_inline bool give_slot_back(struct sock *sk)
{
	struct connection_slot *slot = find_slot(sk);
	u64 *place;

	if (!slot)
		return false;
	place = told_at(number_of(sk));
	last_free_slot = (*place & (CONNECTION_SLOTS - 1)) + 1;
	*place = 0;
	__builtin_memset(&slot->connection, 0, sizeof(slot->connection));
	slot->owner = 0;
	return true;
}

/* The socket is gone. */
static __always_inline void forget_connection(struct sock *sk)
{
	u64 address = (u64)sk;

	if (!give_slot_back(sk) && are_slots_used() && tcp_in_storage && bpf_sk_storage_get(&connections, sk, 0, 0))
		__sync_fetch_and_sub(&tcp_in_storage, 1);
	/* Socket storage is freed by the kernel. */
	if (!config.use_socket_storage)
		bpf_map_delete_elem(&connections_by_address, &address);
}

/* A function of its own, so that the verifier looks at it once. */
__noinline int hear_frames(struct connection *connection)
{
	if (!connection)
		return 0;
	hear_frame(connection->id, DIRECTION_RECEIVED, connection->received, &connection->between[DIRECTION_RECEIVED],
		   &connection->whole);
	hear_frame(connection->id, DIRECTION_SENT, connection->sent, &connection->between[DIRECTION_SENT],
		   &connection->whole);
	return 0;
}

/* `is_data`: bytes have passed, not an end or a state. */
static __always_inline bool is_ignored(struct connection *connection, bool is_data)
{
	const u32 round = at_hand.wish_round;
	u8 *wish;

	if (unlikely(connection->wish_round != round)) {
		connection->wish_round = round;
		wish = bpf_map_lookup_elem(&wishes, &connection->id);
		if (wish) {
			if (*wish == WISH_WHOLE)
				connection->whole = WHOLE;
			else
				connection->ignored = *wish;
			bpf_map_delete_elem(&wishes, &connection->id);
		}
		if (connection->whole)
			hear_frames(connection);
	}
	return connection->ignored == WISH_IGNORE || (is_data && connection->ignored == WISH_IGNORE_DATA);
}

#endif
