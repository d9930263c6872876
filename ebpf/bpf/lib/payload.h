/* Copies what a socket call moved: the first bytes and the last few. Counts what it could not read. */
#ifndef STARDUST_PROBE_PAYLOAD_H
#define STARDUST_PROBE_PAYLOAD_H

#include "filter.h"
#include "registers.h"

/* include/uapi/linux/uio.h */
struct user_iovec {
	u64 base;
	u64 length;
};

/* Where the process keeps the bytes. */
struct buffer {
	struct user_iovec first;
	struct user_iovec second; /* of several segments */
	u64 segments;             /* user address of the iovec array; 0: there is the first only */
	u64 count;
};

/* Where in a call that is copied whole the copying stands. Kept in a map: what the verifier knows nothing of, it does
 * not follow from step to step.
 */
struct walk {
	struct buffer buffer;
	u64 total;    /* bytes of the call */
	u64 done;     /* of them copied or left out */
	u64 copied;
	u64 begin;    /* where the record in the making begins in the call */
	u64 held;     /* bytes that it holds */
	u64 position; /* of the call */
	u64 segment_begin;
	u64 segment;
};

/* When the bytes came that a call has read. */
struct arrival {
	u64 first_us; /* of a connection's first; 0: others, or not known */
	u32 ticks; /* since the last bytes came */
	bool is_known;
};

/* What a call's record says, beside what the connection knows. */
struct call_facts {
	u64 id;     /* tgid and tid */
	u64 thread; /* see thread_pointer */
	u64 ran_less_clock;
	u64 at_ns; /* 0: now */
	u64 position;
	s64 result;
	s32 fd;
	u32 kind;
	u32 direction;
	struct arrival arrival;
	bool has_buffer;
	bool deferred;
	bool kernel_tls; /* see FLAG_KERNEL_TLS */
	bool answers; /* an answer in it counts, whatever it says */
	bool fails;   /* it is a failure's answer */
};

/* A record under construction. One per program: another program may run on this CPU before this one is through. */
struct scratch {
	struct call_facts facts; /* with `walk.buffer`: what is not written at once */
	struct socket_call call;
	/* Twice the head: the verifier adds the largest offset to the largest length. */
	u8 payload[2 * HEAD_BYTES_MAX + TAIL_BYTES_MAX + PATH_BYTES_MAX];
	struct walk walk;
};

enum {
	SMALL_PAYLOAD_BYTES = 352,
	/* What is copied of a call unless set otherwise. */
	MEDIUM_PAYLOAD_BYTES = 2048,
	PAIR = 2,
};

enum program_slot {
	SLOT_RECEIVE = 0,
	SLOT_SEND = 1,
	SLOT_SEND_UNIX = 2,
	SLOT_SEND_INET6 = 3,
	SLOT_SENDFILE = 4,
	SLOT_SPLICE = 5,
	SLOTS = 6,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* include/linux/socket.h */
struct user_message {
	u64 name;
	u64 name_length;
	u64 segments;
	u64 segment_count;
};

/* Where a call keeps its bytes. */
enum call_shape {
	SHAPE_UNREAD = 0,
	SHAPE_BYTES = 1,    /* an address and a length */
	SHAPE_SEGMENTS = 2, /* an array of them */
	SHAPE_MESSAGE = 3,
	SHAPE_MESSAGES = 4,
};

struct call_form {
	u8 call;  /* enum call */
	u8 shape; /* enum call_shape */
};

enum {
	CALL_NUMBERS = 448,
};

/* A table, as one load costs less than the comparisons of two switches. */
const struct call_form call_forms[CALL_NUMBERS] = {
	[NR_READ] = { CALL_READ, SHAPE_BYTES },
	[NR_READV] = { CALL_READ, SHAPE_SEGMENTS },
	[NR_PREADV2] = { CALL_READ, SHAPE_SEGMENTS },
	[NR_WRITE] = { CALL_WRITE, SHAPE_BYTES },
	[NR_WRITEV] = { CALL_WRITE, SHAPE_SEGMENTS },
	[NR_PWRITEV2] = { CALL_WRITE, SHAPE_SEGMENTS },
	[NR_RECVFROM] = { CALL_RECVFROM, SHAPE_BYTES },
	[NR_RECVMSG] = { CALL_RECVMSG, SHAPE_MESSAGE },
	[NR_RECVMMSG] = { CALL_RECVMMSG, SHAPE_MESSAGES },
	[NR_SENDTO] = { CALL_SENDTO, SHAPE_BYTES },
	[NR_SENDMSG] = { CALL_SENDMSG, SHAPE_MESSAGE },
	[NR_SENDMMSG] = { CALL_SENDMMSG, SHAPE_MESSAGES },
	[NR_SENDFILE] = { CALL_SENDFILE, SHAPE_UNREAD },
	[NR_SPLICE] = { CALL_SPLICE, SHAPE_UNREAD },
	[NR_IO_URING_ENTER] = { CALL_IO_URING, SHAPE_UNREAD },
};

static __always_inline struct call_form form_of(u64 number)
{
	const struct call_form other = { CALL_OTHER, SHAPE_UNREAD };

	if (number >= CALL_NUMBERS)
		return other;
	/* Nothing of the table is to be reached for before. */
	barrier_var(number);
	return call_forms[number];
}

/* An array of one segment is as good as none; one of two, a head and a body, is frequent. */
static __always_inline bool find_segments(struct buffer *buffer)
{
	struct user_iovec found[PAIR] = {};

	if (buffer->count == 0)
		return true;
	if (bpf_probe_read_user(found, buffer->count == 1 ? sizeof(found[0]) : sizeof(found),
				(void *)buffer->segments)) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return false;
	}
	buffer->first = found[0];
	buffer->second = found[1];
	if (buffer->count == 1)
		buffer->segments = 0;
	return true;
}

