/* Connections whose bytes the kernel encrypts and decrypts (KTLS). */
#ifndef STARDUST_PROBE_KERNEL_TLS_H
#define STARDUST_PROBE_KERNEL_TLS_H

#include "connection.h"

/* A function of its own: hardly any connection has such ones. */
static __noinline bool are_of_tls(const struct tcp_ulp_ops *ops)
{
	u32 name = 0;

	bpf_probe_read_kernel(&name, sizeof(name), ops->name);
	return name == *(const u32 *)"tls";
}

/* Whether the kernel may encrypt and decrypt what passes on a connection (KTLS). A library can ask for that and go on to do
 * so itself, in one direction or both; which, only the module tells.
 */
static __always_inline bool has_kernel_tls(struct sock *sk, const struct connection *connection, bool typed)
{
	const struct inet_connection_sock *tcp = (const void *)sk;
	const struct tcp_ulp_ops *ops;

	if (connection->ends.family == FAMILY_UNIX)
		return false;
	if (typed)
		tcp = (const void *)tcp_sock_of(sk);
	if (!tcp)
		return false;
	ops = FIELD(typed, tcp, icsk_ulp_ops);
	return unlikely(ops) && are_of_tls(ops);
}

#endif
