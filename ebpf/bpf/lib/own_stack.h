/* Has a program stay on the kernel's stack, where the system call has just been.
 *
 * Since 6.13 (e00931c02568, "bpf: Enable private stack for eligible subprogs") the kernel gives a tracing program a stack of
 * its own for each CPU: some seven lines of the cache more for each program, cold at every call, and a register saved around each
 * call of a function. A program that holds a tail call, even one that is never reached, stays where it was.
 */
#ifndef STARDUST_PROBE_OWN_STACK_H
#define STARDUST_PROBE_OWN_STACK_H

#include "kernel.h"

/* Never reached: the type is always there, which is a constant when the program is loaded, so that the verifier does not even
 * look at the call and takes it out again. It names no table of programs: one that is opened and closed by whoever looks through the
 * kernel's maps, just when its program ends, stays in the kernel for good (`prog_array_map_clear` in kernel/bpf/arraymap.c, 6.18,
 * takes hold of it each time, and has it emptied once).
 */
#define ON_KERNEL_STACK(context)                                                                                       \
	do {                                                                                                           \
		if (!bpf_core_type_exists(struct task_struct))                                                         \
			bpf_tail_call(context, 0, 0);                                                                  \
	} while (0)

#endif
