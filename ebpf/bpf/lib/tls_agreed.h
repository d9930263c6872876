/* The protocol that a handshake has agreed on (RFC 7301), as the library keeps it: in TLS 1.3 it does not pass in the clear. */
#ifndef STARDUST_PROBE_TLS_AGREED_H
#define STARDUST_PROBE_TLS_AGREED_H

#include "tls_record.h"

enum {
	/* RFC 7301, section 3.1. */
	AGREED_BYTES_MAX = 255,
};

/* The builds of TLS libraries that are about, from 1 on; 0 stands for one of which nothing is known. Written before any probe
 * says that it is one of these, and never changed.
 */
struct tls_library tls_libraries[TLS_LIBRARIES];

/* The one that the cookie of a site names. */
static __always_inline const struct tls_library *library_of(u64 cookie)
{
	return &tls_libraries[(cookie >> TLS_LIBRARY) % TLS_LIBRARIES];
}

struct agreed {
	u64 address;
	u64 length; /* 32 bits where it is told */
};

/* False: nothing was agreed on, or it is not known where that is kept. */
static __always_inline bool find_agreed(const struct tls_library *library, u64 object, struct agreed *agreed)
{
	u32 kind = 0;

	if (!library->agreed)
		return false;
	if (library->agreed_if_zero && (bpf_probe_read_user(&kind, sizeof(kind), (void *)object) || kind))
		return false;
	if (library->agreed_within &&
	    (bpf_probe_read_user(&object, sizeof(object), (void *)(object + library->agreed_within)) || !object))
		return false;
	if (bpf_probe_read_user(agreed, sizeof(*agreed), (void *)(object + library->agreed))) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		return false;
	}
	return agreed->address && agreed->length && agreed->length <= AGREED_BYTES_MAX;
}

/* A function of its own: it is called once for each object. */
static __noinline int tell_agreed(u64 id, u64 object, u64 session, u64 cookie)
{
	struct placed_tls_call *record;
	struct agreed agreed = {};
	u64 length;

	if (!find_agreed(library_of(cookie), object, &agreed))
		return 0;
	length = bounded(agreed.length, AGREED_BYTES_MAX);
	record = reserve(sizeof(record->call) + length);
	if (!record)
		return 0;
	fill_tls_call(&record->call, id, TLS_CALL_AGREED, session, ENTRY_IS_NOW, 0);
	if (bpf_probe_read_user(record->payload, length, (void *)agreed.address)) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		discard(&record->call.header);
		return 0;
	}
	record->call.bytes = length;
	record->call.head_bytes = length;
	record->call.header.size += length;
	submit(&record->call.header);
	return 0;
}

/* When an object first moves clear text, its handshake has agreed. */
static __always_inline void before_first(const struct tls_part *part, struct tls_session *session, u64 object, u64 cookie)
{
	if (likely(session->has_agreed) || !part->bytes)
		return;
	session->has_agreed = 1;
	tell_agreed(part->id, object, session->id, cookie);
}

#endif
