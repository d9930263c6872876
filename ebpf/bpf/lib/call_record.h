/* How a socket call is told: the usual ones, of few bytes, written to the ring in place; one buffer of more bytes
 * likewise; the rest put together aside, in several records where a call is copied whole (pieces.h).
 */
#ifndef STARDUST_PROBE_CALL_RECORD_H
#define STARDUST_PROBE_CALL_RECORD_H

#include "connection.h"
#include "payload.h"
#include "pieces.h"
#include "python.h"
#include "../python_errors.h"
#include "ring.h"
#include "timing.h"

/* Copies the path that a unix socket, or else its peer, is bound to, behind the payload. */
static __always_inline void copy_path(struct scratch *scratch, struct sock *sk)
{
	struct unix_sock *own = (struct unix_sock *)sk;
	struct unix_address *address = BPF_CORE_READ(own, addr);
	u64 offset = (u64)scratch->call.head_bytes + scratch->call.tail_bytes;
	u64 length;

	if (!address) {
		own = (struct unix_sock *)BPF_CORE_READ(own, peer);
		address = BPF_CORE_READ(own, addr);
		scratch->call.header.flags |= FLAG_PATH_OF_PEER;
	}
	if (!address)
		return;
	length = (u32)BPF_CORE_READ(address, len);
	if (length <= sizeof(u16) || offset > HEAD_BYTES_MAX + TAIL_BYTES_MAX)
		return;
	length = bounded(length - sizeof(u16), PATH_BYTES_MAX); /* less sun_family */
	if (bpf_probe_read_kernel(&scratch->payload[offset], length,
				  (void *)address + bpf_core_field_offset(address->name) +
					  bpf_core_field_offset(struct sockaddr_un, sun_path))) {
		count(COUNTER_PATH_UNREADABLE);
		return;
	}
	scratch->call.path_bytes = length;
}

enum {
	SMALL_WINDOWS = (SMALL_PAYLOAD_BYTES + WINDOW_BYTES - 1) / WINDOW_BYTES,
};

/* A call of few bytes, or of one buffer of more, is written to the ring in place, where it takes no more room than it
 * needs. The rest is put together aside.
 */
struct placed_call {
	struct socket_call call;
	u8 payload[MEDIUM_PAYLOAD_BYTES + TAIL_BYTES_MAX];
};

/* The payload is there already, from its start and from its end: what has just been copied is looked at after this, as it
 * cannot be had at once.
 */
static __always_inline void fill_call(struct socket_call *call, const struct call_facts *facts,
				      const struct connection *connection, const struct glance *glance, u64 head, u64 tail)
{
	fill_header_at(&call->header, facts->at_ns ? facts->at_ns : bpf_ktime_get_ns(), RECORD_SOCKET_CALL,
		       sizeof(*call) + head + tail, facts->id >> 32, (u32)facts->id);
	if (connection->origin_start)
		call->header.flags = FLAG_ORIGIN_START;
	if (facts->deferred)
		call->header.flags |= FLAG_DEFERRED;
	if (unlikely(facts->kernel_tls))
		call->header.flags |= FLAG_KERNEL_TLS;
	call->ran_ns = call->header.at_ns + facts->ran_less_clock;
	call->first_arrival_us = facts->arrival.first_us;
	call->arrival_ticks = facts->arrival.ticks;
	call->tick_us = facts->arrival.is_known ? config.tick_us : 0;
	call->connection = connection->id;
	call->inode = connection->inode;
	call->position = facts->position;
	call->result = facts->result;
	call->ends = connection->ends;
	call->fd = facts->fd;
	call->head_bytes = head;
	call->tail_bytes = tail;
	call->path_bytes = 0;
	call->call = facts->kind;
	call->direction = facts->direction;
	call->identity = identity_in(glance, facts->id, facts->thread, &call->context);
	call->reserved = 0;
}

/* Gives how many bytes were copied: fewer than all are unreadable from there on. */
static __always_inline u64 copy_pair(struct placed_call *record, const struct buffer *buffer, u64 total)
{
	const u64 first = bounded(buffer->first.length < total ? buffer->first.length : total, SMALL_PAYLOAD_BYTES);
	u64 second;

	if (bpf_probe_read_user(record->payload, first, (void *)buffer->first.base))
		return 0;
	second = bounded(total - first, SMALL_PAYLOAD_BYTES);
	return bpf_probe_read_user(&record->payload[first], second, (void *)buffer->second.base) ? first :
												  first + second;
}

static __always_inline u64 copy_single(struct placed_call *record, u64 base, u64 total)
{
	total = bounded(total, SMALL_PAYLOAD_BYTES);
	return bpf_probe_read_user(record->payload, total, (void *)base) ? 0 : total;
}

/* Whether this may be an answer of a failure about which something can be said. What the kernel encrypts
 * is the library's to tell of.
 */