/* False: the call has no user buffer that could be read (the bytes are then counted only). */
static __always_inline bool find_buffer(const struct arguments *arguments, u8 shape, struct buffer *buffer)
{
	struct user_message message;

	buffer->segments = 0;
	buffer->count = 1;
	if (likely(shape == SHAPE_BYTES)) {
		buffer->first.base = arguments->second;
		buffer->first.length = arguments->third;
		return true;
	}
	/* Which message of several this is cannot be told. */
	if (shape == SHAPE_UNREAD || (shape == SHAPE_MESSAGES && arguments->third != 1))
		return false;
	if (shape == SHAPE_SEGMENTS) {
		buffer->segments = arguments->second;
		buffer->count = arguments->third;
		return find_segments(buffer);
	}
	if (bpf_probe_read_user(&message, sizeof(message), (void *)arguments->second)) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return false;
	}
	buffer->segments = message.segments;
	buffer->count = message.segment_count;
	return find_segments(buffer);
}

/* Copies the part of one segment that lies in [from, to) of the call's bytes to `offset` of the payload. */
static __always_inline bool copy_part(struct scratch *scratch, const struct user_iovec *segment, u64 begin, u64 from,
				      u64 to, u64 offset)
{
	const u64 end = begin + segment->length;
	u64 length;

	if (from < begin) {
		offset += begin - from;
		from = begin;
	}
	if (to > end)
		to = end;
	if (from >= to)
		return true;
	length = to - from;
	/* Never true; the verifier cannot know. */
	if (length > HEAD_BYTES_MAX || offset > HEAD_BYTES_MAX + TAIL_BYTES_MAX)
		return false;
	return bpf_probe_read_user(&scratch->payload[offset], length, (void *)segment->base + (from - begin)) == 0;
}

/* What of the call's start and of its end is copied lies before the first, and from the second on. */
struct ends_copied {
	u64 head_end;
	u64 tail_begin;
};

static __always_inline struct ends_copied ends_of(u64 total)
{
	const u64 limit = config.head_bytes < HEAD_BYTES_MAX ? config.head_bytes : HEAD_BYTES_MAX;
	const u64 head_end = total < limit ? total : limit;
	const struct ends_copied ends = { head_end,
					  total < head_end + TAIL_BYTES_MAX ? head_end : total - TAIL_BYTES_MAX };

	return ends;
}

/* Copies what is wanted of the segment that begins at `walk.done`, and goes on behind it. False: it is unreadable. A function
 * of its own, so that the verifier looks at it once.
 */
__noinline int copy_segment(u32 slot, u64 index)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct user_iovec segment;
	struct ends_copied ends;
	struct walk *walk;

	if (!scratch)
		return false;
	walk = &scratch->walk;
	segment = walk->buffer.first;
	ends = ends_of(walk->total);
	if (walk->buffer.segments &&
	    bpf_probe_read_user(&segment, sizeof(segment), (void *)walk->buffer.segments + index * sizeof(segment)))
		return false;
	if (!copy_part(scratch, &segment, walk->done, 0, ends.head_end, 0) ||
	    !copy_part(scratch, &segment, walk->done, ends.tail_begin, walk->total, ends.head_end))
		return false;
	walk->done += segment.length;
	return true;
}

/* Fills `head_bytes` and `tail_bytes` of the record from the call's `total` bytes, found by its `walk.buffer`. A
 * function of its own, and the buffer in a map: so the verifier looks at it once.
 */
__noinline int copy_payload(u32 slot, u64 total)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	const struct ends_copied ends = ends_of(total);
	struct walk *walk;

	if (!scratch)
		return 0;
	walk = &scratch->walk;
	walk->total = total;
	walk->done = 0;
	for (u32 i = 0; i < SEGMENTS_MAX && i < walk->buffer.count && walk->done < total; i++) {
		if (!copy_segment(slot, i))
			break;
	}
	if (walk->done >= total) {
		scratch->call.head_bytes = ends.head_end;
		scratch->call.tail_bytes = total - ends.tail_begin;
		return 0;
	}
	/* Unreadable, or in more segments than are looked at: what was copied in one run from the start still counts. */
	count(walk->buffer.count > SEGMENTS_MAX ? COUNTER_SEGMENTS_UNREAD : COUNTER_PAYLOAD_UNREADABLE);
	scratch->call.head_bytes = walk->done < ends.head_end ? walk->done : ends.head_end;
	return 0;
}

#endif
