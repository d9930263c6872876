/* The arguments of the running system call, from the user registers that the kernel saved on entry. */
#ifndef STARDUST_PROBE_REGISTERS_H
#define STARDUST_PROBE_REGISTERS_H

#include "at_hand.h"
#include "counters.h"

enum {
	KEPT_REGISTERS = 8, /* with one that is none, so that 3 bits name one */
};

struct arguments {
	u64 number;
	u64 first;
	u64 second;
	u64 third;
	u64 fourth;
};

enum task_flag {
	PF_IO_WORKER = 0x10, /* include/linux/sched.h */
};

/* No system call's. */
#define NO_NUMBER (~0ULL)

#if defined(__TARGET_ARCH_x86)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
	unsigned long r15;
	unsigned long r14;
	unsigned long r13;
	unsigned long r12;
	unsigned long bp;
	unsigned long bx;
	unsigned long sp;
	unsigned long di;
	unsigned long si;
	unsigned long dx;
	unsigned long cx;
	unsigned long ax;
	unsigned long r8;
	unsigned long r10;
	unsigned long orig_ax;
};
#pragma clang attribute pop

#define REGISTER_NUMBER orig_ax
#define REGISTER_FIRST di
#define REGISTER_SECOND si
#define REGISTER_THIRD dx
#define REGISTER_FOURTH r10

/* Of a function, in a program at one of its instructions. */
#define ARGUMENT_FIRST di
#define ARGUMENT_SECOND si
#define ARGUMENT_THIRD dx
#define ARGUMENT_FOURTH cx
#define ARGUMENT_FIFTH r8
#define RESULT ax

/* Registers that calls leave as they are, by enum kept_register. */
static __always_inline void read_kept(const struct pt_regs *registers, u64 kept[KEPT_REGISTERS])
{
	kept[KEPT_RBX] = registers->bx;
	kept[KEPT_RBP] = registers->bp;
	kept[KEPT_R12] = registers->r12;
	kept[KEPT_R13] = registers->r13;
	kept[KEPT_R14] = registers->r14;
	kept[KEPT_R15] = registers->r15;
	kept[KEPT_RSP] = registers->sp;
}

enum syscall_number {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDFILE = 40,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_SHUTDOWN = 48,
	NR_SPLICE = 275,
	NR_RECVMMSG = 299,
	NR_SENDMMSG = 307,
	NR_PREADV2 = 327,
	NR_PWRITEV2 = 328,
	NR_IO_URING_ENTER = 426,
};

enum {
	TS_COMPAT = 0x2, /* arch/x86/include/asm/thread_info.h: a 32-bit call, numbered otherwise */
	KERNEL_STACK_BYTES = 16384,
};

static __always_inline bool is_compat_call(const struct task_struct *task)
{
	return task->thread_info.status & TS_COMPAT;
}

#elif defined(__TARGET_ARCH_arm64)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
	u64 regs[31];
	u64 orig_x0; /* regs[0] holds the result by now */
	s32 syscallno;
};
#pragma clang attribute pop

#define REGISTER_NUMBER syscallno
#define REGISTER_FIRST orig_x0
#define REGISTER_SECOND regs[1]
#define REGISTER_THIRD regs[2]
#define REGISTER_FOURTH regs[3]

#define ARGUMENT_FIRST regs[0]
#define ARGUMENT_SECOND regs[1]
#define ARGUMENT_THIRD regs[2]
#define ARGUMENT_FOURTH regs[3]
#define ARGUMENT_FIFTH regs[4]
#define RESULT regs[0]

/* No sites are chosen there that would need them. */
static __always_inline void read_kept(const struct pt_regs *registers, u64 kept[KEPT_REGISTERS])
{
}

enum syscall_number {
	NR_READ = 63,
	NR_WRITE = 64,
	NR_READV = 65,
	NR_WRITEV = 66,
	NR_SENDFILE = 71,
	NR_SPLICE = 76,
	NR_SENDTO = 206,
	NR_RECVFROM = 207,
	NR_SHUTDOWN = 210,
	NR_SENDMSG = 211,
	NR_RECVMSG = 212,
	NR_RECVMMSG = 243,
	NR_SENDMMSG = 269,
	NR_PREADV2 = 286,
	NR_PWRITEV2 = 287,
	NR_IO_URING_ENTER = 426,
};

enum {
	KERNEL_STACK_BYTES = 16384,
};

static __always_inline bool is_compat_call(const struct task_struct *task)
{
	/* TIF_32BIT (arch/arm64/include/asm/thread_info.h) */
	return task->thread_info.flags & (1UL << 22);
}

#else
#error "registers.h knows x86_64 and aarch64"
#endif

/* Where a thread's user registers are (task_pt_regs): at the end of its stack, equally far from its beginning for all. Only
 * the first one is asked for, as each call takes as long as reading the registers does. A function of its own, so that the
 * others do not carry it along.
 */
__noinline u64 learn_registers(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct pt_regs *registers = (const struct pt_regs *)bpf_task_pt_regs(task);
	u64 address = 0;

	if (bpf_probe_read_kernel(&address, sizeof(address), &registers))
		return 0;
	at_hand.registers_distance = address - (u64)task->stack;
	return at_hand.registers_distance;
}

static __always_inline const struct pt_regs *user_registers(struct task_struct *task)
{
	u64 distance = at_hand.registers_distance;

	if (!bpf_ksym_exists(bpf_rdonly_cast))
		return (const struct pt_regs *)bpf_task_pt_regs(task);
	if (unlikely(!distance))
		distance = learn_registers();
	return bpf_rdonly_cast(task->stack + distance, bpf_core_type_id_kernel(struct pt_regs));
}

/* The verifier refuses what the compiler may do with values that nobody has set, even if nobody looks at them. */
static __always_inline bool no_arguments(struct arguments *arguments)
{
	__builtin_memset(arguments, 0, sizeof(*arguments));
	return false;
}

/* Gives the number of the task's running system call, or NO_NUMBER where it cannot be told. */
static __always_inline u64 running_call(struct task_struct *task)
{
	if (task->flags & PF_IO_WORKER || is_compat_call(task) ||
	    !bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return NO_NUMBER;
	return user_registers(task)->REGISTER_NUMBER;
}

/* False: no system call of this process is running that the program could read. */
static __always_inline bool read_arguments(struct task_struct *task, struct arguments *arguments)
{
	const struct pt_regs *regs;

	if (unlikely(task->flags & PF_IO_WORKER))
		return no_arguments(arguments);
	if (unlikely(is_compat_call(task))) {
		count(COUNTER_COMPAT_CALL);
		return no_arguments(arguments);
	}
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		/* Since 5.15: a typed pointer, read without a helper call. */
		regs = user_registers(task);
		arguments->number = regs->REGISTER_NUMBER;
		arguments->first = regs->REGISTER_FIRST;
		arguments->second = regs->REGISTER_SECOND;
		arguments->third = regs->REGISTER_THIRD;
		arguments->fourth = regs->REGISTER_FOURTH;
	} else {
		regs = task->stack + KERNEL_STACK_BYTES - bpf_core_type_size(struct pt_regs);
		arguments->number = BPF_CORE_READ(regs, REGISTER_NUMBER);
		arguments->first = BPF_CORE_READ(regs, REGISTER_FIRST);
		arguments->second = BPF_CORE_READ(regs, REGISTER_SECOND);
		arguments->third = BPF_CORE_READ(regs, REGISTER_THIRD);
		arguments->fourth = BPF_CORE_READ(regs, REGISTER_FOURTH);
	}
	return true;
}

#endif
