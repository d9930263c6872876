/* Follows the frames of HTTP/2 (RFC 9113 section 4.1) in one direction of a connection, to tell what of it need not be
 * copied: the content of large DATA frames. Frame headers, header blocks and all else that is small are copied, and so
 * is what gRPC puts in front of each message within the content.
 *
 * Where a frame begins is known from the first byte on, or from where the agent has found one to begin: until then, and
 * where frames cannot be followed any more, all is copied as far as calls are copied whole, and the agent is asked. What is
 * left out is told by its length, so whoever reads it needs nothing of this.
 */
#ifndef STARDUST_PROBE_FRAMES_H
#define STARDUST_PROBE_FRAMES_H

#include "frame_places.h"

/* How many of the next bytes are copied whatever they are; 0: they have to be looked at. */
static __always_inline u64 copied_blindly(const struct frames *frames)
{
	if (!frames || frames->stage == FRAMES_LOST)
		return ~0ULL;
	if (frames->stage == IN_FRAME || (frames->stage == IN_DATA && frames->messages.stage == MESSAGES_CROWDED))
		return frames->left;
	return 0;
}

static __always_inline void end_data(struct frames *frames)
{
	if (frames->flags & FRAME_END_STREAM)
		__builtin_memset(&frames->messages, 0, sizeof(frames->messages));
	end_frame(frames);
}

/* So many bytes have passed that lie in the present payload. */
static __always_inline void pass_payload(struct frames *frames, u32 bytes)
{
	if (frames->stage == FRAMES_LOST)
		return;
	frames->left -= bytes;
	frames->left_out = 0;
	if (frames->stage == IN_DATA && frames->messages.stage == MESSAGES_FOLLOWED && frames->messages.left)
		frames->messages.left -= bytes;
	if (frames->left)
		return;
	if (frames->stage == IN_FRAME)
		end_frame(frames);
	else
		end_data(frames);
}

/* Content comes of this stream. A function of its own: it needs much of the stack. */
__noinline int turn_to_stream(struct frames *frames, u32 stream)
{
	const struct messages *parked;
	struct messages none = {}, before;
	struct stream_key key;

	if (!frames || frames->stream == stream)
		return 0;
	key = frames->key;
	key.stream = frames->stream;
	before = frames->messages;
	frames->messages = none;
	if (before.left || before.have || before.stage == MESSAGES_CROWDED) {
		bpf_map_update_elem(&parked_messages, &key, &before, BPF_ANY);
		frames->parked++;
	}
	frames->stream = stream;
	key.stream = stream;
	if (!frames->parked)
		return 0;
	parked = bpf_map_lookup_elem(&parked_messages, &key);
	if (!parked)
		return 0;
	frames->messages = *parked;
	bpf_map_delete_elem(&parked_messages, &key);
	frames->parked--;
	return 0;
}

/* A frame header has been read. */
static __always_inline void begin_frame(struct frames *frames)
{
	const u8 *header = frames->header;
	const u32 length = (u32)header[0] << 16 | (u32)header[1] << 8 | header[2];
	const u32 stream = (u32)(header[5] & 0x7f) << 24 | (u32)header[6] << 16 | (u32)header[7] << 8 | header[8];
	const u8 kind = header[3];
	const struct frame_rule rule = frame_rules[kind & 15];

	frames->have = 0;
	if ((!frames->opened && kind != FRAME_SETTINGS) ||
	    (kind < FRAME_KINDS && ((rule.has_stream && !stream) || (rule.has_none && stream) ||
				     (rule.exactly && length != rule.exactly)))) {
		frames->stage = FRAMES_LOST;
		return;
	}
	frames->opened = 1;
	frames->left = length;
	frames->flags = header[4];
	if (kind != FRAME_DATA) {
		frames->stage = length ? IN_FRAME : AT_FRAME_HEADER;
		return;
	}
	turn_to_stream(frames, stream);
	frames->begun = 0;
	frames->empty = 0;
	if (!length)
		end_data(frames);
	else
		frames->stage = frames->flags & FRAME_PADDED ? AT_PADDING : IN_DATA;
}

