/* Birth, change and end of watched processes. A child is watched before its first instruction. */
#ifndef STARDUST_PROBE_LIFECYCLE_H
#define STARDUST_PROBE_LIFECYCLE_H

#include "lib/python.h"
#include "lib/ring.h"
#include "lib/tls_library.h"

/* include/trace/events/sched.h */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_forked, struct task_struct *parent, struct task_struct *child)
{
	struct process_fork record = {};
	const u32 tgid = parent->tgid;

	/* A thread is born into its process. */
	if (child->pid != child->tgid || !is_watched(tgid) || !watch(child->tgid))
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
	/* kernel/exit.c counts the thread out before it calls this. */
	if (task->signal->live.counter > 0 || !is_watched(tgid) || !unwatch(tgid))
		return 0;
	forget_interpreter(tgid);
	forget_tls_library(tgid);
	fill_header(&record.header, RECORD_EXIT, sizeof(record), tgid, 0);
	record.status = task->exit_code;
	emit(&record.header, sizeof(record));
	return 0;
}

#endif
