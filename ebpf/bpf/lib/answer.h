/* Whether an answer begins in what a server sends, and what it says of itself: the status line of HTTP/1, or of HTTP/2 the
 * first field of a header block, as far as that can be told without what was sent before on the connection.
 */
#ifndef STARDUST_PROBE_ANSWER_H
#define STARDUST_PROBE_ANSWER_H

#include "kernel.h"

enum {
	ANSWER_BYTES = 12, /* `HTTP/1.1 500`; of HTTP/2 a frame's header and what its first field takes */
	HTTP_IN_MEMORY = 0x50545448, /* `HTTP`, on the little-endian machines that the programs are for */
	/* RFC 9113 sections 4.1 and 6. */
	FRAME_HEADER_BYTES = 9,
	FRAME_DATA = 0,
	FRAME_HEADERS = 1,
	FRAME_PADDED = 0x8,
	FRAME_PRIORITY = 0x20,
	PRIORITY_BYTES = 5,
	/* A server sends few others in one call with the beginning of an answer. */
	FRAMES_MAX = 8,
};

/* The first digit of a status, as far as it is known without what was sent before on the connection. */
enum status_class {
	CLASS_NONE = 0,
	CLASS_UNKNOWN = '?',
	CLASS_INTERIM = '1',
	CLASS_FINE = '2',
	CLASS_FAILURE = '5',
	CLASS_FURTHER_ON = '>', /* it is not in the bytes at hand */
};

/* Whether there may be something to say about an answer. */
static __always_inline bool may_be_failure(u32 class)
{
	return class == CLASS_FAILURE || class == CLASS_UNKNOWN;
}

/* What the first field of a block of an HTTP/2 answer says (RFC 7541 section 6, appendices A and B): servers begin with
 * the status (RFC 9113 section 8.3).
 */
static __always_inline u32 class_of_block(u8 first, u8 second, u8 third)
{
	const u8 name = first & 0x40 ? first & 0x3f : first & 0x0f;

	/* An entry of the table: those from 62 on are what was sent before. */
	if (first & 0x80)
		return first == 0x8e ? CLASS_FAILURE : (first & 0x7f) > 61 ? CLASS_UNKNOWN : CLASS_FINE;
	/* The table's size. */
	if ((first & 0xe0) == 0x20)
		return CLASS_UNKNOWN;
	/* Not the name `:status`: no answer begins here. */
	if (name < 8 || name > 14)
		return CLASS_NONE;
	if (!(second & 0x80))
		return third;
	return third >> 2 == 0x1b ? CLASS_FAILURE : third >> 3 == 1 ? CLASS_INTERIM : CLASS_FINE;
}

/* What the header of a frame of HTTP/2 and the bytes behind it say. */
static __always_inline u32 class_of_frame(const u8 *head)
{
	if (head[3] != FRAME_HEADERS || head[4] & (FRAME_PADDED | FRAME_PRIORITY))
		return CLASS_FURTHER_ON;
	return class_of_block(head[9], head[10], head[11]);
}

/* Whether what was copied of a send may be the start of an answer that says of a failure: then what is known of the
 * failure goes first. `frames`: it is HTTP/2.
 */
static __always_inline bool is_failure(const u8 *head, u32 bytes, bool frames)
{
	u32 class;

	if (bytes < ANSWER_BYTES)
		return false;
	if (*(const u32 *)head == HTTP_IN_MEMORY)
		return head[9] == CLASS_FAILURE;
	if (!frames || head[3] == FRAME_DATA)
		return false;
	/* What comes before a block is looked at more closely then. */
	class = class_of_frame(head);
	return class == CLASS_FURTHER_ON || may_be_failure(class);
}

/* An answer in what is sent: its stream, and its class above it. */
static __always_inline u64 beginning(u32 class, u32 stream)
{
	return (u64)class << 32 | stream;
}

/* Looks for a block among the frames that begin in a send of HTTP/2. */
__noinline u64 find_block(u64 start, u64 bytes)
{
	u8 head[ANSWER_BYTES] = {};
	u64 at = 0;

	for (u32 i = 0; i < FRAMES_MAX; i++) {
		u64 block = at + FRAME_HEADER_BYTES;
		u32 stream, class;

		if (at + ANSWER_BYTES > bytes || bpf_probe_read_user(head, sizeof(head), (void *)(start + at)))
			return CLASS_NONE;
		at = block + ((u32)head[0] << 16 | (u32)head[1] << 8 | head[2]);
		if (head[3] != FRAME_HEADERS)
			continue;
		stream = (u32)(head[5] & 0x7f) << 24 | (u32)head[6] << 16 | (u32)head[7] << 8 | head[8];
		class = class_of_frame(head);
		if (class != CLASS_FURTHER_ON)
			return beginning(class, stream);
		block += head[4] & FRAME_PADDED ? 1 : 0;
		block += head[4] & FRAME_PRIORITY ? PRIORITY_BYTES : 0;
		if (bpf_probe_read_user(&head[FRAME_HEADER_BYTES], 3, (void *)(start + block)))
			return CLASS_NONE;
		return beginning(class_of_block(head[9], head[10], head[11]), stream);
	}
	return CLASS_NONE;
}

#endif
