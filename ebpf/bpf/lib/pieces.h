/* Copies a call whole, in as many records as it takes: for protocols whose messages begin anywhere in a call. What need
 * not be copied of it is left out (frames.h): a record tells of the bytes that it holds and of those that were left out
 * behind them. The last one tells of all that is left.
 */
#ifndef STARDUST_PROBE_PIECES_H
#define STARDUST_PROBE_PIECES_H

#include "frames.h"
#include "payload.h"
#include "ring.h"

enum {
	/* Segments, records, and frames of one call together. */
	PIECE_STEPS_MAX = 128,
	PIECE_ROUNDS_MAX = 64,
	/* So many bytes show whether frames follow. */
	FIRST_BYTES = 16,
};

/* Whether the first bytes of a connection, the first of a call's segments, begin HTTP/2. A function of its own: its part of
 * the stack is free again.
 */
__noinline int begins_http2(u64 start, u64 bytes, bool is_start)
{
	u64 words[2] = {};

	if (bytes < FRAME_HEADER_BYTES)
		return false;
	if (bpf_probe_read_user(words, bytes < FIRST_BYTES ? FRAME_HEADER_BYTES : FIRST_BYTES, (void *)start))
		return false;
	return begins_frames(words, bytes, is_start);
}

/* A record that has just been sent asks where a frame begins. */
static __always_inline void ask_at_once(u8 *whole)
{
	if (*whole != WHOLE_AND_ASKS)
		return;
	*whole = WHOLE;
	at_hand.ring_reader.hurries = 1;
	wake_reader();
}

/* Sends the record in the making, which tells of `result` bytes. */
static __always_inline void emit_piece(struct scratch *scratch, u64 result)
{
	struct socket_call *call = &scratch->call;
	struct walk *walk = &scratch->walk;
	const u64 held = walk->held;

	/* Never true; the verifier cannot know. */
	if (held > HEAD_BYTES_MAX)
		return;
	call->position = walk->position + walk->begin;
	call->result = result;
	call->head_bytes = held;
	call->header.size = sizeof(*call) + held;
	emit(&call->header, sizeof(*call) + held);
	walk->begin += result;
	walk->held = 0;
}

/* Leaves out what need not be copied, or copies what of one segment fits into one record, as far as it is to be copied;
 * false: that was all. `frames`: NULL, or what is followed in the call. A function of its own, so that the verifier looks
 * at it once.
 */
__noinline bool copy_step(u32 slot, struct frames *frames)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct user_iovec segment;
	struct walk *walk;
	u64 held, from, length, blindly;

	if (!scratch)
		return false;
	walk = &scratch->walk;
	length = walk->total - walk->done;
	if (!length || walk->segment >= walk->buffer.count || walk->copied >= config.whole_bytes)
		return false;
	if (frames && frames->left_out) {
		if (length > frames->left_out)
			length = frames->left_out;
		pass_payload(frames, length);
		walk->done += length;
		return true;
	}
	if (walk->done - walk->begin != walk->held || walk->held >= HEAD_BYTES_MAX)
		emit_piece(scratch, walk->done - walk->begin);
	held = walk->held;
	segment = walk->buffer.first;
	if (walk->buffer.segments &&
	    bpf_probe_read_user(&segment, sizeof(segment),
				(void *)walk->buffer.segments + walk->segment * sizeof(segment))) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return false;
	}
	from = walk->done - walk->segment_begin;
	if (from >= segment.length) {
		walk->segment_begin += segment.length;
		walk->segment++;
		return true;
	}
	blindly = copied_blindly(frames);
	if (length > segment.length - from)
		length = segment.length - from;
	if (length > (blindly ? blindly : WINDOW_BYTES))
		length = blindly ? blindly : WINDOW_BYTES;
	if (length > config.whole_bytes - walk->copied)
		length = config.whole_bytes - walk->copied;
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
	if (!blindly)
		length = follow(frames, (const struct window *)&scratch->payload[held], length);
	else if (frames)
		pass_payload(frames, length);
	walk->done += length;
	walk->copied += length;
	walk->held += length;
	return true;
}

__noinline bool copy_steps(u32 slot, struct frames *frames)
{
	for (u32 i = 0; i < PIECE_STEPS_MAX; i++) {
		if (!copy_step(slot, frames))
			return false;
	}
	return true;
}

/* Copies a call's `total` bytes, found by `walk.buffer`; the record's other fields are filled in already. False: frames
 * were not followed in it.
 */
__noinline int copy_whole(u32 slot, u64 total, u32 *between)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct frames *frames;
	struct walk *walk;

	if (!scratch || !between)
		return true;
	walk = &scratch->walk;
	walk->total = total;
	walk->done = 0;
	walk->copied = 0;
	walk->begin = 0;
	walk->held = 0;
	walk->position = scratch->call.position;
	walk->segment_begin = 0;
	walk->segment = 0;
	frames = take_frames(scratch->call.connection, scratch->call.direction, walk->position, total, false,
			     between);
	if (!frames)
		scratch->call.header.flags |= FLAG_ASKS_FRAME;
	for (u32 i = 0; i < PIECE_ROUNDS_MAX && copy_steps(slot, frames); i++)
		;
	if (frames)
		leave_frames(frames, walk->position + total, walk->done == total, between);
	emit_piece(scratch, total - walk->begin);
	return !!frames;
}

#endif
