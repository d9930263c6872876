/* Birth, change and end of watched processes and of their threads. A child is watched before its first instruction. */
#ifndef STARDUST_PROBE_LIFECYCLE_H
#define STARDUST_PROBE_LIFECYCLE_H

#include "lib/python.h"
#include "lib/ring.h"
#include "lib/tls_library.h"

/* What starts a thread may be a request, whose it is then. */
static __always_inline int tell_thread_start(struct task_struct *parent, u32 child)
{
	struct thread_start *record = reserve(sizeof(*record));
	const u64 id = task_id(parent);

	if (!record)
		return 0;
	fill_header(&record->header, RECORD_THREAD_START, sizeof(*record), id >> 32, (u32)id);
	record->identity = read_identity(id, thread_pointer(parent), &record->context);
	record->child = child;
	/* It says nothing before the new thread's first socket call, which wakes the reader if it sleeps. */
	submit_quietly(&record->header);
	return 0;
}

static __always_inline int tell_thread_end(struct task_struct *task)
{
	struct thread_end *record = reserve(sizeof(*record));

	if (!record)
		return 0;
	fill_header(&record->header, RECORD_THREAD_END, sizeof(*record), task->tgid, task->pid);
	submit(&record->header);
	return 0;
}

/* include/trace/events/sched.h */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_forked, struct task_struct *parent, struct task_struct *child)
{
	struct process_fork record = {};
	const u32 tgid = parent->tgid;

	if (!is_watched(tgid))
		return 0;
	/* A thread is born into its process. */
	if (child->pid != child->tgid)
		return tell_thread_start(parent, child->pid);
	if (!watch(child->tgid))
		return 0;
	inherit_interpreter(tgid, child->tgid);
	inherit_tls_library(tgid, child->tgid);
	fill_header(&record.header, RECORD_FORK, sizeof(record), tgid, parent->pid);
	record.child = child->tgid;
	emit(&record.header, sizeof(record));
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_executed, struct task_struct *task)
{
	struct process_exec record = {};
	const u32 tgid = task->tgid;

	if (!is_watched(tgid))
		return 0;
	forget_interpreter(tgid);
	forget_tls_library(tgid);
	fill_header(&record.header, RECORD_EXEC, sizeof(record), tgid, task->pid);
	/* What it is now can only be looked up as long as it lives. */
	emit_now(&record.header, sizeof(record));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exited, struct task_struct *task)
{
	struct process_exit record = {};
	const u32 tgid = task->tgid;

	forget_thread(task->pid);
	if (!is_watched(tgid))
		return 0;
	/* kernel/exit.c counts the thread out before it calls this. */
	if (task->signal->live.counter > 0)
		return tell_thread_end(task);
	if (!unwatch(tgid))
		return 0;
	forget_interpreter(tgid);
	forget_tls_library(tgid);
	fill_header(&record.header, RECORD_EXIT, sizeof(record), tgid, 0);
	record.status = task->exit_code;
	emit(&record.header, sizeof(record));
	return 0;
}

#endif
