/* Clear text at the calls of a TLS library. One program at every site; the cookie says what the site stands for.
 *
 * Nothing here knows sockets: the agent finds out from the order of a thread's calls which connection an object of
 * the library belongs to.
 */
#ifndef STARDUST_PROBE_TLS_H
#define STARDUST_PROBE_TLS_H

#include "lib/connection.h"
#include "lib/payload.h"
#include "lib/pieces.h"
#include "lib/python.h"
#include "lib/ring.h"
#include "lib/tls_thread.h"

enum {
	/* Calls of a new object that are told even if they move nothing: they show where it belongs. */
	TLS_FIRST_CALLS = 32,
	TLS_PIECES_MAX = 8,
	/* No call moves more. */
	TLS_BYTES_MAX = 1 << 30,
};

/* Who moves an object's encrypted bytes. */
enum tls_carrier {
	CARRIER_NOT_ASKED = 0,
	CARRIER_PROCESS = 1, /* the object reads from memory */
	CARRIER_LIBRARY = 2, /* from a socket */
	CARRIER_UNKNOWN = 3,
};

/* bio_type (include/openssl/bio.h.in): the same since OpenSSL 0.9. */
enum bio_type {
	BIO_TYPE_MEM = 0x401,
	BIO_TYPE_SOCKET = 0x505,
};

/* An object of the library. */
struct tls_session {
	u64 id;
	u64 received;
	u64 sent;
	u32 calls;
	u32 wish_round; /* the round in which the table of wishes was last asked */
	u8 whole;	/* calls are told whole */
	u8 ignored;	/* nothing more is told */
	u8 carrier;	/* enum tls_carrier */
	u8 reserved[5];
};

struct tls_object {
	u64 address;
	u32 tgid;
	u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tls_object);
	__type(value, struct tls_session);
} tls_sessions SEC(".maps");

u64 last_tls_session;

/* Records are written in place: a program at a user's instruction can be interrupted by another of its kind, so
 * nothing per CPU is safe.
 */
struct tls_small {
	struct tls_call call;
	u8 payload[SMALL_PAYLOAD_BYTES];
};

struct tls_medium {
	struct tls_call call;
	u8 payload[MEDIUM_PAYLOAD_BYTES + TAIL_BYTES_MAX];
};

struct tls_large {
	struct tls_call call;
	u8 payload[HEAD_BYTES_MAX + TAIL_BYTES_MAX];
};

