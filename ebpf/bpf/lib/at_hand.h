/* What every record needs at hand, side by side: one line of the cache instead of five. The server's work has mostly driven
 * them out since the last record.
 */
#ifndef STARDUST_PROBE_AT_HAND_H
#define STARDUST_PROBE_AT_HAND_H

#include "../abi.h"

/* The agent's side of the ring. */
struct ring_reader {
	u64 read; /* so many bytes */
	/* Where it had the writers begin anew at the ring's start (ebpf/src/ring.rs): nothing before is unread, even if `read` is
	 * yet to say so.
	 */
	u64 lap;
	/* Set before it sleeps until something happens, cleared by the record that wakes it. Looked at after a record is
	 * signed, but without a barrier between: the agent looks for records once more some time after it has set this.
	 */
	u32 sleeps;
	u32 hurries; /* set by a record that is to be read at once, not with those that come after it */
};

/* What is known of TLS on this host, so that socket calls need not look for what there is not. */
enum tls_use {
	TLS_CALLS_ARE_ENTERED = 1, /* some thread has been in a call */
	TLS_MOVES_ARE_KEPT = 2,	   /* some library moves its encrypted bytes by itself, in calls of which only the end is seen */
};

struct at_hand {
	u64 ring_given; /* bytes of the ring given out so far: where the next record begins */
	struct ring_reader ring_reader;
	u64 noted_until_ns; /* an exception is noted until then, of some thread; 0: none is */
	u32 wish_round; /* raised by the agent each time it adds to the table of wishes: other calls need not ask it */
	u32 tls_use;
	u64 registers_distance; /* see learn_registers; 0: not known yet */
	/* Set by the agent. */
	u32 exceptions_are_known; /* some process's layout is told */
	u32 exceptions_are_kept; /* the probe that sees them unwind is in some process */
};
volatile struct at_hand at_hand __attribute__((aligned(RING_LINE_BYTES)));
_Static_assert(sizeof(struct at_hand) <= RING_LINE_BYTES, "one line of the cache");

#endif
