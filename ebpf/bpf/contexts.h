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

/* Copies and writes for which the ring had no room. The agent compares it at each record: what comes after a loss is not taken for
 * something that was there before.
 */
volatile u32 copies_lost;

/* NULL: no room (counted, and told by the above). */
static __always_inline void *reserve_or_lose(u64 size)
{
	void *record = reserve(size);

	if (!record)
		__sync_fetch_and_add(&copies_lost, 1);
	return record;
}

static __always_inline int tell_copy(u64 context)
{
	const u64 id = bpf_get_current_pid_tgid();
	struct context_copy *record;

	/* There was no memory. */
	if (!context)
		return 0;
	record = reserve_or_lose(sizeof(*record));
	if (!record)
		return 0;
	fill_header(&record->header, RECORD_CONTEXT_COPY, sizeof(*record), id >> 32, (u32)id);
	record->context = context;
	record->identity = read_identity(id, thread_pointer(bpf_get_current_task_btf()), &record->copied_in);
	record->reserved = 0;
	/* It says nothing before the next socket call, which wakes the reader if it sleeps. */
	submit_quietly(&record->header);
	return 0;
}

enum {
	/* Where uvloop's streams have the handle (`UVHandle` in its handles/handle.pxd, behind what every object of Cython with
	 * methods begins with), and that its descriptor: `uv_tcp_t` and `uv_pipe_t` of libuv (`uv_fileno` in src/unix/core.c).
	 */
	STREAM_HANDLE = 24,
	HANDLE_FD = 184,
};

/* Where uvloop, up to 0.22, is given bytes that it sends at the end of the loop's turn: the stream is the first argument. */
SEC("uprobe")
int stream_written(struct pt_regs *registers)
{
	const u64 id = bpf_get_current_pid_tgid();
	struct stream_write *record;
	u64 handle = 0;
	s32 fd = 0;

	ON_KERNEL_STACK(registers);
	if (bpf_probe_read_user(&handle, sizeof(handle), (void *)(registers->ARGUMENT_FIRST + STREAM_HANDLE)) ||
	    bpf_probe_read_user(&fd, sizeof(fd), (void *)(handle + HANDLE_FD)))
		fd = -1;
	record = reserve_or_lose(sizeof(*record));
	if (!record)
		return 0;
	fill_header(&record->header, RECORD_STREAM_WRITE, sizeof(*record), id >> 32, (u32)id);
	record->fd = fd;
	record->identity = read_identity(id, thread_pointer(bpf_get_current_task_btf()), &record->context);
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
