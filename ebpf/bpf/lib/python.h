/* What a thread of a Python process is running: its current context (contextvars.Context), read from the
 * interpreter's own memory. Each asyncio task has one of its own. Greenlets have none until they need one: where it is
 * known how, they are told by themselves.
 *
 * The thread state is found by the key under which the thread keeps it, not by the runtime's "current" one, which is
 * unset while the thread is in a system call. Where things are comes from the agent, which has seen it to hold.
 */
#ifndef STARDUST_PROBE_PYTHON_H
#define STARDUST_PROBE_PYTHON_H

#include "filter.h"

/* The builds of interpreters that are about, from 1 on; 0 stands for none. Written before any process is said to have
 * it, and never changed.
 */
struct interpreter interpreters[INTERPRETERS];

/* Which one a process has. A fork inherits its parent's; another program has none until the agent has looked. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, u32);
} interpreter_indices SEC(".maps");

/* 0: none. */
static __always_inline u32 interpreter_of(u32 tgid)
{
	const u64 slot = watched_slots[tgid % WATCHED_SLOTS];
	const u32 *index;

	if (likely((u32)slot == tgid))
		return slot >> 32 & (INTERPRETERS - 1);
	index = bpf_map_lookup_elem(&interpreter_indices, &tgid);
	return index ? *index : 0;
}

static __always_inline void set_interpreter(u32 tgid, u32 index)
{
	if ((u32)watched_slots[tgid % WATCHED_SLOTS] == tgid)
		watched_slots[tgid % WATCHED_SLOTS] = (u64)index << 32 | tgid;
}

static __always_inline void inherit_interpreter(u32 parent, u32 child)
{
	const u32 index = interpreter_of(parent);

	/* Without room the child goes without: its calls are told apart by thread. */
	if (index && !bpf_map_update_elem(&interpreter_indices, &child, &index, BPF_ANY))
		set_interpreter(child, index);
}

