/* The kernel side of the probe: one object, so that its families share their maps. */
#include "collections.h"
#include "contexts.h"
#include "lifecycle.h"
#include "sockets.h"
#include "tls.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Puts every type of the contract into the object's BTF, for the check of the Rust side. */
struct contract {
	struct ring_head ring_head;
	struct socket_call socket_call;
	struct tls_call tls_call;
	struct socket_state socket_state;
	struct process_fork process_fork;
	struct thread_start thread_start;
	struct thread_end thread_end;
	struct process_exec process_exec;
	struct process_exit process_exit;
	struct context_copy context_copy;
	struct stream_write stream_write;
	struct collection collection;
	struct argument argument;
	struct exception exception;
	struct exceptions exceptions;
	struct exception_layout exception_layout;
	struct probe_config probe_config;
	struct interpreter interpreter;
	struct tls_library tls_library;
	enum limit limit;
	enum record_kind record_kind;
	enum record_flag record_flag;
	enum wish wish;
	enum direction direction;
	enum family family;
	enum call call;
	enum tls_site tls_site;
	enum tls_behind tls_behind;
	enum kept_register kept_register;
	enum tls_call_kind tls_call_kind;
	enum counter counter;
	enum identity_kind identity_kind;
};
const struct contract *contract;
