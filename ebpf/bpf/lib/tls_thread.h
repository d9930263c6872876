/* Which thread is in a call of a TLS library: asked by the socket hooks, so that clear text has the time at which its
 * encrypted bytes passed.
 */
#ifndef STARDUST_PROBE_TLS_THREAD_H
#define STARDUST_PROBE_TLS_THREAD_H

#include "../abi.h"
#include "at_hand.h"

enum {
	TLS_SLOTS = 4096,
};

/* A call that a thread is in. */
struct tls_pending {
	u64 object;
	u64 buffer;
	u64 length;
	u64 moved; /* user address of the length; 0: the result is the length */
	u64 entered_ns;
	u64 moved_ns; /* when a socket call inside last moved bytes; 0: none has */
	u32 call; /* enum tls_call_kind */
	u16 is_open;
	u16 is_told; /* it has returned, and that was told */
};

/* Threads that are in a call or have been. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct tls_pending);
} tls_threads SEC(".maps");

/* When a thread's socket calls last moved bytes: the thread that did so last among those with this slot. */
struct tls_moves {
	u64 at_ns[2]; /* by enum direction */
	u32 tid;
	u32 reserved[3];
};
struct tls_moves tls_moves[TLS_SLOTS];

/* Which of them are in one, in short: the thread in a call among those with this slot, 0 if there is none. Where two
 * meet, the table is asked ever after.
 */
u64 tls_slots[TLS_SLOTS];

static __always_inline void open_tls_slot(u32 tid)
{
	u64 *slot = &tls_slots[tid % TLS_SLOTS];
	const u64 before = __sync_val_compare_and_swap(slot, 0, tid);

	if (unlikely(!(at_hand.tls_use & TLS_CALLS_ARE_ENTERED)))
		__sync_fetch_and_or(&at_hand.tls_use, TLS_CALLS_ARE_ENTERED);
	if (before && before != tid)
		*slot = SLOT_ASK_TABLE;
}

static __always_inline void close_tls_slot(u32 tid)
{
	__sync_val_compare_and_swap(&tls_slots[tid % TLS_SLOTS], tid, 0);
}

static __always_inline void keep_move(u32 tid, u32 direction)
{
	struct tls_moves *moves = &tls_moves[tid % TLS_SLOTS];

	if (moves->tid != tid) {
		moves->at_ns[DIRECTION_RECEIVED] = 0;
		moves->at_ns[DIRECTION_SENT] = 0;
		moves->tid = tid;
	}
	moves->at_ns[direction & 1] = bpf_ktime_get_ns();
}

/* 0: not known. */
static __always_inline u64 last_move(u32 tid, u32 direction)
{
	const struct tls_moves *moves = &tls_moves[tid % TLS_SLOTS];

	return moves->tid == tid ? moves->at_ns[direction & 1] : 0;
}

/* A function of its own: where there is no TLS, nobody need carry it along. */
__noinline int note_beneath_tls(u64 id, u32 direction)
{
	struct tls_pending *pending;

	if (at_hand.tls_use & TLS_MOVES_ARE_KEPT)
		keep_move(id, direction);
	if (!(at_hand.tls_use & TLS_CALLS_ARE_ENTERED) || likely(!tls_slots[(u32)id % TLS_SLOTS]))
		return 0;
	pending = bpf_map_lookup_elem(&tls_threads, &id);
	if (pending && pending->is_open)
		pending->moved_ns = bpf_ktime_get_ns();
	return 0;
}

static __always_inline void note_socket_call(u64 id, u32 direction)
{
	if (unlikely(at_hand.tls_use))
		note_beneath_tls(id, direction);
}

#endif
