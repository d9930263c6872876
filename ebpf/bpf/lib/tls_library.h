/* Which build of a TLS library a call is made of, and where that keeps what is read of its connections. */
#ifndef STARDUST_PROBE_TLS_LIBRARY_H
#define STARDUST_PROBE_TLS_LIBRARY_H

#include "filter.h"

/* The builds that are about, from 1 on; 0 stands for one of which nothing is known. Written before any probe says that it is
 * one of these; but for `differs`, never changed.
 */
struct tls_library tls_libraries[TLS_LIBRARIES];

/* Which one the module of a process calls, of those that were looked at: one file of it may call another in each. A fork
 * inherits its parent's.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, u32);
} tls_library_indices SEC(".maps");

/* The site says which one it is; where it is in a module, the process comes first. */
static __always_inline const struct tls_library *library_of(u64 site, u32 tgid)
{
	const u32 is_in_module = site >> TLS_IN_MODULE & 1, kind = site & 15;
	u32 index = site >> TLS_LIBRARY & (TLS_LIBRARIES - 1);
	const u32 *own;

	if (kind == TLS_SITE_BEHIND || kind == TLS_SITE_GIVEN || is_in_module) {
		own = bpf_map_lookup_elem(&tls_library_indices, &tgid);
		if (own)
			index = *own;
		else if (tls_libraries[index].differs)
			index = 0;
	}
	return &tls_libraries[index & (TLS_LIBRARIES - 1)];
}

static __always_inline void inherit_tls_library(u32 parent, u32 child)
{
	const u32 *own = bpf_map_lookup_elem(&tls_library_indices, &parent);
	u32 index;

	if (!own) {
		bpf_map_delete_elem(&tls_library_indices, &child);
		return;
	}
	index = *own;
	/* Without room the child goes without, until the agent looks at it. */
	bpf_map_update_elem(&tls_library_indices, &child, &index, BPF_ANY);
}

static __always_inline void forget_tls_library(u32 tgid)
{
	bpf_map_delete_elem(&tls_library_indices, &tgid);
}

#endif
