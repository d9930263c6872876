/* Copies a call whole, in as many records as it takes: for protocols whose messages begin anywhere in a call. Each
 * record but the last tells of as many bytes as it holds; the last one of all that is left.
 */
#ifndef STARDUST_PROBE_PIECES_H
#define STARDUST_PROBE_PIECES_H

#include "payload.h"
#include "ring.h"

enum {
	/* Segments and records of one call together. */
	PIECE_STEPS_MAX = 512,
	PREFACE_BYTES = 16,
};

/* RFC 9113 section 3.4: what an HTTP/2 client sends first, "PRI * HTTP/2.0\r\n" on a little-endian machine. */
static __always_inline bool is_preface(const u64 words[2])
{
	return words[0] == 0x5448202a20495250 && words[1] == 0x0a0d302e322f5054;
}

static __always_inline bool begins_with_preface(const struct buffer *buffer, s64 result)
{
	struct user_iovec segment = buffer->first;
	u64 words[2];

	if (result < PREFACE_BYTES)
		return false;
	if (buffer->count > PAIR && bpf_probe_read_user(&segment, sizeof(segment), (void *)buffer->segments))
		return false;
	if (segment.length < PREFACE_BYTES || bpf_probe_read_user(words, PREFACE_BYTES, (void *)segment.base))
		return false;
	return is_preface(words);
}

/* Sends the record in the making, which tells of `result` bytes. */
static __always_inline void emit_piece(struct scratch *scratch, u64 result)
{
	struct socket_call *call = &scratch->call;
	struct walk *walk = &scratch->walk;
	const u64 held = walk->done - walk->begin;

	/* Never true; the verifier cannot know. */
	if (held > HEAD_BYTES_MAX)
		return;
	call->position = walk->position + walk->begin;
	call->result = result;
	call->head_bytes = held;
	call->header.size = sizeof(*call) + held;
	emit(&call->header, sizeof(*call) + held);
	walk->begin = walk->done;
}

/* Copies what of one segment fits into one record; false: that was all. A function of its own, so that the verifier
 * looks at it once.
 */
__noinline bool copy_step(u32 slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct user_iovec segment;
	struct walk *walk;
	u64 held, from, length;

	if (!scratch)
		return false;
	walk = &scratch->walk;
	if (walk->done >= walk->wanted || walk->segment >= walk->buffer.count)
		return false;
	held = walk->done - walk->begin;
	if (held >= HEAD_BYTES_MAX) {
		emit_piece(scratch, held);
		held = 0;
	}
	segment = walk->buffer.first;
	if (walk->buffer.segments &&
	    bpf_probe_read_user(&segment, sizeof(segment),
				(void *)walk->buffer.segments + walk->segment * sizeof(segment))) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return false;
	}
	from = walk->done - walk->segment_begin;
	length = segment.length - from;
	if (length > walk->wanted - walk->done)
		length = walk->wanted - walk->done;
	if (length > HEAD_BYTES_MAX - held)
		length = HEAD_BYTES_MAX - held;
	/* Never true; the verifier cannot know, the compiler must not. */
	barrier_var(length);
	barrier_var(held);
	if (length > HEAD_BYTES_MAX || held > HEAD_BYTES_MAX)
		return false;
	if (length && bpf_probe_read_user(&scratch->payload[held], length, (void *)segment.base + from)) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return false;
	}
	walk->done += length;
	if (from + length >= segment.length) {
		walk->segment_begin += segment.length;
		walk->segment++;
	}
	return true;
}

/* Copies a call's `total` bytes, found by `walk.buffer`; the record's other fields are filled in already. */
__noinline int copy_whole(u32 slot, u64 total)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct walk *walk;

	if (!scratch)
		return 0;
	walk = &scratch->walk;
	walk->wanted = total < config.whole_bytes ? total : config.whole_bytes;
	walk->done = 0;
	walk->begin = 0;
	walk->position = scratch->call.position;
	walk->segment_begin = 0;
	walk->segment = 0;
	for (u32 i = 0; i < PIECE_STEPS_MAX && copy_step(slot); i++)
		;
	emit_piece(scratch, total - walk->begin);
	return 0;
}

#endif