/* What stands in front of a message has been read. */
static __always_inline void begin_message(struct frames *frames)
{
	struct messages *messages = &frames->messages;
	const u8 *prefix = messages->prefix;

	messages->have = 0;
	if (prefix[0] > PREFIX_FLAG_MAX) {
		messages->stage = MESSAGES_NONE;
		return;
	}
	messages->left = (u32)prefix[1] << 24 | (u32)prefix[2] << 16 | (u32)prefix[3] << 8 | prefix[4];
	frames->empty = messages->left ? 0 : frames->empty + 1;
	frames->begun++;
	if (frames->empty >= EMPTY_MESSAGES_MAX)
		messages->stage = MESSAGES_NONE;
	else if (frames->begun > FRAME_MESSAGES_MAX)
		messages->stage = MESSAGES_CROWDED;
}

/* Takes the next bytes of a window that has so many; false: there is nothing more to take, or something to leave out. A
 * function of its own, with all it knows in a map: so the verifier does not follow it from step to step.
 */
__noinline bool follow_step(struct frames *frames, const struct window *window, u32 length)
{
	struct messages *messages;
	u32 at, have, run;

	if (!frames || !window)
		return false;
	messages = &frames->messages;
	at = frames->at;
	if (at >= length || at >= WINDOW_BYTES || frames->left_out)
		return false;
	switch (frames->stage) {
	case FRAMES_BEGIN:
		frames->left = HTTP2_PREFACE_BYTES;
		frames->stage = window->bytes[0] == 'P' ? IN_FRAME : AT_FRAME_HEADER;
		return true;
	case AT_FRAME_HEADER:
		have = frames->have;
		for (u32 i = 0; i < FRAME_HEADER_BYTES; i++) {
			if (have >= FRAME_HEADER_BYTES || at >= length)
				break;
			frames->header[have++ % HEADER_ROOM] = window->bytes[at++ % WINDOW_BYTES];
		}
		frames->at = at;
		frames->have = have;
		if (have == FRAME_HEADER_BYTES)
			begin_frame(frames);
		return true;
	case AT_PADDING:
		/* Its length. Where the content ends in the frame is not followed. */
		frames->at = at + 1;
		messages->stage = MESSAGES_NONE;
		frames->stage = IN_DATA;
		pass_payload(frames, 1);
		return true;
	case IN_DATA:
		if (messages->stage != MESSAGES_FOLLOWED || messages->left)
			break;
		have = messages->have;
		for (u32 i = 0; i < PREFIX_BYTES; i++) {
			if (have >= PREFIX_BYTES || at >= length || at - frames->at >= frames->left)
				break;
			messages->prefix[have++ % sizeof(messages->prefix)] = window->bytes[at++ % WINDOW_BYTES];
		}
		run = at - frames->at;
		frames->at = at;
		messages->have = have;
		pass_payload(frames, run);
		if (have == PREFIX_BYTES && (frames->stage == IN_DATA || !(frames->flags & FRAME_END_STREAM)))
			begin_message(frames);
		return true;
	case IN_FRAME:
		break;
	default:
		/* Lost: the rest is copied. */
		frames->at = length;
		return false;
	}
	run = frames->left;
	if (frames->stage == IN_DATA && messages->stage == MESSAGES_FOLLOWED && messages->left < run)
		run = messages->left;
	if (frames->stage == IN_DATA && messages->stage != MESSAGES_CROWDED && run >= LEFT_OUT_MIN &&
	    !frames->copies_all) {
		frames->left_out = run;
		return false;
	}
	if (run > length - at)
		run = length - at;
	frames->at = at + run;
	pass_payload(frames, run);
	return true;
}

/* Looks through a window; gives how many bytes of it are to be copied. What follows them can be left out, if it is so
 * many: `left_out`.
 */
__noinline u64 follow(struct frames *frames, const struct window *window, u32 length)
{
	if (!frames || !window)
		return length;
	frames->at = 0;
	for (u32 i = 0; i < WINDOW_STEPS && follow_step(frames, window, length); i++)
		;
	if (frames->at < length && !frames->left_out)
		frames->stage = FRAMES_LOST;
	return frames->left_out ? frames->at : length;
}

#endif
