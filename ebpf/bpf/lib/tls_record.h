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
#include "tls_session.h"
#include "tls_thread.h"

enum {
	/* Calls of a new object that are told even if they move nothing: they show where it belongs. */
	TLS_FIRST_CALLS = 32,
	TLS_PIECES_MAX = 256,
	TLS_STEPS_MAX = 128,
};

/* Written in the ring, where it takes no more room than it needs: a program at a user's instruction can be interrupted by
 * another of its kind, so nothing per CPU is safe.
 */
struct placed_tls_call {
	struct tls_call call;
	u8 payload[HEAD_BYTES_MAX + TAIL_BYTES_MAX];
};

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
	u64 context; /* with `identity`: what the thread is running */
	u64 left; /* where all of a call is told: what is to be looked at yet. `copied`: what was copied */
	u32 head; /* bytes to copy from the start */
	u32 tail; /* and from the end */
	u32 call;
	u32 copied; /* see `left` */
	bool frames; /* it is HTTP/2 */
	bool is_even; /* see are_whole_frames */
	bool asks_frame; /* see FLAG_ASKS_FRAME */
	bool may_fail; /* something may come first: see tell_part */
	u8 identity;
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

/* Finds out what the thread is running. A function of its own, as the next ones, so that the verifier looks at it once, and
 * its part of the stack is free again.
 */
__noinline int identify(struct tls_part *part)
{
	/* Never true; the verifier cannot know. */
	if (!part)
		return 0;
	part->identity = read_identity(part->id, thread_pointer(bpf_get_current_task_btf()), &part->context);
	return 0;
}

/* False: what is said of a failure comes first, nothing is written. A function of its own, so that the verifier looks at
 * it once.
 */
__noinline int tell_part(struct tls_part *part)
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
	if (part->asks_frame)
		record->call.header.flags |= FLAG_ASKS_FRAME;
	copy_clear_text(&record->call, record->payload, sizeof(record->payload), part);
	record->call.identity = part->identity;
	record->call.context = part->context;
	if (unlikely(part->may_fail) && is_failure(record->payload, record->call.head_bytes, part->frames)) {
		discard(&record->call.header);
		return false;
	}
	if (part->frames && part->bytes <= SMALL_PAYLOAD_BYTES && record->call.head_bytes == part->bytes)
		part->is_even = are_whole_frames(record->payload, part->bytes);
	submit(&record->call.header);
	return true;
}

/* Says what there is to say of a failure that a write may be the answer of; `all`: each answer counts. */
static __always_inline void before_part(const struct tls_part *part, u64 received, bool all)
{
	const struct sending sending = {
		.connection = part->session | TLS_OBJECT,
		.start = part->buffer,
		.bytes = part->bytes,
		.received = received,
		.sent = part->position,
		.frames = part->frames,
	};

	before_sending(&sending, all);
}

/* Tells the next part of a call that is told whole. A function of its own, so that the verifier looks at it once. */
__noinline int tell_next(struct tls_part *part)
{
	/* Never true; the verifier cannot know. */
	if (!part)
		return 0;
	tell_part(part);
	part->position += part->bytes;
	part->buffer += part->bytes;
	part->bytes = 0;
	part->head = 0;
	return 0;
}

/* Takes to the part in the making what of the call's `left` bytes comes next: bytes to copy, or those that can be left out
 * behind them. False: the part has to be told first, or nothing is left.
 */
__noinline bool look_step(struct tls_part *part, struct frames *frames)
{
	u64 bytes, blindly;

	if (!part || !part->left || part->copied >= config.whole_bytes)
		return false;
	bytes = part->left;
	if (frames && frames->left_out) {
		if (bytes > frames->left_out)
			bytes = frames->left_out;
		pass_payload(frames, bytes);
		part->bytes += bytes;
		part->left -= bytes;
		return true;
	}
	if (part->bytes != part->head || part->head >= HEAD_BYTES_MAX)
		return false;
	blindly = copied_blindly(frames);
	if (bytes > (blindly ? blindly : WINDOW_BYTES))
		bytes = blindly ? blindly : WINDOW_BYTES;
	if (bytes > config.whole_bytes - part->copied)
		bytes = config.whole_bytes - part->copied;
	if (bytes > HEAD_BYTES_MAX - part->head)
		bytes = HEAD_BYTES_MAX - part->head;
	if (blindly) {
		if (frames)
			pass_payload(frames, bytes);
	} else if (frames) {
		bytes = bounded(bytes, WINDOW_BYTES);
		if (bpf_probe_read_user(&frames->window, bytes, (void *)part->buffer + part->head)) {
			count(COUNTER_PAYLOAD_UNREADABLE);
			part->copied = config.whole_bytes;
			return false;
		}
		bytes = follow(frames, &frames->window, bytes);
	}
	part->head += bytes;
	part->bytes += bytes;
	part->copied += bytes;
	part->left -= bytes;
	return true;
}

__noinline int look_on(struct tls_part *part, struct frames *frames)
{
	for (u32 i = 0; i < TLS_STEPS_MAX && look_step(part, frames); i++)
		;
	return 0;
}

