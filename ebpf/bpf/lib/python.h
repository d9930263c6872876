/* What a thread of a Python process is running: its current context (contextvars.Context), read from the
 * interpreter's own memory. Each asyncio task and each gevent greenlet has one of its own.
 *
 * The thread state is found by the key under which the thread keeps it, not by the runtime's "current" one, which is
 * unset while the thread is in a system call. Where things are comes from the agent, which has seen it to hold.
 */
#ifndef STARDUST_PROBE_PYTHON_H
#define STARDUST_PROBE_PYTHON_H

#include "counters.h"

/* Interpreters by process. A fork inherits its parent's; another program has none until the agent has looked. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct interpreter);
} interpreters SEC(".maps");

static __always_inline void inherit_interpreter(u32 parent, u32 child)
{
	const struct interpreter *known = bpf_map_lookup_elem(&interpreters, &parent);
	struct interpreter copy;

	if (!known)
		return;
	copy = *known;
	/* Without room the child goes without: its calls are told apart by thread. */
	bpf_map_update_elem(&interpreters, &child, &copy, BPF_ANY);
}

static __always_inline void forget_interpreter(u32 tgid)
{
	bpf_map_delete_elem(&interpreters, &tgid);
}

#if defined(__TARGET_ARCH_x86)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct thread_struct {
	unsigned long fsbase;
};

struct task_struct___thread {
	struct thread_struct thread;
};
#pragma clang attribute pop

/* arch_prctl and clone set it; the switch to another thread saves it (arch/x86/kernel/process_64.c). */
static __always_inline u64 thread_pointer(void)
{
	const struct task_struct___thread *task;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		/* Since 5.11: a typed pointer (see FIELD). */
		task = (void *)bpf_get_current_task_btf();
		return task->thread.fsbase;
	}
	task = (void *)bpf_get_current_task();
	return BPF_CORE_READ(task, thread.fsbase);
}

#else

/* Nowhere else has the place of a thread's own values been measured: the agent tells of no interpreter there. */
static __always_inline u64 thread_pointer(void)
{
	return 0;
}

#endif

enum {
	/* User space ends far below (Documentation/arch/x86/x86_64/5level-paging.rst): the bits above are free. */
	IDENTITY_SHIFT = 60,
};

/* Three guarded reads: the thread's state, its context, whether that was entered. Gives the context's address with
 * the kind (enum identity_kind) above it. A function of its own, so that the verifier looks at it once.
 */
__noinline u64 find_identity(u32 tgid)
{
	const struct interpreter *interpreter = bpf_map_lookup_elem(&interpreters, &tgid);
	u64 state = 0, context = 0, kind;
	u32 entered = 0;

	if (!interpreter)
		return 0;
	kind = interpreter->outside;
	if (bpf_probe_read_user(&state, sizeof(state), (void *)(thread_pointer() + interpreter->slot)))
		goto unreadable;
	/* A thread that never ran Python. */
	if (!state)
		return 0;
	if (bpf_probe_read_user(&context, sizeof(context), (void *)(state + interpreter->context)))
		goto unreadable;
	if (context && bpf_probe_read_user(&entered, sizeof(entered), (void *)(context + interpreter->entered)))
		goto unreadable;
	if (entered)
		kind = IDENTITY_ENTERED;
	return kind << IDENTITY_SHIFT | context;

unreadable:
	count(COUNTER_IDENTITY_UNREADABLE);
	return (u64)IDENTITY_UNREADABLE << IDENTITY_SHIFT;
}

static __always_inline u8 read_identity(u32 tgid, u64 *context)
{
	const u64 found = find_identity(tgid);

	*context = found & ((1ULL << IDENTITY_SHIFT) - 1);
	return found >> IDENTITY_SHIFT;
}

#endif
