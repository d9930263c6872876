/* What is kept of each object of a TLS library, and how it is found. */
#ifndef STARDUST_PROBE_TLS_SESSION_H
#define STARDUST_PROBE_TLS_SESSION_H

#include "filter.h"
#include "told_frames.h"

enum {
	TLS_NEAR_BITS = 12,
};

/* Who moves an object's encrypted bytes. */
enum tls_carrier {
	CARRIER_UNKNOWN = 0,
	CARRIER_PROCESS = 1, /* the object reads from memory */
	CARRIER_LIBRARY = 2, /* from a socket */
};

/* An object of the library. */
struct tls_session {
	u64 id;
	u64 received;
	u64 sent;
	u64 moved_ns; /* of what was told last, where the library moves the encrypted bytes */
	u32 wish_round; /* the round in which the table of wishes was last asked */
	u32 between[2];	/* by enum tls_call_kind: see between_frames */
	u8 calls; /* that were told, TLS_FIRST_CALLS at most */
	u8 whole;	/* enum wholeness */
	u8 ignored : 1; /* nothing more is told */
	u8 has_agreed : 1; /* clear text has passed: what the handshake has agreed on was told, if anything */
	u8 carrier;	/* enum tls_carrier */
};

enum {
	/* In the place of an address: its owner is being written. No object lies there. */
	ADDRESS_IN_THE_MAKING = 1,
};

struct tls_object {
	u64 address;
	u32 tgid;
	u32 reserved;
};

/* Objects at hand, one in each line of the cache: looked up for the price of that line, where the table costs several. Found
 * by a hash; where two meet, the later one is in the table alone.
 */
struct tls_near {
	struct tls_object object;
	struct tls_session session;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << TLS_NEAR_BITS);
	/* So that it begins with a page, and each element with a line. */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct tls_near);
} tls_near SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tls_object);
	__type(value, struct tls_session);
} tls_sessions SEC(".maps");

u64 last_tls_session;

static __always_inline struct tls_near *near_of(const struct tls_object *object)
{
	/* Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4). */
	const u64 mixed = (object->address ^ (u64)object->tgid << 48) * 0x9e3779b97f4a7c15;
	const u32 place = mixed >> (64 - TLS_NEAR_BITS);

	return bpf_map_lookup_elem(&tls_near, &place);
}

static __always_inline bool is_there(const struct tls_near *near, const struct tls_object *object)
{
	return near->object.address == object->address && near->object.tgid == object->tgid;
}

/* Where it is free, or of a process that is not watched any more, at hand; else in the table. */
static __noinline void add_tls_session(const struct tls_object *object)
{
	struct tls_session fresh = { .id = __sync_fetch_and_add(&last_tls_session, 1) + 1 };
	struct tls_near *near = near_of(object);
	u64 before;

	if (!near)
		return;
	before = near->object.address;
	if (before != ADDRESS_IN_THE_MAKING && (!before || !is_watched(near->object.tgid)) &&
	    __sync_val_compare_and_swap(&near->object.address, before, ADDRESS_IN_THE_MAKING) == before) {
		near->session = fresh;
		near->object.tgid = object->tgid;
		*(volatile u64 *)&near->object.address = object->address;
		return;
	}
	bpf_map_update_elem(&tls_sessions, object, &fresh, BPF_NOEXIST);
}

/* NULL: there is none. */
static __always_inline struct tls_session *known_tls_session(const struct tls_object *object)
{
	struct tls_near *near = near_of(object);

	if (likely(near && is_there(near, object)))
		return &near->session;
	return bpf_map_lookup_elem(&tls_sessions, object);
}

/* NULL: no room (counted). */
static __always_inline struct tls_session *tls_session_of(u64 address, u32 tgid)
{
	const struct tls_object object = { .address = address, .tgid = tgid };
	struct tls_session *session = known_tls_session(&object);

	if (likely(session))
		return session;
	add_tls_session(&object);
	session = known_tls_session(&object);
	if (!session)
		count(COUNTER_TLS_SESSIONS_FULL);
	return session;
}

static __always_inline void forget_tls_session(const struct tls_object *object)
{
	struct tls_near *near = near_of(object);

	if (near && is_there(near, object))
		near->object.address = 0;
	else
		bpf_map_delete_elem(&tls_sessions, object);
}

/* What the agent has told of frames. A function of its own, so that the verifier looks at it once. */
__noinline int hear_tls_frames(struct tls_session *session)
{
	u64 id;

	if (!session)
		return 0;
	id = session->id | TLS_OBJECT;
	hear_frame(id, DIRECTION_RECEIVED, session->received, &session->between[TLS_CALL_READ], &session->whole);
	hear_frame(id, DIRECTION_SENT, session->sent, &session->between[TLS_CALL_WRITE], &session->whole);
	return 0;
}

#endif
