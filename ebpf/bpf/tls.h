/* Clear text at the calls of a TLS library. One program at every site; the cookie says what the site stands for.
 *
 * Nothing here knows sockets: the agent finds out from the order of a thread's calls which connection an object of
 * the library belongs to.
 */
#ifndef STARDUST_PROBE_TLS_H
#define STARDUST_PROBE_TLS_H

#include "lib/own_stack.h"
#include "lib/tls_agreed.h"
#include "lib/tls_record.h"

/* No call moves more: a tebibyte. What is more is no length, but an address or an error. */
#define TLS_BYTES_MAX (1ULL << 40)

enum {
	STACK_WORDS = 16,
};

/* include/openssl/ssl.h.in: the same since OpenSSL 0.9. */
enum shutdown_state {
	SHUTDOWN_SENT = 1,
	SHUTDOWN_RECEIVED = 2,
};

/* bio_type (include/openssl/bio.h.in): the same since OpenSSL 0.9. */
enum bio_type {
	BIO_TYPE_MEM = 0x401,
	BIO_TYPE_SOCKET = 0x505,
};

static __always_inline void settle_pending(u64 id, const struct tls_pending *call, struct tls_session *session, s32 result,
					   u64 cookie)
{
	struct tls_part part = {
		.id = id,
		.entered_ns = call->entered_ns,
		.moved_ns = call->moved_ns,
		.buffer = call->buffer,
		.bytes = result,
		.call = call->call,
	};

	if (result <= 0 || (call->moved && bpf_probe_read_user(&part.bytes, sizeof(part.bytes), (void *)call->moved)))
		part.bytes = 0;
	if (result > 0)
		check_bytes(&part, call->length);
	if (part.bytes && !part.buffer)
		count(COUNTER_WITHOUT_CONTENT + CALL_SENDFILE);
	before_first(&part, session, call->object, cookie);
	settle_tls_call(&part, session);
}

/* A function of its own, as those that note where a call is entered: it needs much of the stack. */
static __noinline int leave_tls_call(u64 id, s32 result, u64 cookie)
{
	struct tls_pending *pending = bpf_map_lookup_elem(&tls_threads, &id);
	struct tls_session *session;

	if (!pending || !pending->is_open)
		return 0;
	pending->is_open = 0;
	pending->is_told = 1;
	close_tls_slot(id);
	session = tls_session_of(pending->object, id >> 32);
	if (session)
		settle_pending(id, pending, session, result, cookie);
	return 0;
}

/* What the operands of a site are had from: the registers, and the words of the stack from its pointer on. Arguments that
 * calls do not keep in registers lie there, and what a call tells of its length: one guarded read instead of three.
 */
struct operands {
	u64 cookie;
	u64 kept[KEPT_REGISTERS];
	u64 stack[STACK_WORDS];
};

static __always_inline void read_operands(struct operands *from, const struct pt_regs *registers, u64 cookie)
{
	from->cookie = cookie;
	from->kept[KEPT_REGISTERS - 1] = 0;
	read_kept(registers, from->kept);
	/* Unreadable so near to its end, it is all zero, which no operand is. */
	bpf_probe_read_user(from->stack, sizeof(from->stack), (void *)from->kept[KEPT_RSP]);
}

/* 0 if it cannot be read. */
static __always_inline u64 word_at(const struct operands *from, u64 address)
{
	u64 value = address - from->kept[KEPT_RSP], index = value / sizeof(u64);

	/* The verifier is to see the index bounded, so the compiler must not look through it. */
	barrier_var(index);
	if (index < STACK_WORDS && value % sizeof(u64) == 0 && from->stack[index])
		return from->stack[index];
	return bpf_probe_read_user(&value, sizeof(value), (void *)address) ? 0 : value;
}

/* What an operand of a cookie stands for; 0 if it cannot be read. */
static __always_inline u64 operand(const struct operands *from, u32 place)
{
	const u32 bits = from->cookie >> place, unused = 32 - OPERAND_ADDED - OPERAND_ADDED_BITS;
	const s32 added = (s32)(bits << unused) >> (unused + OPERAND_ADDED);
	const u64 value = from->kept[bits % KEPT_REGISTERS] + added;

	return bits >> OPERAND_IN_MEMORY & 1 ? word_at(from, value) : value;
}

/* By the BIO that the object reads from. Its method stands behind a pointer to the library's context (3.0 and later), or
 * first (1.1): struct bio_st in crypto/bio/bio_local.h. The type stands first in a method (struct bio_method_st in
 * include/internal/bio.h).
 */