static __always_inline bool may_fail(const struct call_facts *facts)
{
	return config.exceptions && facts->direction == DIRECTION_SENT && at_hand.exceptions_are_known && !facts->kernel_tls;
}

/* Whether what there is to say of a call comes before anything else is done with it. */
static __always_inline bool is_told(const struct call_facts *facts)
{
	return facts->answers || facts->fails;
}

/* Whether the record in the making, of which this was copied, has to wait for what is said of a failure. */
static __always_inline bool comes_second(const struct call_facts *facts, const struct connection *connection,
					 const struct socket_call *call, const u8 *payload)
{
	return may_fail(facts) && is_failure(payload, call->head_bytes, connection->whole);
}

/* What was copied of a call is all of it: nothing is left out, but the next call may be a larger one. False: it cannot be
 * followed. A function of its own, so that the verifier looks at it once.
 */
__noinline int follow_small(const struct placed_call *record, u32 *between)
{
	struct frames *frames;
	u64 bytes;

	if (!record || !between)
		return 0;
	bytes = record->call.head_bytes;
	frames = take_frames(record->call.connection, record->call.direction, record->call.position, bytes, true,
			     between);
	if (!frames)
		return 0;
	for (u32 i = 0; i < SMALL_WINDOWS; i++) {
		const u64 done = i * WINDOW_BYTES;

		if (done >= bytes)
			break;
		follow(frames, (const struct window *)&record->payload[done],
		       bytes - done < WINDOW_BYTES ? bytes - done : WINDOW_BYTES);
	}
	leave_frames(frames, record->call.position + bytes, true, between);
	return true;
}

/* Mostly frames begin and end with the call. A function of its own, as the one before. */
__noinline int follow_frames(const struct placed_call *record, u32 *between)
{
	if (!record || !between)
		return 0;
	if (*between != between_frames(record->call.position) || !are_whole_frames(record->payload, record->call.head_bytes))
		return follow_small(record, between);
	*between = between_frames(record->call.position + record->call.head_bytes);
	return true;
}

/* Room for a record of few bytes, with what is copied of them; NULL: no room (counted). */
static __always_inline struct placed_call *begin_small(const struct call_facts *facts, const struct buffer *buffer,
						       struct connection *connection)
{
	const bool copies = facts->result > 0 && facts->has_buffer;
	const u64 total = copies ? facts->result : 0;
	struct placed_call *record = reserve(sizeof(struct socket_call) + total);
	struct glance glance;
	u64 head = 0;

	if (!record)
		return 0;
	glance_at(&glance, facts->id, connection->accepted);
	if (copies) {
		head = buffer->segments ? copy_pair(record, buffer, total) : copy_single(record, buffer->first.base, total);
		if (unlikely(head != total))
			count(COUNTER_PAYLOAD_UNREADABLE);
	}
	fill_call(&record->call, facts, connection, &glance, head, 0);
	return record;
}

/* False: something comes first, or frames are to be followed; nothing is written. */
static __always_inline bool write_small(struct call_facts *facts, const struct buffer *buffer, struct connection *connection)
{
	struct placed_call *record = begin_small(facts, buffer, connection);

	if (!record)
		return true;
	facts->fails = comes_second(facts, connection, &record->call, record->payload);
	if (unlikely(facts->fails || (facts->position == 0 && !facts->kernel_tls &&
				      begins_frames((const u64 *)record->payload, record->call.head_bytes,
						    connection->origin_start)))) {
		discard(&record->call.header);
		return false;
	}
	submit(&record->call.header);
	return true;
}

/* As write_small, of what was put aside, also on a connection whose frames are followed. A function of its own, as the next
 * ones, so that the verifier looks at it once: what it is given is there, but the verifier cannot know.
 */
__noinline int write_small_aside(u32 slot, struct connection *connection)
{
	const struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	const struct call_facts *facts;
	struct placed_call *record;

	if (!scratch || !connection)
		return true;
	facts = &scratch->facts;
	record = begin_small(facts, &scratch->walk.buffer, connection);
	if (!record)
		return true;
	if (unlikely(!is_told(facts) && comes_second(facts, connection, &record->call, record->payload))) {
		discard(&record->call.header);
		return false;
	}
	if (connection->whole && facts->result > 0 && record->call.head_bytes == facts->result &&
	    !follow_frames(record, &connection->between[facts->direction & 1])) {
		record->call.header.flags |= FLAG_ASKS_FRAME;
		submit(&record->call.header);
		ask_at_once(&connection->whole);
		return true;
	}
	submit(&record->call.header);
	return true;
}

