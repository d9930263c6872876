/* Copies of Python's contexts (contextvars.Context): which context a thread was running when it made which other one.
 * A task, and what is handed to a thread of a pool, runs in a copy of the context that it was started in.
 *
 * PyContext_CopyCurrent (Python/context.c) takes the new context from its list of free ones, where it passes it to
 * _Py_NewReference, or has _PyObject_GC_New make it. Both are calls, which the kernel emulates. The thread's own context
 * is still the one that is copied from.
 */
#ifndef STARDUST_PROBE_CONTEXTS_H
#define STARDUST_PROBE_CONTEXTS_H

#include "lib/own_stack.h"
#include "lib/python.h"
#include "lib/registers.h"
#include "lib/ring.h"

/* Copies for which the ring had no room. The agent compares it at each record: what comes after a loss is not taken for
 * something that was there before.
 */
volatile u32 copies_lost;

static __always_inline int tell_copy(u64 context)
{
	const u64 id = bpf_get_current_pid_tgid();
	struct context_copy *record;

	/* There was no memory. */
	if (!context)
		return 0;
	record = reserve(sizeof(*record));
	if (!record) {
		__sync_fetch_and_add(&copies_lost, 1);
		return 0;
	}
	fill_header(&record->header, RECORD_CONTEXT_COPY, sizeof(*record), id >> 32, (u32)id);
	record->context = context;
	record->identity = read_identity(id, thread_pointer(bpf_get_current_task_btf()), &record->copied_in);
	record->reserved = 0;
	/* It says nothing before the next socket call, which wakes the reader if it sleeps. */
	submit_quietly(&record->header);
	return 0;
}

/* Behind a call that gives it. */
SEC("uprobe")
int context_given(struct pt_regs *registers)
{
	ON_KERNEL_STACK(registers);
	return tell_copy(registers->RESULT);
}

/* At the call of what makes a greenlet: its second argument. */
SEC("uprobe")
int greenlet_made(struct pt_regs *registers)
{
	ON_KERNEL_STACK(registers);
	return tell_copy(registers->ARGUMENT_SECOND);
}

/* At a call that is given it. */
SEC("uprobe")
int context_passed(struct pt_regs *registers)
{
	ON_KERNEL_STACK(registers);
	return tell_copy(registers->ARGUMENT_FIRST);
}

#endif
