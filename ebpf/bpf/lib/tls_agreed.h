/* The protocol that a handshake has agreed on (RFC 7301), as the library keeps it: in TLS 1.3 it does not pass in the clear. */
#ifndef STARDUST_PROBE_TLS_AGREED_H
#define STARDUST_PROBE_TLS_AGREED_H

#include "tls_library.h"
#include "tls_record.h"

enum {
	/* RFC 7301, section 3.1. */
	AGREED_BYTES_MAX = 255,
};

struct agreed {
	u64 address;
	u64 length; /* 32 bits where it is told */
};

/* False: nothing was agreed on. */
static __always_inline bool find_agreed(const struct tls_library *library, u64 object, struct agreed *agreed)
{
	u32 kind = 0;

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

/* False: it is not known where that is kept. A function of its own: it is called once for each object. */
static __noinline bool tell_agreed(u64 id, u64 object, u64 session, u64 site)
{
	const struct tls_library *library = library_of(site, id >> 32);
	struct placed_tls_call *record;
	struct agreed agreed = {};
	u64 length;

	if (!library->agreed)
		return false;
	if (!find_agreed(library, object, &agreed))
		return true;
	length = bounded(agreed.length, AGREED_BYTES_MAX);
	record = reserve(sizeof(record->call) + length);
	if (!record)
		return true;
	fill_tls_call(&record->call, id, TLS_CALL_AGREED, session, ENTRY_IS_NOW, 0);
	if (bpf_probe_read_user(record->payload, length, (void *)agreed.address)) {
		count(COUNTER_PAYLOAD_UNREADABLE);
		discard(&record->call.header);
		return true;
	}
	record->call.bytes = length;
	record->call.head_bytes = length;
	record->call.header.size += length;
	submit(&record->call.header);
	return true;
}

/* When an object first moves clear text, its handshake has agreed. Which library it is may be known only later. */
static __always_inline void before_first(const struct tls_part *part, struct tls_session *session, u64 object, u64 site)
{
	if (unlikely(!session->has_agreed) && part->bytes)
		session->has_agreed = tell_agreed(part->id, object, session->id, site);
}

#endif
