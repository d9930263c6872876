/* How a call of a TLS library is told: of which object, and the clear text that it moved.
 */
#ifndef STARDUST_PROBE_TLS_RECORD_H
#define STARDUST_PROBE_TLS_RECORD_H

#include "connection.h"
#include "payload.h"
#include "pieces.h"
#include "python.h"
#include "../python_errors.h"
#include "ring.h"
#include "tls_thread.h"

enum {
	/* Calls of a new object that are told even if they move nothing: they show where it belongs. */
	TLS_FIRST_CALLS = 32,
	TLS_PIECES_MAX = 8,
	TLS_NEAR_BITS = 12,
};

/* Who moves an object's encrypted bytes. */
enum tls_carrier {
	CARRIER_NOT_ASKED = 0,
	CARRIER_PROCESS = 1, /* the object reads from memory */
	CARRIER_LIBRARY = 2, /* from a socket */
	CARRIER_UNKNOWN = 3,
};

/* An object of the library. */
struct tls_session {
	u64 id;
	u64 received;
	u64 sent;
	u64 moved_ns; /* of what was told last, where the library moves the encrypted bytes */
	u32 calls;
	u32 wish_round; /* the round in which the table of wishes was last asked */
	u8 whole;	/* calls are told whole */
	u8 ignored;	/* nothing more is told */
	u8 carrier;	/* enum tls_carrier */
	u8 reserved[5];
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

/* Written in the ring, where it takes no more room than it needs: a program at a user's instruction can be interrupted by
 * another of its kind, so nothing per CPU is safe.
 */
struct placed_tls_call {
	struct tls_call call;
	u8 payload[HEAD_BYTES_MAX + TAIL_BYTES_MAX];
};

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

/* Instead of the time at which a call was entered. */
enum tls_entry {
	ENTRY_IS_NOW = 0,
	ENTRY_UNSEEN = 1,
};

static __always_inline void fill_tls_call(struct tls_call *record, u64 id, u32 call, u64 session, u64 entered_ns,
					   u64 moved_ns)
{
	fill_header(&record->header, RECORD_TLS_CALL, sizeof(*record), id >> 32, id);
	record->session = session;
	record->entered_ns = entered_ns == ENTRY_IS_NOW ? record->header.at_ns :
			     entered_ns == ENTRY_UNSEEN ? 0 :
							  entered_ns;
	if (moved_ns)
		record->header.at_ns = moved_ns;
	record->position = 0;
	record->bytes = 0;
	record->head_bytes = 0;
	record->tail_bytes = 0;
	record->context = 0;
	record->call = call;
	record->identity = IDENTITY_THREAD;
}

static __always_inline void tell_tls_call(u64 id, u32 call, u64 session, u64 entered_ns)
{
	struct tls_call *record = reserve(sizeof(*record));

	if (!record)
		return;
	fill_tls_call(record, id, call, session, entered_ns, 0);
	submit(&record->header);
}

/* What one record tells of. */
struct tls_part {
	u64 id;
	u64 thread; /* its thread pointer */
	u64 session;
	u64 entered_ns;
	u64 moved_ns;
	u64 position;
	u64 bytes;
	u64 buffer;
	u64 head; /* bytes to copy from the start */
	u64 tail; /* and from the end */
	u64 call;
	bool frames; /* it is HTTP/2 */
	bool may_fail; /* something may come first: see tell_part */
};

/* Copies the first `head` and the last `tail` of the call's bytes; `room` is a constant. */
static __always_inline void copy_clear_text(struct tls_call *record, u8 *payload, u64 room, const struct tls_part *part)
{
	u64 head = bounded(part->head, room - TAIL_BYTES_MAX);
	u64 tail = part->tail;

	if (bpf_probe_read_user(payload, head, (void *)part->buffer)) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return;
	}
	record->head_bytes = head;
	record->header.size += head;
	barrier_var(tail);
	if (tail == 0 || tail > TAIL_BYTES_MAX)
		return;
	barrier_var(head);
	if (head > room - TAIL_BYTES_MAX)
		return;
	if (bpf_probe_read_user(payload + head, tail, (void *)part->buffer + record->bytes - tail))
		return;
	record->tail_bytes = tail;
	record->header.size += tail;
}

/* False: what is said of a failure comes first, nothing is written. A function of its own, so that the verifier looks at
 * it once.
 */
