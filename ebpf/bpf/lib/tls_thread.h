/* Which thread is in a call of a TLS library: asked by the socket hooks, so that clear text has the time at which its
 * encrypted bytes passed.
 */
#ifndef STARDUST_PROBE_TLS_THREAD_H
#define STARDUST_PROBE_TLS_THREAD_H

#include "kernel.h"

/* A call that a thread is in. */
struct tls_pending {
	u64 object;
	u64 buffer;
	u64 length;
	u64 moved; /* user address of the length; 0: the result is the length */
	u64 entered_ns;
	u64 moved_ns; /* when a socket call inside last moved bytes; 0: none has */
	u32 call; /* enum tls_call_kind */
	u32 is_open;
};

/* Threads that are in a call or have been. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct tls_pending);
} tls_threads SEC(".maps");

/* Set by the agent with the first probe of a library: until then no socket call asks the table. */
volatile u32 tls_is_probed;

static __always_inline void note_socket_call(u64 id)
{
	struct tls_pending *pending = bpf_map_lookup_elem(&tls_threads, &id);

	if (pending && pending->is_open)
		pending->moved_ns = bpf_ktime_get_ns();
}

#endif