static __noinline u8 find_carrier(u64 object, u64 bio_at)
{
	u64 bio = 0, words[2] = {};
	u32 type = 0;

	if (!bio_at || bpf_probe_read_user(&bio, sizeof(bio), (void *)(object + bio_at)) || !bio ||
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

/* Reads of a call what its object is and which clear text it moved: none, if it gave nothing. A function of its own: it
 * needs much of the stack.
 */
static __noinline u64 read_call(const struct pt_regs *registers, u64 cookie, struct tls_part *part)
{
	const bool has_given = (cookie & 15) == TLS_SITE_GIVEN;
	const s32 result = registers->RESULT;
	struct operands from;

	read_operands(&from, registers, cookie);
	if (has_given || result > 0) {
		part->buffer = operand(&from, TLS_BEHIND_BUFFER);
		if (unlikely(!part->buffer))
			count(COUNTER_PAYLOAD_UNREADABLE);
		if (cookie >> TLS_BEHIND_EX & 1)
			part->bytes = word_at(&from, operand(&from, TLS_BEHIND_MOVED));
		else
			part->bytes = has_given ? (s32)operand(&from, TLS_BEHIND_MOVED) : result;
		check_bytes(part, TLS_BYTES_MAX);
	}
	return operand(&from, TLS_BEHIND_OBJECT);
}

/* Whether it was found out who moves the object's encrypted bytes: asked until it was. */
static __always_inline bool has_carrier(struct tls_session *session, u32 tgid, u64 object, u64 site)
{
	if (unlikely(session->carrier == CARRIER_UNKNOWN)) {
		session->carrier = find_carrier(object, library_of(site, tgid)->bio);
		if (session->carrier == CARRIER_LIBRARY)
			__sync_fetch_and_or(&at_hand.tls_use, TLS_MOVES_ARE_KEPT);
	}
	if (likely(session->carrier != CARRIER_UNKNOWN))
		return true;
	count(COUNTER_TLS_CARRIERS_UNKNOWN);
	return false;
}

/* All at once: where the call was entered is not probed. A function of its own: it needs much of the stack. */
static __noinline int behind_tls_call(struct task_struct *task, const struct pt_regs *registers, u64 cookie)
{
	const u64 id = task_id(task);
	struct tls_session *session;
	struct tls_part part = {
		.id = id,
		.call = cookie >> TLS_BEHIND_WRITES & 1 ? TLS_CALL_WRITE : TLS_CALL_READ,
		.entered_ns = ENTRY_IS_NOW,
	};
	const u64 object = read_call(registers, cookie, &part);

	if (!object) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return 0;
	}
	/* Where the library itself is probed too, what was called inside has told it. */
	if (at_hand.tls_use & TLS_CALLS_ARE_ENTERED && was_told(id, object))
		return 0;
	session = tls_session_of(object, id >> 32);
	/* Most reads but those that give something find nothing; where they can be told apart they do not get here. */
	if (!session || (!part.bytes && session->calls >= TLS_FIRST_CALLS) || !has_carrier(session, id >> 32, object, cookie))
		return 0;
	if (session->carrier == CARRIER_LIBRARY) {
		const u64 moved_ns = last_move(id, part.call == TLS_CALL_WRITE ? DIRECTION_SENT : DIRECTION_RECEIVED);

		part.entered_ns = ENTRY_UNSEEN;
		/* What is read now may have been received before what was told last. */
		part.moved_ns = moved_ns > session->moved_ns ? moved_ns : session->moved_ns;
		session->moved_ns = part.moved_ns;
	}
	before_first(&part, session, object, cookie);
	settle_tls_call(&part, session);
	return 0;
}

static __always_inline void open_tls_call(u64 id, const struct tls_pending *pending)
{
	struct tls_pending *known = bpf_map_lookup_elem(&tls_threads, &id);

	if (known)
		*known = *pending;
	else
		bpf_map_update_elem(&tls_threads, &id, pending, BPF_ANY);
	open_tls_slot(id);
}

/* `moved`: where the length goes; 0: it is the result. */
static __noinline int enter_tls_call(u64 id, const struct pt_regs *registers, u32 call, u64 moved)
{
	const struct tls_pending pending = {
		.object = registers->ARGUMENT_FIRST,
		.buffer = registers->ARGUMENT_SECOND,
		/* An `int`, where the result is one. */
		.length = moved ? registers->ARGUMENT_THIRD : (u32)registers->ARGUMENT_THIRD,
		.moved = moved,
		.entered_ns = bpf_ktime_get_ns(),
		.call = call,
		.is_open = 1,
	};

	open_tls_call(id, &pending);
	return 0;
}

/* What is sent lies in a file. */
static __noinline int enter_sendfile(u64 id, const struct pt_regs *registers)
{
	const struct tls_pending pending = {
		.object = registers->ARGUMENT_FIRST,
		.length = registers->ARGUMENT_FOURTH,
		.entered_ns = bpf_ktime_get_ns(),
		.call = TLS_CALL_WRITE,
		.is_open = 1,
	};

	open_tls_call(id, &pending);
	return 0;
}

/* Tells who says first that it sends no more, by what the object keeps of what was said so far. */
static __always_inline void tell_shutdown(u64 id, const struct tls_session *session, u64 object, u64 site)
{
	const u32 at = library_of(site, id >> 32)->state;
	u32 state = SHUTDOWN_SENT;

	if (session->ignored || !at || bpf_probe_read_user(&state, sizeof(state), (void *)(object + at)) || state & SHUTDOWN_SENT)
		return;
	tell_tls_call(id, state & SHUTDOWN_RECEIVED ? TLS_CALL_CLOSE_BACK : TLS_CALL_CLOSE, session->id, ENTRY_IS_NOW);
}

static __noinline int enter_handshake(u64 id, u64 object)
{
	struct tls_session *session = tls_session_of(object, id >> 32);

	if (!session)
		return 0;
	if (session->calls < TLS_FIRST_CALLS)
		tell_tls_call(id, TLS_CALL_HANDSHAKE, session->id, ENTRY_IS_NOW);
	session->calls++;
	return 0;
}

/* The library shuts the connection of an object down, or lets the object go. A function of its own, as those above. */
static __noinline int end_tls_calls(u64 id, u64 address, u64 site)
{
	const struct tls_object object = { .address = address, .tgid = id >> 32 };
	const struct tls_session *session = known_tls_session(&object);

	if (!session)
		return 0;
	if (!session->whole)
		before_end(id >> 32, session->id | TLS_OBJECT, session->received, session->sent);
	if ((site & 15) == TLS_SITE_SHUTDOWN) {
		tell_shutdown(id, session, address, site);
		return 0;
	}
	tell_tls_call(id, TLS_CALL_FREE, session->id, ENTRY_IS_NOW);
	forget_tls_session(&object);
	return 0;
}

static __always_inline int tls_site(struct pt_regs *registers, u64 site)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const u64 id = task_id(task);

	if (!is_watched(id >> 32))
		return 0;
	switch (site & 15) {
	case TLS_SITE_BEHIND:
	case TLS_SITE_GIVEN:
		behind_tls_call(task, registers, site);
		break;
	case TLS_SITE_READ:
	case TLS_SITE_READ_EX:
		enter_tls_call(id, registers, TLS_CALL_READ,
			       site == TLS_SITE_READ_EX ? registers->ARGUMENT_FOURTH : 0);
		break;
	case TLS_SITE_WRITE:
	case TLS_SITE_WRITE_EX:
		enter_tls_call(id, registers, TLS_CALL_WRITE,
			       site == TLS_SITE_WRITE_EX ? registers->ARGUMENT_FOURTH : 0);
		break;
	case TLS_SITE_WRITE_EX2:
		enter_tls_call(id, registers, TLS_CALL_WRITE, registers->ARGUMENT_FIFTH);
		break;
	case TLS_SITE_SENDFILE:
		enter_sendfile(id, registers);
		break;
	case TLS_SITE_RETURN:
		leave_tls_call(id, registers->RESULT, site);
		break;
	case TLS_SITE_HANDSHAKE:
		enter_handshake(id, registers->ARGUMENT_FIRST);
		break;
	case TLS_SITE_SHUTDOWN:
	case TLS_SITE_FREE:
		end_tls_calls(id, registers->ARGUMENT_FIRST, site);
		break;
	}
	return 0;
}

/* Linux 6.6 and later: one link for all sites of a file. The loader sets its attach type. */
SEC("uprobe")
int user_tls_multi(struct pt_regs *registers)
{
	ON_KERNEL_STACK(registers);
	return tls_site(registers, bpf_get_attach_cookie(registers));
}

/* Since 5.15 (cookies): one link for each site. */
SEC("uprobe")
int user_tls_single(struct pt_regs *registers)
{
	ON_KERNEL_STACK(registers);
	return tls_site(registers, bpf_get_attach_cookie(registers));
}

#endif
