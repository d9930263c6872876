/* What the kernel knows of the times around a call: how long its thread has run, and when the bytes came that it reads.
 */
#ifndef STARDUST_PROBE_TIMING_H
#define STARDUST_PROBE_TIMING_H

#include "connection.h"
#include "python.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct rq {
	u64 clock;
	u64 clock_task;
};

struct cfs_rq {
	struct rq *rq;
};

/* With CONFIG_FAIR_GROUP_SCHED, which what limits containers needs. */
struct sched_entity___group {
	struct cfs_rq *cfs_rq;
};
#pragma clang attribute pop

/* What the running thread has run, less the clock: with CLOCK_MONOTONIC added, its CPU time from some moment on.
 * `added_up_at`: its `se.exec_start`.
 *
 * The scheduler adds up at ticks and switches (update_curr in kernel/sched/fair.c); since then the thread has been
 * running, as it is running now. The scheduler's clock stands still while the CPU is the hypervisor's or handles
 * interrupts, each CPU's for itself (update_rq_clock_task in kernel/sched/core.c): that is taken off.
 */
static __always_inline u64 ran_less_clock(const struct task_struct *task, u64 added_up_at)
{
	const struct sched_entity___group *entity = (const void *)&task->se;
	u64 ran = task->se.sum_exec_runtime - added_up_at;
	const struct rq *rq;

	if (bpf_core_field_exists(entity->cfs_rq)) {
		rq = entity->cfs_rq->rq;
		ran -= rq->clock - rq->clock_task;
	}
	return ran;
}

/* Whether the thread has run all the time since its last call, so far as is known. */
static __always_inline bool has_run_on(u32 tid, u64 added_up_at)
{
	u64 *last = &thread_slots[tid % THREAD_SLOTS].added_up_at;
	const bool same = *last == added_up_at;

	if (!same)
		*last = added_up_at;
	return same;
}

/* CLOCK_MONOTONIC when the bytes of a send that is through were given to the network, which the kernel has just read to
 * pace them (tcp_mstamp_refresh in net/ipv4/tcp_output.c); 0: some of them wait, or it is not TCP. Reading the clock once
 * more costs as much as all else that is read of the socket.
 */
static __always_inline u64 sent_ns(struct sock *sk)
{
	const struct tcp_sock *tcp = tcp_sock_of(sk);

	return tcp && tcp->snd_nxt == tcp->write_seq ? tcp->tcp_clock_cache : 0;
}

/* After a read of some bytes; `begins`: they are the connection's first. What of it is exact is the time at which the
 * connection's first data came: it starts a measurement that lasts for a whole window (tcp_rcv_rtt_measure in
 * net/ipv4/tcp_input.c).
 */
static __always_inline void read_arrival(struct sock *sk, bool begins, struct arrival *arrival)
{
	const struct tcp_sock *tcp = tcp_sock_of(sk);

	if (!tcp)
		return;
	if (begins)
		arrival->first_us = tcp->rcv_rtt_est.time;
	arrival->ticks = (u32)bpf_jiffies64() - ((const struct inet_connection_sock *)tcp)->icsk_ack.lrcvtime;
	arrival->is_known = true;
}

#endif
