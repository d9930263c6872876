/* Has a program stay on the kernel's stack, where the system call has just been.
 *
 * Since 6.13 (e00931c02568, "bpf: Enable private stack for eligible subprogs") the kernel gives a tracing program a stack of
 * its own for each CPU: some seven lines of the cache more for each program, cold at every call, and a register saved around each
 * call of a function. A program that holds a tail call, even one that is never reached, stays where it was.
 */
#ifndef STARDUST_PROBE_OWN_STACK_H
#define STARDUST_PROBE_OWN_STACK_H

#include "kernel.h"

/* Programs that share one are attached and called alike: the kernel insists. */
#define NO_PROGRAM(name)                                                                                               \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                                                 \
		__uint(max_entries, 1);                                                                                \
		__uint(key_size, sizeof(u32));                                                                         \
		__uint(value_size, sizeof(u32));                                                                       \
	} name SEC(".maps")

NO_PROGRAM(no_program_of_calls);
NO_PROGRAM(no_program_of_states);
NO_PROGRAM(no_program_of_user_code);
NO_PROGRAM(no_program_of_many_sites);

/* There are always tasks: a constant when the program is loaded, so that the verifier takes the call out again. */
#define ON_KERNEL_STACK(context, programs)                                                                             \
	do {                                                                                                           \
		if (!bpf_core_type_exists(struct task_struct))                                                         \
			bpf_tail_call(context, &programs, 0);                                                          \
	} while (0)

#endif