static __always_inline struct frames *take_part(const struct tls_part *part, u64 position, u64 bytes, bool copies_all,
						u32 *between)
{
	const u32 direction = part->call == TLS_CALL_READ ? DIRECTION_RECEIVED : DIRECTION_SENT;

	return take_frames(part->session | TLS_OBJECT, direction, position, bytes, copies_all, between);
}

/* Messages of HTTP/2 begin anywhere in a call: all of it is told, in as many records as it takes, but for what need not be
 * copied (frames.h).
 */
__noinline int tell_whole(struct tls_part *part, u32 *between)
{
	struct frames *frames;

	if (!part || !between)
		return 0;
	frames = take_part(part, part->position, part->bytes, false, between);
	part->asks_frame = !frames;
	part->left = part->bytes;
	part->bytes = 0;
	part->head = 0;
	part->copied = 0;
	for (u32 i = 0; i < TLS_PIECES_MAX; i++) {
		look_on(part, frames);
		if (!part->left || part->copied >= config.whole_bytes)
			break;
		tell_next(part);
	}
	if (frames)
		leave_frames(frames, part->position + part->bytes + part->left, !part->left, between);
	/* The last one, and all that is left. */
	part->bytes += part->left;
	tell_next(part);
	return 0;
}

/* Tells all of a small call. Mostly frames begin and end with it; what does not is followed afterwards. */
__noinline int tell_small(struct tls_part *part, u32 *between)
{
	const bool is_between = part && between && *between == between_frames(part->position);
	struct frames *frames = 0;
	u64 bytes;
	bool is_read;

	if (!part || !between)
		return 0;
	bytes = bounded(part->bytes, WINDOW_BYTES);
	part->head = part->bytes;
	part->is_even = false;
	if (!is_between) {
		frames = take_part(part, part->position, bytes, true, between);
		part->asks_frame = !frames;
	}
	tell_next(part);
	if (is_between && part->is_even) {
		*between = between_frames(part->position);
		return 0;
	}
	if (is_between)
		frames = take_part(part, part->position - bytes, bytes, true, between);
	if (!frames)
		return 0;
	is_read = bpf_probe_read_user(&frames->window, bytes, (void *)part->buffer - bytes) == 0;
	if (is_read)
		follow(frames, &frames->window, bytes);
	leave_frames(frames, part->position, is_read, between);
	return 0;
}

static __always_inline void tell_clear_text(struct tls_part *part, struct tls_session *session)
{
	const u64 limit = config.head_bytes < HEAD_BYTES_MAX ? config.head_bytes : HEAD_BYTES_MAX;
	const bool writes = config.exceptions && part->call == TLS_CALL_WRITE && at_hand.exceptions_are_known;
	/* Where they are kept, each answer ends what was kept before it. */
	const bool all = writes && answers_count(part->id);
	const u64 bytes = part->bytes;

	part->position = __sync_fetch_and_add(part->call == TLS_CALL_READ ? &session->received : &session->sent, bytes);
	if (unlikely(!session->whole && part->position == 0 && part->buffer) && begins_http2(part->buffer, bytes, true))
		session->whole = WHOLE;
	/* A file's. Who follows frames finds by the position that some were missed. */
	if (!part->buffer) {
		part->head = part->tail = 0;
		tell_part(part);
		return;
	}
	part->frames = session->whole;
	if (!session->whole) {
		part->head = bytes < limit ? bytes : limit;
		part->tail = bytes - part->head < TAIL_BYTES_MAX ? bytes - part->head : TAIL_BYTES_MAX;
		/* Mostly its record is written before anyone looks whether something has to come first. */
		part->may_fail = writes && !all;
		if (likely(!all) && tell_part(part))
			return;
		part->may_fail = false;
	}
	if (writes)
		before_part(part, session->received, all);
	if (!session->whole)
		tell_part(part);
	else if (bytes <= WINDOW_BYTES)
		tell_small(part, &session->between[part->call & 1]);
	else
		tell_whole(part, &session->between[part->call & 1]);
	if (part->asks_frame)
		ask_at_once(&session->whole);
}

/* What the agent asks for, once it has asked. */
static __always_inline void hear_wish(struct tls_session *session)
{
	const u64 key = session->id | TLS_OBJECT;
	const u32 round = at_hand.wish_round;
	u8 *wish;

	if (session->wish_round == round)
		return;
	session->wish_round = round;
	wish = bpf_map_lookup_elem(&wishes, &key);
	if (wish) {
		if (*wish == WISH_WHOLE)
			session->whole = WHOLE;
		else
			session->ignored = 1;
		bpf_map_delete_elem(&wishes, &key);
	}
	if (session->whole)
		hear_tls_frames(session);
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
	if (part->bytes) {
		identify(part);
		tell_clear_text(part, session);
	} else if (session->calls < TLS_FIRST_CALLS) {
		tell_tls_call(part->id, part->call, session->id, part->entered_ns);
	}
	if (session->calls < TLS_FIRST_CALLS)
		session->calls++;
}

#endif