/* NULL: no room (counted). */
static __always_inline struct tls_session *tls_session_of(u64 address, u32 tgid)
{
	const struct tls_object object = { .address = address, .tgid = tgid };
	struct tls_session *session = bpf_map_lookup_elem(&tls_sessions, &object);
	struct tls_session fresh = {};

	if (session)
		return session;
	fresh.id = __sync_fetch_and_add(&last_tls_session, 1) + 1;
	bpf_map_update_elem(&tls_sessions, &object, &fresh, BPF_NOEXIST);
	session = bpf_map_lookup_elem(&tls_sessions, &object);
	if (!session)
		count(COUNTER_TLS_SESSIONS_FULL);
	return session;
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
	u64 session;
	u64 entered_ns;
	u64 moved_ns;
	u64 position;
	u64 bytes;
	u64 buffer;
	u64 head; /* bytes to copy from the start */
	u64 tail; /* and from the end */
	u64 call;
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

#define TELL_PART(type)                                                                                                \
	do {                                                                                                           \
		struct type *record = reserve(sizeof(*record));                                                        \
		if (!record)                                                                                           \
			return 0;                                                                                      \
		fill_tls_call(&record->call, part->id, part->call, part->session, part->entered_ns, part->moved_ns);   \
		record->call.position = part->position;                                                                \
		record->call.bytes = part->bytes;                                                                      \
		record->call.identity = read_identity(part->id, thread_pointer(bpf_get_current_task_btf()),            \
						      &record->call.context);                                          \
		copy_clear_text(&record->call, record->payload, sizeof(record->payload), part);                        \
		submit(&record->call.header);                                                                          \
	} while (0)

/* A function of its own, so that the verifier looks at it once. */
__noinline int tell_part(const struct tls_part *part)
{
	/* Never true; the verifier cannot know. */
	if (!part)
		return 0;
	if (part->head <= SMALL_PAYLOAD_BYTES - TAIL_BYTES_MAX)
		TELL_PART(tls_small);
	else if (part->head <= MEDIUM_PAYLOAD_BYTES)
		TELL_PART(tls_medium);
	else
		TELL_PART(tls_large);
	return 0;
}

/* Messages of HTTP/2 begin anywhere in a call: all of it is told, in as many records as it takes. */
static __always_inline void tell_whole(struct tls_part *part)
{
	u64 left = part->bytes;

	for (u32 i = 0; i < TLS_PIECES_MAX && left; i++) {
		const bool is_last = left <= HEAD_BYTES_MAX || i == TLS_PIECES_MAX - 1;

		part->head = left < HEAD_BYTES_MAX ? left : HEAD_BYTES_MAX;
		part->bytes = is_last ? left : part->head;
		tell_part(part);
		part->position += part->bytes;
		part->buffer += part->bytes;
		left -= part->bytes;
	}
}

static __always_inline void tell_clear_text(u64 id, const struct tls_pending *pending, struct tls_session *session,
					    u64 bytes)
{
	const u64 limit = config.head_bytes < HEAD_BYTES_MAX ? config.head_bytes : HEAD_BYTES_MAX;
	const struct buffer buffer = { .first = { .base = pending->buffer, .length = bytes }, .count = 1 };
	struct tls_part part = {
		.id = id,
		.session = session->id,
		.entered_ns = pending->entered_ns,
		.moved_ns = pending->moved_ns,
		.bytes = bytes,
		.buffer = pending->buffer,
		.call = pending->call,
	};

	part.position =
		__sync_fetch_and_add(pending->call == TLS_CALL_READ ? &session->received : &session->sent, bytes);
	if (!session->whole && part.position == 0 && begins_with_preface(&buffer, bytes))
		session->whole = 1;
	if (session->whole) {
		tell_whole(&part);
		return;
	}
	part.head = bytes < limit ? bytes : limit;
	part.tail = bytes - part.head < TAIL_BYTES_MAX ? bytes - part.head : TAIL_BYTES_MAX;
	tell_part(&part);
}

/* What the agent asks for, once it has asked. */
static __always_inline void hear_wish(struct tls_session *session)
{
	const u64 key = session->id | TLS_WISH;
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

/* Tells of a call that has returned. */
static __always_inline void settle_tls_call(u64 id, const struct tls_pending *call, struct tls_session *session, s32 result)
{
	u64 bytes = 0;

	hear_wish(session);
	if (session->ignored) {
		count(COUNTER_IGNORED_CALLS);
		return;
	}
	if (result > 0) {
		if (!call->moved)
			bytes = result;
		else if (bpf_probe_read_user(&bytes, sizeof(bytes), (void *)call->moved))
			bytes = 0;
		/* More than there was room for: not what it was taken for. */
		if (!bytes || bytes > call->length) {
			bytes = 0;
			count(COUNTER_PAYLOAD_UNREADABLE);
		}
	}
	if (bytes)
		tell_clear_text(id, call, session, bytes);
	else if (session->calls < TLS_FIRST_CALLS)
		tell_tls_call(id, call->call, session->id, call->entered_ns);
	session->calls++;
}

static __always_inline void leave_tls_call(u64 id, s32 result)
{
	struct tls_pending *pending = bpf_map_lookup_elem(&tls_threads, &id);
	struct tls_session *session;

	if (!pending || !pending->is_open)
		return;
	pending->is_open = 0;
	pending->is_told = 1;
	close_tls_slot(id);
	session = tls_session_of(pending->object, id >> 32);
	if (session)
		settle_tls_call(id, pending, session, result);
}

/* What an operand of a cookie stands for; 0 if it cannot be read. */
static __always_inline u64 operand(const u64 kept[KEPT_REGISTERS], u64 cookie, u32 from)
{
	const u32 bits = cookie >> from, unused = 32 - OPERAND_ADDED - OPERAND_ADDED_BITS;
	const s32 added = (s32)(bits << unused) >> (unused + OPERAND_ADDED);
	u64 value = kept[bits % KEPT_REGISTERS] + added;

	if (bits >> OPERAND_IN_MEMORY & 1 && bpf_probe_read_user(&value, sizeof(value), (void *)value))
		return 0;
	return value;
}

/* By the BIO that the object reads from. Its method stands behind a pointer to the library's context (3.0 and later), or
 * first (1.1): struct bio_st in crypto/bio/bio_local.h. The type stands first in a method (struct bio_method_st in
 * include/internal/bio.h).
 */
static __always_inline u8 find_carrier(u64 object, u64 bio_at)
{
	u64 bio = 0, words[2] = {};
	u32 type = 0;

	if (bpf_probe_read_user(&bio, sizeof(bio), (void *)(object + bio_at)) || !bio ||
	    bpf_probe_read_user(words, sizeof(words), (void *)bio))
		return CARRIER_UNKNOWN;
	for (s32 i = 1; i >= 0; i--) {
		if (!words[i] || bpf_probe_read_user(&type, sizeof(type), (void *)words[i]))
			continue;
		if (type == BIO_TYPE_MEM)
			return CARRIER_PROCESS;
		if (type == BIO_TYPE_SOCKET)
			return CARRIER_LIBRARY;
	}
	return CARRIER_UNKNOWN;
}

/* Whether the call that the thread has made last was told where it went on in the library. */
static __always_inline bool was_told(u64 id, u64 object)
{
	struct tls_pending *inside = bpf_map_lookup_elem(&tls_threads, &id);

	if (!inside || inside->object != object || !inside->is_told)
		return false;
	inside->is_told = 0;
	return true;
}

/* All at once: where the call was entered is not probed. */
static __always_inline void behind_tls_call(u64 id, const struct pt_regs *registers, u64 cookie)
{
	const s32 result = registers->RESULT;
	u64 kept[KEPT_REGISTERS] = {};
	u64 object;
	struct tls_session *session;
	struct tls_pending call = {
		.length = TLS_BYTES_MAX,
		.call = cookie >> TLS_BEHIND_WRITES & 1 ? TLS_CALL_WRITE : TLS_CALL_READ,
	};

	read_kept(registers, kept);
	object = operand(kept, cookie, TLS_BEHIND_OBJECT);
	if (!object) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return;
	}
	/* Where the library itself is probed too, what was called inside has told it. */
	if (unlikely(tls_is_called) && was_told(id, object))
		return;
	session = tls_session_of(object, id >> 32);
	/* Most reads but those that give something find nothing. */
	if (!session || (result <= 0 && session->calls >= TLS_FIRST_CALLS))
		return;
	if (unlikely(session->carrier == CARRIER_NOT_ASKED))
		session->carrier = find_carrier(object, (cookie >> TLS_BEHIND_BIO) % (1 << TLS_BEHIND_BIO_BITS) * sizeof(u64));
	if (unlikely(session->carrier == CARRIER_UNKNOWN)) {
		count(COUNTER_TLS_CARRIERS_UNKNOWN);
		return;
	}
	call.entered_ns = session->carrier == CARRIER_LIBRARY ? ENTRY_UNSEEN : ENTRY_IS_NOW;
	if (result > 0) {
		call.buffer = operand(kept, cookie, TLS_BEHIND_BUFFER);
		if (cookie >> TLS_BEHIND_EX & 1)
			call.moved = operand(kept, cookie, TLS_BEHIND_MOVED);
	}
	settle_tls_call(id, &call, session, result);
}

static __always_inline void enter_tls_call(u64 id, const struct pt_regs *registers, u32 call, bool ex)
{
	struct tls_pending *known = bpf_map_lookup_elem(&tls_threads, &id);
	struct tls_pending pending = {
		.object = registers->ARGUMENT_FIRST,
		.buffer = registers->ARGUMENT_SECOND,
		/* An `int`, where the result is one. */
		.length = ex ? registers->ARGUMENT_THIRD : (u32)registers->ARGUMENT_THIRD,
		.moved = ex ? registers->ARGUMENT_FOURTH : 0,
		.entered_ns = bpf_ktime_get_ns(),
		.call = call,
		.is_open = 1,
	};

	if (known)
		*known = pending;
	else
		bpf_map_update_elem(&tls_threads, &id, &pending, BPF_ANY);
	open_tls_slot(id);
}

static __always_inline int tls_site(const struct pt_regs *registers, u64 site)
{
	const u64 id = bpf_get_current_pid_tgid();
	struct tls_session *session;
	struct tls_object object;

	if (!is_watched(id >> 32))
		return 0;
	switch (site & 15) {
	case TLS_SITE_BEHIND:
		behind_tls_call(id, registers, site);
		break;
	case TLS_SITE_READ:
	case TLS_SITE_READ_EX:
		enter_tls_call(id, registers, TLS_CALL_READ, site == TLS_SITE_READ_EX);
		break;
	case TLS_SITE_WRITE:
	case TLS_SITE_WRITE_EX:
		enter_tls_call(id, registers, TLS_CALL_WRITE, site == TLS_SITE_WRITE_EX);
		break;
	case TLS_SITE_RETURN:
		leave_tls_call(id, registers->RESULT);
		break;
	case TLS_SITE_HANDSHAKE:
		session = tls_session_of(registers->ARGUMENT_FIRST, id >> 32);
		if (session && session->calls < TLS_FIRST_CALLS)
			tell_tls_call(id, TLS_CALL_HANDSHAKE, session->id, ENTRY_IS_NOW);
		if (session)
			session->calls++;
		break;
	case TLS_SITE_FREE:
		object = (struct tls_object){ .address = registers->ARGUMENT_FIRST, .tgid = id >> 32 };
		session = bpf_map_lookup_elem(&tls_sessions, &object);
		if (!session)
			break;
		tell_tls_call(id, TLS_CALL_FREE, session->id, ENTRY_IS_NOW);
		bpf_map_delete_elem(&tls_sessions, &object);
		break;
	}
	return 0;
}

/* Linux 6.6 and later: one link for all sites of a file. The loader sets its attach type. */
SEC("uprobe")
int user_tls_multi(struct pt_regs *registers)
{
	return tls_site(registers, bpf_get_attach_cookie(registers));
}

/* Since 5.15 (cookies): one link for each site. */
SEC("uprobe")
int user_tls_single(struct pt_regs *registers)
{
	return tls_site(registers, bpf_get_attach_cookie(registers));
}

#endif