/* The same of one buffer of more bytes, on a connection whose frames are not followed. */
__noinline int write_medium(u32 slot, const struct connection *connection)
{
	const struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	const struct call_facts *facts;
	struct placed_call *record;
	struct glance glance;
	u64 base, total, head, tail;

	if (!scratch || !connection)
		return true;
	facts = &scratch->facts;
	base = scratch->walk.buffer.first.base;
	total = facts->result;
	head = bounded(total < config.head_bytes ? total : config.head_bytes, MEDIUM_PAYLOAD_BYTES);
	tail = bounded(total - head, TAIL_BYTES_MAX);
	record = reserve(sizeof(struct socket_call) + head + tail);
	if (!record)
		return true;
	glance_at(&glance, facts->id, connection->accepted);
	if (bpf_probe_read_user(record->payload, head, (void *)base)) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		head = tail = 0;
	} else if (bpf_probe_read_user(&record->payload[head], tail, (void *)base + (total - tail))) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		tail = 0;
	}
	fill_call(&record->call, facts, connection, &glance, head, tail);
	if (unlikely(!is_told(facts) && comes_second(facts, connection, &record->call, record->payload))) {
		discard(&record->call.header);
		return false;
	}
	submit(&record->call.header);
	return true;
}

__noinline int write_large(u32 slot, struct connection *connection, u64 sk)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	const struct call_facts *facts;
	struct socket_call *call;
	struct glance glance;
	u64 size;

	if (!scratch || !connection)
		return 0;
	facts = &scratch->facts;
	call = &scratch->call;
	glance_at(&glance, facts->id, connection->accepted);
	fill_call(call, facts, connection, &glance, 0, 0);
	if (facts->result > 0 && facts->has_buffer) {
		if (connection->whole) {
			if (!copy_whole(slot, facts->result, &connection->between[facts->direction & 1]))
				ask_at_once(&connection->whole);
			return 0;
		}
		copy_payload(slot, facts->result);
	}
	if (call->ends.family == FAMILY_UNIX && !connection->path_sent) {
		connection->path_sent = 1;
		copy_path(scratch, (struct sock *)sk);
	}
	size = sizeof(*call) + (u64)call->head_bytes + call->tail_bytes + call->path_bytes;
	/* Never true; the verifier cannot know. */
	if (size > sizeof(*scratch))
		return 0;
	call->header.size = size;
	emit(&call->header, size);
	return 0;
}

static __always_inline bool lacks_path(const struct connection *connection)
{
	return connection->ends.family == FAMILY_UNIX && !connection->path_sent;
}

/* Whether a call is of so few bytes, in so few segments, that they are copied in one go. */
static __always_inline bool is_small(const struct call_facts *facts, const struct buffer *buffer)
{
	return facts->result <= 0 || !facts->has_buffer ||
	       (facts->result <= SMALL_PAYLOAD_BYTES && facts->result <= config.head_bytes &&
		(!buffer->segments || buffer->count == PAIR));
}

/* Writes the record of a usual call. False: it is an unusual one, or something comes first; nothing is written. */
static __always_inline bool write_at_once(struct call_facts *facts, const struct buffer *buffer, struct connection *connection)
{
	return !facts->answers && !connection->whole && !lacks_path(connection) && is_small(facts, buffer) &&
	       write_small(facts, buffer, connection);
}

/* What is known of a call that is not written at once, for the steps that have the stack to themselves (own_stack.h). */
static __always_inline int put_aside(const struct call_facts *facts, const struct buffer *buffer, u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);

	/* Never true; the verifier cannot know. */
	if (!scratch)
		return false;
	scratch->facts = *facts;
	scratch->walk.buffer = *buffer;
	return true;
}

/* Writes what was put aside, and says first what there is to say of a failure. */
static __always_inline void write_aside(struct connection *connection, struct sock *sk, u32 slot)
{
	const struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	const struct call_facts *facts;
	const struct buffer *buffer;
	u64 address = 0, first;
	bool copies;

	if (!scratch || !connection)
		return;
	facts = &scratch->facts;
	buffer = &scratch->walk.buffer;
	copies = facts->result > 0 && facts->has_buffer;
	/* Where they are kept, each answer ends what was kept before it. */
	if (is_told(facts))
		before_answer(slot, connection, facts->answers);
	/* Only a connection's first call tells: what follows an upgrade is told by the agent. */
	first = facts->result;
	if (first > buffer->first.length)
		first = buffer->first.length;
	if (facts->position == 0 && copies && !facts->kernel_tls && begins_http2(buffer->first.base, first, connection->origin_start))
		connection->whole = WHOLE;
	if (!lacks_path(connection)) {
		if (is_small(facts, buffer) && write_small_aside(slot, connection))
			return;
		if (copies && !buffer->segments && !connection->whole && config.head_bytes <= MEDIUM_PAYLOAD_BYTES &&
		    write_medium(slot, connection))
			return;
	}
	if (copies && !is_told(facts) && may_fail(facts))
		before_answer(slot, connection, false);
	/* As a number, which is all that may be given on. */
	if (lacks_path(connection))
		bpf_probe_read_kernel(&address, sizeof(address), &sk);
	write_large(slot, connection, address);
}

#endif
