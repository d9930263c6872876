/* Where a frame of HTTP/2 begins, as far as that is known without a place of its own (frame_places.h): where the last call
 * ended, or where the agent has found one to begin on a connection that was not followed so far.
 */
#ifndef STARDUST_PROBE_TOLD_FRAMES_H
#define STARDUST_PROBE_TOLD_FRAMES_H

#include "../abi.h"

enum {
	TOLD_FRAMES_MAX = 4096,
	/* A frame, with its header, has not more (RFC 9113 section 4.1): so far ahead a frame can be known to begin. */
	FRAME_BYTES_MAX = (1 << 24) + 8,
};

struct stream_key {
	u64 id; /* the connection's, or with TLS_OBJECT that of an object of a TLS library */
	u32 direction;
	u32 stream; /* 0: all of them */
};

/* How a connection's calls are copied. */
enum wholeness {
	NOT_WHOLE = 0,
	WHOLE = 1,
	WHOLE_AND_ASKS = 2, /* what the agent told came too late: it is asked at once */
};

/* By connection and direction: what the agent has told, to be heard with the next call. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, TOLD_FRAMES_MAX);
	__type(key, struct stream_key);
	__type(value, u64);
} told_frames SEC(".maps");

/* Where a direction stands between two frames and no stream in the middle of a message, nothing else need be known of it:
 * the position, cut short, and one more, as 0 is none. It may be a position to come.
 */
static __always_inline u32 between_frames(u64 position)
{
	return (u32)position + 1;
}

/* Takes over what the agent has told of a direction of which so many bytes have passed. What lies behind them already is
 * of no use: it is asked again.
 */
static __always_inline void hear_frame(u64 id, u32 direction, u64 passed, u32 *between, u8 *whole)
{
	const struct stream_key key = { .id = id, .direction = direction };
	const u64 *told = bpf_map_lookup_elem(&told_frames, &key);

	if (!told)
		return;
	if (*told < passed)
		*whole = WHOLE_AND_ASKS;
	else if (*told - passed <= FRAME_BYTES_MAX && *between != between_frames(passed))
		*between = between_frames(*told);
	bpf_map_delete_elem(&told_frames, &key);
}

#endif