__noinline int tell_part(const struct tls_part *part)
{
	struct placed_tls_call *record;

	/* Never true; the verifier cannot know. */
	if (!part)
		return true;
	record = reserve(sizeof(struct tls_call) + bounded(part->head, HEAD_BYTES_MAX) + bounded(part->tail, TAIL_BYTES_MAX));
	if (!record)
		return true;
	fill_tls_call(&record->call, part->id, part->call, part->session, part->entered_ns, part->moved_ns);
	record->call.position = part->position;
	record->call.bytes = part->bytes;
	record->call.identity = read_identity(part->id, part->thread, &record->call.context);
	copy_clear_text(&record->call, record->payload, sizeof(record->payload), part);
	if (unlikely(part->may_fail) && is_failure(record->payload, record->call.head_bytes, part->frames)) {
		discard(&record->call.header);
		return false;
	}
	submit(&record->call.header);
	return true;
}

/* Tells a part, after what there is to say of a failure that it may be the answer of. */
static __always_inline void tell_answer(struct tls_part *part, u64 received)
{
	const bool writes = config.exceptions && part->call == TLS_CALL_WRITE && exceptions_are_known;
	const bool all = writes && answers_count();
	const struct sending sending = {
		.connection = part->session | TLS_OBJECT,
		.start = part->buffer,
		.bytes = part->bytes,
		.received = received,
		.sent = part->position,
		.frames = part->frames,
	};

	part->may_fail = writes && !all;
	if (all)
		before_sending(&sending, true);
	if (!tell_part(part)) {
		before_sending(&sending, false);
		part->may_fail = false;
		tell_part(part);
	}
	part->may_fail = false;
}

/* Messages of HTTP/2 begin anywhere in a call: all of it is told, in as many records as it takes. */
static __always_inline void tell_whole(struct tls_part *part, u64 received)
{
	u64 left = part->bytes;

	for (u32 i = 0; i < TLS_PIECES_MAX && left; i++) {
		const bool is_last = left <= HEAD_BYTES_MAX || i == TLS_PIECES_MAX - 1;

		part->head = left < HEAD_BYTES_MAX ? left : HEAD_BYTES_MAX;
		part->bytes = is_last ? left : part->head;
		if (i == 0)
			tell_answer(part, received);
		else
			tell_part(part);
		part->position += part->bytes;
		part->buffer += part->bytes;
		left -= part->bytes;
	}
}

static __always_inline void tell_clear_text(struct tls_part *part, struct tls_session *session)
{
	const u64 limit = config.head_bytes < HEAD_BYTES_MAX ? config.head_bytes : HEAD_BYTES_MAX;
	const u64 bytes = part->bytes;

	part->position = __sync_fetch_and_add(part->call == TLS_CALL_READ ? &session->received : &session->sent, bytes);
	if (unlikely(!session->whole && part->position == 0)) {
		const struct buffer buffer = { .first = { .base = part->buffer, .length = bytes }, .count = 1 };

		if (begins_with_preface(&buffer, bytes))
			session->whole = 1;
	}
	part->frames = session->whole;
	if (session->whole) {
		tell_whole(part, session->received);
		return;
	}
	part->head = bytes < limit ? bytes : limit;
	part->tail = bytes - part->head < TAIL_BYTES_MAX ? bytes - part->head : TAIL_BYTES_MAX;
	tell_answer(part, session->received);
}

/* What the agent asks for, once it has asked. */
static __always_inline void hear_wish(struct tls_session *session)
{
	const u64 key = session->id | TLS_OBJECT;
	const u32 round = wish_round;
	u8 *wish;

	if (session->wish_round == round)
		return;
	session->wish_round = round;
	wish = bpf_map_lookup_elem(&wishes, &key);
	if (!wish)
		return;
	if (*wish == WISH_WHOLE)
		session->whole = 1;
	else
		session->ignored = 1;
	bpf_map_delete_elem(&wishes, &key);
}

/* More than there was room for: not what it was taken for. */
static __always_inline void check_bytes(struct tls_part *part, u64 most)
{
	if (likely(part->bytes && part->bytes <= most))
		return;
	part->bytes = 0;
	count(COUNTER_PAYLOAD_UNREADABLE);
}

/* Tells of a call that has returned. */
static __always_inline void settle_tls_call(struct tls_part *part, struct tls_session *session)
{
	hear_wish(session);
	if (session->ignored) {
		count(COUNTER_IGNORED_CALLS);
		return;
	}
	part->session = session->id;
	if (part->bytes)
		tell_clear_text(part, session);
	else if (session->calls < TLS_FIRST_CALLS)
		tell_tls_call(part->id, part->call, session->id, part->entered_ns);
	session->calls++;
}

#endif
