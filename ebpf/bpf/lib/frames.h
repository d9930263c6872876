/* Follows the frames of HTTP/2 (RFC 9113 section 4.1) in one direction of a connection, to tell what of it need not be
 * copied: the content of large DATA frames. Frame headers, header blocks and all else that is small are copied, and so
 * is what gRPC puts in front of each message within the content.
 *
 * Where a frame begins is known from the first byte on, or not at all: what cannot be followed any more is copied as far
 * as calls are copied whole. What is left out is told by its length, so whoever reads it needs nothing of this.
 */
#ifndef STARDUST_PROBE_FRAMES_H
#define STARDUST_PROBE_FRAMES_H

#include "answer.h"
#include "filter.h"

enum {
	FOLLOWED_MAX = 8192,
	WINDOW_BYTES = 128,
	/* Each takes five bytes of a window, but for those that a window cuts. */
	WINDOW_STEPS = 48,
	HEADER_ROOM = 16,
	HTTP2_PREFACE_BYTES = 24,
	/* Less is not worth a record of its own. */
	LEFT_OUT_MIN = 512,
	FRAME_SETTINGS = 4,
	FRAME_KINDS = 10,
	SETTING_BYTES = 6,
	FRAME_END_STREAM = 0x1,
	/* gRPC over HTTP/2, "Length-Prefixed-Message": a flag, and the message's length. */
	PREFIX_BYTES = 5,
	PREFIX_FLAG_MAX = 1,
	/* In one frame: more messages are copied with it. */
	FRAME_MESSAGES_MAX = 16,
	/* In a row and in one frame they are rather a content of zeros. */
	EMPTY_MESSAGES_MAX = 3,
};

/* Lengths that a frame must have (RFC 9113 section 6). */
struct frame_rule {
	u8 has_stream; /* it belongs to one; else to the connection */
	u8 has_none;
	u8 exactly; /* 0: any */
};

const struct frame_rule frame_rules[16] = {
	{ .has_stream = 1 },		     /* DATA */
	{ .has_stream = 1 },		     /* HEADERS */
	{ .has_stream = 1, .exactly = 5 }, /* PRIORITY */
	{ .has_stream = 1, .exactly = 4 }, /* RST_STREAM */
	{ .has_none = 1 },		     /* SETTINGS */
	{ .has_stream = 1 },		     /* PUSH_PROMISE */
	{ .has_none = 1, .exactly = 8 },   /* PING */
	{ .has_none = 1 },		     /* GOAWAY */
	{ .exactly = 4 },		     /* WINDOW_UPDATE */
	{ .has_stream = 1 },		     /* CONTINUATION */
};

/* Bytes of a direction that were copied, to be looked through. */
struct window {
	u8 bytes[WINDOW_BYTES];
};

enum messages_stage {
	MESSAGES_FOLLOWED = 0,
	MESSAGES_NONE = 1,    /* the content is none of gRPC */
	MESSAGES_CROWDED = 2, /* too many to follow each: all is copied */
};

/* Where gRPC's messages stand in what a stream's content has shown so far. Nothing is kept of one that stands between two.
 */
struct messages {
	u32 left; /* of the present one */
	u8 stage; /* enum messages_stage */
	u8 have;  /* of the present prefix */
	u8 prefix[HEADER_ROOM / 2];
	u8 reserved[2];
};

struct stream_key {
	u64 id; /* the connection's, or with TLS_OBJECT that of an object of a TLS library */
	u32 direction;
	u32 stream; /* 0: all of them */
};

enum frames_stage {
	FRAMES_BEGIN = 0,
	AT_FRAME_HEADER = 1,
	IN_FRAME = 2, /* of another kind than DATA, or in the preface */
	AT_PADDING = 3,
	IN_DATA = 4,
	FRAMES_LOST = 5,
};

struct frames {
	u64 position; /* of the next byte */
	u32 busy;     /* somebody is at it */
	u32 at;	      /* in the window */
	u32 left_out; /* bytes from there on that need not be copied; 0: not known to be any */
	u32 left;     /* of the frame's payload */
	u32 stream;   /* of the last DATA frame */
	u32 parked;   /* other streams in the middle of a message */
	struct stream_key key;
	u8 stage; /* enum frames_stage */
	u8 have;  /* of the present frame header */
	u8 flags; /* of the present DATA frame */
	u8 opened; /* the first frame has begun */
	u8 begun;  /* messages in the present frame */
	u8 empty;  /* of them, the last ones in a row without content */
	u8 copies_all; /* nothing is left out of this call */
	u8 reserved;
	u8 header[HEADER_ROOM];
	struct messages messages; /* of that stream */
	struct window window;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FOLLOWED_MAX);
	__type(key, struct stream_key);
	__type(value, struct frames);
} followed_frames SEC(".maps");

/* Of streams that have given way to another in the middle of a message. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FOLLOWED_MAX);
	__type(key, struct stream_key);
	__type(value, struct messages);
} parked_messages SEC(".maps");

const struct frames new_frames = {};

/* RFC 9113 section 3.4: what each side sends first. A client "PRI * HTTP/2.0\r\n" on a little-endian machine, a server
 * settings, which only mean something where a connection begins. `words` holds the first of so many bytes.
 */
static __always_inline bool begins_frames(const u64 words[2], u64 bytes, bool is_start)
{
	if (bytes >= sizeof(u64[2]) && words[0] == 0x5448202a20495250 && words[1] == 0x0a0d302e322f5054)
		return true;
	return is_start && bytes >= FRAME_HEADER_BYTES && (words[0] & ~0xff0000ULL) == FRAME_SETTINGS << 24 &&
	       !(words[1] & 0xff) && (words[0] >> 16 & 0xff) % SETTING_BYTES == 0;
}

/* NULL: it cannot be followed. */
static __always_inline struct frames *take_frames(u64 id, u32 direction, u64 position, bool copies_all)
{
	const struct stream_key key = { .id = id, .direction = direction };
	struct frames *frames = bpf_map_lookup_elem(&followed_frames, &key);

	if (!frames && position == 0) {
		bpf_map_update_elem(&followed_frames, &key, &new_frames, BPF_NOEXIST);
		frames = bpf_map_lookup_elem(&followed_frames, &key);
		if (frames)
			frames->key = key;
	}
	if (!frames)
		return 0;
	/* Two calls at once: which comes first is not known. */
	if (__sync_val_compare_and_swap(&frames->busy, 0, 1) != 0) {
		frames->stage = FRAMES_LOST;
		return 0;
	}
	if (frames->position != position)
		frames->stage = FRAMES_LOST;
	frames->left_out = 0;
	frames->copies_all = copies_all;
	return frames;
}

/* `is_whole`: the call was followed to its end. */
static __always_inline void leave_frames(struct frames *frames, u64 position, bool is_whole)
{
	if (!is_whole)
		frames->stage = FRAMES_LOST;
	frames->position = position;
	frames->busy = 0;
}

/* How many of the next bytes are copied whatever they are; 0: they have to be looked at. */
static __always_inline u64 copied_blindly(const struct frames *frames)
{
	if (!frames || frames->stage == FRAMES_LOST)
		return ~0ULL;
	if (frames->stage == IN_FRAME || (frames->stage == IN_DATA && frames->messages.stage == MESSAGES_CROWDED))
		return frames->left;
	return 0;
}

static __always_inline void end_frame(struct frames *frames)
{
	frames->stage = AT_FRAME_HEADER;
	frames->have = 0;
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
