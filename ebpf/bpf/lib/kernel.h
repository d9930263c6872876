/* The few kernel types that the programs read, declared as small as CO-RE allows: libbpf finds the real offsets
 * in the running kernel's BTF. Names and types are the kernel's own (include/linux, include/net).
 */
#ifndef STARDUST_PROBE_KERNEL_H
#define STARDUST_PROBE_KERNEL_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef signed short __s16;
typedef unsigned int __u32;
typedef signed int __s32;
typedef unsigned long long __u64;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u16 u16;
typedef __s32 s32;
typedef __u32 u32;
typedef __s64 s64;
typedef __u64 u64;
typedef _Bool bool;
typedef unsigned long size_t;

enum {
	false = 0,
	true = 1,
};

/* include/uapi/linux/bpf.h */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	BPF_F_MMAPABLE = 1024,
	BPF_SK_STORAGE_GET_F_CREATE = 1,
	BPF_RB_FORCE_WAKEUP = 2,
};

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct msghdr;
struct signal_struct {
	atomic_t live;
	int group_exit_code;
};

struct inode {
	u16 i_mode;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

/* Begins with 64 bits that are no pointer: as good as any to read such a word through. */
struct timespec64 {
	s64 tv_sec;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct thread_info {
	unsigned long flags;
	u32 status;
};

struct sched_entity {
	u64 exec_start;
	u64 sum_exec_runtime;
};

struct task_struct {
	struct thread_info thread_info;
	struct sched_entity se;
	unsigned int flags;
	int pid;
	int tgid;
	int exit_code;
	void *stack;
	struct files_struct *files;
	struct signal_struct *signal;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	u16 skc_num;
	unsigned short skc_family;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct socket;
struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u16 sk_protocol;
	u8 sk_shutdown;
	int sk_err;
	struct socket *sk_socket;
};

struct socket {
	struct file *file;
	struct sock *sk;
};

struct tcp_sock {
	u32 copied_seq;
	u32 rcv_nxt;
	u64 bytes_received;
	u32 write_seq;
	u32 snd_nxt;
	u64 bytes_sent;
	u64 tcp_clock_cache;
	struct {
		u64 time;
	} rcv_rtt_est;
};

/* What is put in the place of TCP's own handling of a connection's bytes (include/net/tcp.h). */
struct tcp_ulp_ops {
	char name[16];
};

/* The head of a struct tcp_sock. */
struct inet_connection_sock {
	const struct tcp_ulp_ops *icsk_ulp_ops;
	struct {
		u32 lrcvtime;
	} icsk_ack;
};

struct sockaddr_un {
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

struct trace_event_raw_sys_exit {
	long ret;
};

#pragma clang attribute pop

/* Since 6.2 (a35b9af4ec2c): what is read through the pointer it gives needs no helper call. 0 where it is missing. */
extern void *bpf_rdonly_cast(const void *object, u32 type) __ksym __weak;

/* A field of a kernel object. The tracing programs get typed pointers, which the verifier lets them follow for the
 * price of a load; a pointer found in another way takes a helper call for each field. `typed` is a constant.
 */
#define FIELD(typed, pointer, field) ((typed) ? (pointer)->field : BPF_CORE_READ(pointer, field))

/* A length that the verifier is to see bounded. Never true; the verifier cannot know, the compiler must not. */
static __always_inline u64 bounded(u64 length, u64 most)
{
	barrier_var(length);
	return length > most ? most : length;
}

/* As bpf_get_current_pid_tgid has it. */
static __always_inline u64 task_id(const struct task_struct *task)
{
	return (u64)(u32)task->tgid << 32 | (u32)task->pid;
}

/* Only probed for presence: each names a kernel feature (include/uapi/linux/bpf.h). */
enum bpf_func_id {
	BPF_FUNC_task_pt_regs = 175,
	BPF_FUNC_loop = 181,
};

enum errno_value {
	EINTR = 4,
	EAGAIN = 11,
	ENOTCONN = 107,
	EINPROGRESS = 115,
	ERESTARTSYS = 512,
	ERESTARTNOINTR = 513,
	ERESTARTNOHAND = 514,
	ERESTART_RESTARTBLOCK = 516,
	EIOCBQUEUED = 529,
};

enum message_flag {
	MSG_OOB = 0x1,
	MSG_PEEK = 0x2,
	MSG_ERRQUEUE = 0x2000,
};

/* include/net/tcp_states.h */
enum tcp_state {
	STATE_SYN_SENT = 2,
	STATE_FIN_WAIT1 = 4,
	STATE_CLOSE = 7,
	STATE_CLOSE_WAIT = 8,
	STATE_LAST_ACK = 9,
};

enum socket_type {
	SOCK_STREAM = 1,
};

/* include/net/sock.h */
enum shutdown_mask {
	SHUTDOWN_BOTH = 3,
};

enum ip_protocol {
	IPPROTO_TCP = 6,
	IPPROTO_MPTCP = 262,
};

#endif
