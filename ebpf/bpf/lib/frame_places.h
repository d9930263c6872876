/* Where a direction of HTTP/2 stands in its frames, and where streams of gRPC stand in their messages: what is kept from call
 * to call, and how it is found.
 *
 * Most calls end where a frame does: of those nothing is kept but the position, with the connection.
 */
#ifndef STARDUST_PROBE_FRAME_PLACES_H
#define STARDUST_PROBE_FRAME_PLACES_H

#include "answer.h"
#include "payload.h"
#include "told_frames.h"

enum {
	FOLLOWED_MAX = 8192,
	WINDOW_BYTES = 128,
	/* Each takes five bytes of a window, but for those that a window cuts. */
	WINDOW_STEPS = 48,
	HEADER_ROOM = 16,
	HTTP2_PREFACE_BYTES = 24,
	/* That begin in a small call, for them to be looked at in short. */
	SMALL_FRAMES = 8,
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
	u32 at;	      /* in the window */
	u32 left_out; /* bytes from there on that need not be copied; 0: not known to be any */
	u32 left;     /* of the frame's payload */
	u32 stream;   /* of the last DATA frame */
	u32 parked;   /* other streams in the middle of a message */
	u32 taken;    /* a call is at it */
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

static __always_inline void end_frame(struct frames *frames)
{
	frames->stage = AT_FRAME_HEADER;
	frames->have = 0;
}

/* Whether all frames that begin in what was copied of a call end there, and so do the messages in them, if they are
 * gRPC's. `payload` has room for a frame header more.
 */
static __always_inline bool are_whole_frames(const u8 *payload, u64 bytes)
{
	u64 at = 0;

	bytes = bounded(bytes, SMALL_PAYLOAD_BYTES);
	for (u32 i = 0; i < SMALL_FRAMES; i++) {
		const u8 *frame, *content;
		u32 length;

		at = bounded(at, SMALL_PAYLOAD_BYTES);
		frame = payload + at;
		content = frame + FRAME_HEADER_BYTES;
		length = (u32)frame[0] << 16 | (u32)frame[1] << 8 | frame[2];
		at += FRAME_HEADER_BYTES + length;
		if (at > bytes)
			return false;
		if (frame[3] == FRAME_DATA && length &&
		    (frame[4] & FRAME_PADDED ||
		     (content[0] <= PREFIX_FLAG_MAX &&
		      (length < PREFIX_BYTES || content[1] || content[2] ||
		       ((u32)content[3] << 8 | content[4]) != length - PREFIX_BYTES))))
			return false;
		if (at == bytes)
			return true;
	}
	return false;
}

/* Nothing is known of a direction but that a frame begins so many bytes ahead. What comes before it is copied. */
static __always_inline void begin_frames(struct frames *frames, u32 ahead)
{
	__builtin_memset(&frames->messages, 0, sizeof(frames->messages));
	frames->parked = 0;
	frames->opened = 1;
	frames->flags = 0;
	end_frame(frames);
	if (ahead) {
		frames->left = ahead;
		frames->stage = IN_FRAME;
	}
}

/* NULL: it cannot be followed. `between`: see between_frames. One call at a time is at it: of two at once only one can
 * begin where it stands.
 */
static __always_inline struct frames *take_frames(u64 id, u32 direction, u64 position, u64 bytes, bool copies_all,
						  u32 *between)
{
	const u32 ahead = *between - between_frames(position);
	const bool is_told = *between && ahead < bytes && ahead <= FRAME_BYTES_MAX;
	const struct stream_key key = { .id = id, .direction = direction };
	struct frames *frames = bpf_map_lookup_elem(&followed_frames, &key);

	if (!frames && (position == 0 || is_told)) {
		bpf_map_update_elem(&followed_frames, &key, &new_frames, BPF_NOEXIST);
		frames = bpf_map_lookup_elem(&followed_frames, &key);
		if (frames)
			frames->key = key;
	}
	/* What is told may lie behind this call. */
	if (is_told || ahead > FRAME_BYTES_MAX)
		*between = 0;
	if (!frames || __sync_val_compare_and_swap(&frames->taken, 0, 1))
		return 0;
	if (frames->position != position || frames->stage == FRAMES_LOST) {
		if (!is_told) {
			frames->taken = 0;
			return 0;
		}
		begin_frames(frames, ahead);
	}
	frames->left_out = 0;
	frames->copies_all = copies_all;
	return frames;
}

/* `is_whole`: the call was followed to its end. */
static __always_inline void leave_frames(struct frames *frames, u64 position, bool is_whole, u32 *between)
{
	const struct messages *messages = &frames->messages;

	if (!is_whole)
		frames->stage = FRAMES_LOST;
	frames->position = position;
	if (frames->stage == AT_FRAME_HEADER && !frames->have && !frames->parked && !messages->left && !messages->have &&
	    messages->stage != MESSAGES_CROWDED)
		*between = between_frames(position);
	frames->taken = 0;
}

#endif