static __always_inline void forget_interpreter(u32 tgid)
{
	set_interpreter(tgid, 0);
	bpf_map_delete_elem(&interpreter_indices, &tgid);
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
static __always_inline u64 thread_pointer(struct task_struct *task)
{
	return ((struct task_struct___thread *)task)->thread.fsbase;
}

#else

/* Nowhere else has the place of a thread's own values been measured: the agent tells of no interpreter there. */
static __always_inline u64 thread_pointer(struct task_struct *task)
{
	return 0;
}

#endif

enum {
	/* User space ends far below (Documentation/arch/x86/x86_64/5level-paging.rst): the bits above are free. */
	IDENTITY_SHIFT = 60,
	ADDRESS_BITS = 48,
	CONTEXTS_MAX = 4, /* entered one within another */
	THREAD_SLOTS = 8192,
	STATE_WINDOW_WORDS = STATE_WINDOW_BYTES / sizeof(u64),
	/* No addresses. */
	UNREADABLE = -1,
	NO_STATE = -2,
	/* glibc, x86_64: from the thread pointer on the pointer to the table of what libraries keep of the thread (tcbhead_t in
	 * nptl/tls.h), and in that an entry for each library (dtv_t in generic/dl-dtv.h). */
	THREAD_TABLE = 8,
	THREAD_TABLE_ENTRY = 16,
	/* In the state of a thread's greenlets (ThreadState in greenlet's TThreadState.hpp, 2.0 and later): behind the main one. */
	CURRENT_GREENLET = 8,
};

/* In a slot's word: the thread and its interpreter. */
#define SLOT_OWNER ((1ULL << 40) - 1)
/* As `unread` of its interpreter. */
#define SLOT_UNREAD (1ULL << 48)

/* What was found of a thread, so that its next call costs fewer reads: the thread last seen among those with this slot.
 * Two may write it at once, and a number may be another thread's by now: what is taken from here is held against the
 * thread itself.
 */
struct thread_slot {
	u64 whose; /* the thread, and what its interpreter says of where things are: see slot_word */
	u64 state; /* its PyThreadState */
	u64 base;  /* marked: the context that it made for itself, or the state of its greenlets; 0: not known */
	u64 added_up_at; /* when the scheduler had last added up what it had run, at its last socket call */
};

struct thread_slot thread_slots[THREAD_SLOTS] __attribute__((aligned(sizeof(struct thread_slot))));

/* In one word, so that it is written at once: the thread, from bit 32 the interpreter's index, from 40 the kind of
 * identity outside contexts, from 44 how far the context lies behind the thread's own number, in words, from 48 where
 * that lies, a multiple of words, and SLOT_UNREAD. 0: the state has them too far apart.
 */
static __always_inline u64 slot_word(u32 tid, u32 index, const struct interpreter *interpreter)
{
	const u32 distance = (interpreter->context - interpreter->thread) / sizeof(u64);

	if (distance >= STATE_WINDOW_WORDS)
		return 0;
	return (u64)tid | (u64)(index % INTERPRETERS) << 32 | (u64)(interpreter->outside & 15) << 40 |
	       (u64)distance << 44 | (u64)(interpreter->thread / sizeof(u64) * sizeof(u64)) << 48 |
	       (interpreter->unread ? SLOT_UNREAD : 0);
}

/* The context that the thread made for itself: the one that all others are returned to. 0: it has none, or could not
 * be read.
 */
static __always_inline u64 find_base(const struct interpreter *interpreter, u64 context)
{
	u32 entered = 0;

	for (u32 i = 0; i < CONTEXTS_MAX && context; i++) {
		if (bpf_probe_read_user(&entered, sizeof(entered), (void *)(context + interpreter->entered)))
			return 0;
		if (!entered)
			return context;
		if (bpf_probe_read_user(&context, sizeof(context), (void *)(context + interpreter->previous)))
			return 0;
	}
	return 0;
}

/* The state of a thread's greenlets. 0: it has none, or that is not known. */
static __always_inline u64 find_greenlets(const struct interpreter *interpreter, u64 thread)
{
	u64 table = 0, kept = 0, state = 0;

	if (!interpreter->greenlet_module)
		return 0;
	/* What is not there yet is no address either. */
	if (bpf_probe_read_user(&table, sizeof(table), (void *)(thread + THREAD_TABLE)) ||
	    bpf_probe_read_user(&kept, sizeof(kept),
				(void *)(table + (u64)interpreter->greenlet_module * THREAD_TABLE_ENTRY)) ||
	    bpf_probe_read_user(&state, sizeof(state), (void *)(kept + interpreter->greenlet_place)))
		return 0;
	/* 1: it is to be made when it is first needed. */
	return state > 1 ? state : 0;
}

/* An address with what tells the threads of a slot apart: it is written and read at once. */
static __always_inline u64 marked(u64 address, u32 tid)
{
	return address ? address | (u64)(tid / THREAD_SLOTS) << ADDRESS_BITS : 0;
}

/* Its number may be another one's. */
static __always_inline void forget_thread(u32 tid)
{
	struct thread_slot *known = &thread_slots[tid % THREAD_SLOTS];

	if ((u32)known->whose == tid)
		known->whose = 0;
}

/* The address in such a word. 0: there is none, or it is another thread's. */
static __always_inline u64 unmarked(u64 word, u32 tid)
{
	return word >> ADDRESS_BITS == tid / THREAD_SLOTS ? word & ((1ULL << ADDRESS_BITS) - 1) : 0;
}

/* What a known thread's state has been read for. It is judged some work later: what the kernel has just copied cannot be
 * had at once.
 */
struct glance {
	u64 whose;
	u64 base;
	u64 window[STATE_WINDOW_WORDS];
	bool is_read;
	bool is_told; /* nothing had to be read */
};

/* `accepted`: for a request that has come in. */
static __always_inline void glance_at(struct glance *glance, u64 id, bool accepted)
{
	const struct thread_slot *known = &thread_slots[(u32)id % THREAD_SLOTS];
	bool is_known;

	glance->whose = known->whose;
	glance->base = unmarked(known->base, id);
	is_known = (glance->whose & SLOT_OWNER) == ((u64)interpreter_of(id >> 32) << 32 | (u32)id);
	glance->is_told = is_known && accepted && glance->whose & SLOT_UNREAD;
	glance->is_read = is_known && !glance->is_told &&
			  !bpf_probe_read_user(glance->window, sizeof(glance->window),
					       (void *)(known->state + ((glance->whose & ~SLOT_UNREAD) >> 48)));
}

/* The context of the thread by the state that it had last time. UNREADABLE: it has another state. */
static __always_inline s64 known_context(const struct glance *glance, u64 thread)
{
	u32 distance = glance->whose >> 44 & 15;

	/* The verifier is to see it bounded, so the compiler must not look through it. */
	barrier_var(distance);
	/* A state that is let go loses its context before its memory can be another's (PyThreadState_Clear). */
	if (!glance->is_read || glance->window[0] != thread || distance >= STATE_WINDOW_WORDS)
		return UNREADABLE;
	return glance->window[distance];
}

/* By the table alone. Gives the context, or an error. */
static __always_inline s64 look_up_context(u32 index, struct thread_slot *known, u32 tid, u64 thread)
{
	const struct interpreter *interpreter = &interpreters[index % INTERPRETERS];
	u64 state = 0, context = 0;

	if (bpf_probe_read_user(&state, sizeof(state), (void *)(thread + interpreter->slot)))
		return UNREADABLE;
	/* A thread that never ran Python. */
	if (!state)
		return NO_STATE;
	if (bpf_probe_read_user(&context, sizeof(context), (void *)(state + interpreter->context)))
		return UNREADABLE;
	known->whose = 0;
	known->state = state;
	/* Greenlets have contexts of their own, which are not entered either and may go before the thread. */
	if (interpreter->outside == IDENTITY_GREENLET)
		known->base = marked(find_greenlets(interpreter, thread), tid);
	else
		known->base = marked(find_base(interpreter, context), tid);
	known->whose = slot_word(tid, index, interpreter);
	return context;
}

/* The kind of what was entered, by the one outside. */
static __always_inline u8 entered_by(u64 kind)
{
	return kind == IDENTITY_DEFERRED ? IDENTITY_ENTERED_LATER : IDENTITY_ENTERED;
}

/* Of what has not been entered: a greenlet is told by itself, if it can be. */
static __always_inline u64 not_entered(u64 kind, u32 index, u64 base, u32 tid, u64 thread, u64 context)
{
	u64 state, greenlet = 0;

	if (kind != IDENTITY_GREENLET)
		return kind << IDENTITY_SHIFT | context;
	state = unmarked(base, tid);
	if (unlikely(!state))
		state = find_greenlets(&interpreters[index % INTERPRETERS], thread);
	if (state)
		bpf_probe_read_user(&greenlet, sizeof(greenlet), (void *)(state + CURRENT_GREENLET));
	return kind << IDENTITY_SHIFT | (greenlet ? greenlet : context);
}

/* Gives the address of the thread's context with the kind (enum identity_kind) above it. `context`: see known_context. A
 * function of its own, so that the verifier looks at it once.
 */
__noinline u64 find_identity(u64 id, u64 thread, s64 context)
{
	const u32 index = interpreter_of(id >> 32);
	struct thread_slot *known = &thread_slots[(u32)id % THREAD_SLOTS];
	const struct interpreter *interpreter = &interpreters[index % INTERPRETERS];
	const u64 kind = interpreter->outside;
	u32 entered = 0;

	if (!index)
		return 0;
	if (unlikely(context == UNREADABLE))
		context = look_up_context(index, known, id, thread);
	if (context == NO_STATE)
		return 0;
	if (context == UNREADABLE)
		goto unreadable;
	if (!context)
		return not_entered(kind, index, known->base, id, thread, 0);
	if (bpf_probe_read_user(&entered, sizeof(entered), (void *)(context + interpreter->entered)))
		goto unreadable;
	if (entered)
		return (u64)entered_by(kind) << IDENTITY_SHIFT | context;
	/* A thread makes its own when it first needs one; a greenlet's is not the thread's. */
	if (kind != IDENTITY_GREENLET)
		known->base = marked(context, id);
	return not_entered(kind, index, known->base, id, thread, context);

unreadable:
	/* Not by a call, for which the stack has no room. */
	count_many(COUNTER_IDENTITY_UNREADABLE, 1);
	return (u64)IDENTITY_UNREADABLE << IDENTITY_SHIFT;
}

/* Gives the kind, and the context: of a known thread by the one guarded read that was a glance, or by none. */
static __always_inline u8 identity_in(const struct glance *glance, u64 id, u64 thread, u64 *context)
{
	const u64 kind = glance->whose >> 40 & 15;
	u64 found;
	s64 seen;

	if (glance->is_told) {
		*context = 0;
		return kind;
	}
	seen = known_context(glance, thread);
	/* What a thread made for itself stays until its end: another one is one that was entered. */
	if (likely(seen > 0 && glance->base && kind != IDENTITY_GREENLET)) {
		*context = seen;
		return glance->base != (u64)seen ? entered_by(kind) : kind;
	}
	found = find_identity(id, thread, seen);
	*context = found & ((1ULL << IDENTITY_SHIFT) - 1);
	return found >> IDENTITY_SHIFT;
}

static __always_inline u8 read_identity(u64 id, u64 thread, u64 *context)
{
	struct glance glance;

	glance_at(&glance, id, false);
	return identity_in(&glance, id, thread, context);
}

#endif
