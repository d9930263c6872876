/* From a file descriptor of the current task to its file and socket. */
#ifndef STARDUST_PROBE_FILES_H
#define STARDUST_PROBE_FILES_H

#include "kernel.h"

enum file_mode {
	S_IFMT = 0170000,
	S_IFSOCK = 0140000,
};

/* NULL if the descriptor is not open. The pointer is only good for guarded reads. */
static __always_inline struct file *file_of(s32 fd)
{
	const struct fdtable *table = bpf_get_current_task_btf()->files->fdt;
	struct file *file = 0;

	if (fd < 0 || (u32)fd >= table->max_fds)
		return 0;
	if (bpf_ksym_exists(bpf_rdonly_cast)) {
		const struct timespec64 *place = bpf_rdonly_cast(table->fd + fd, bpf_core_type_id_kernel(struct timespec64));

		return (struct file *)place->tv_sec;
	}
	return bpf_probe_read_kernel(&file, sizeof(file), table->fd + fd) ? 0 : file;
}

/* NULL if the descriptor is not an open socket. The pointer is only good for guarded reads. */
static __always_inline struct socket *socket_of(s32 fd)
{
	struct file *file = file_of(fd);

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return BPF_CORE_READ(file, private_data);
}

/* The address of the descriptor's file, 0 if it is not open. A function of its own, so that the verifier looks at it
 * once.
 */
__noinline u64 file_at(s32 fd)
{
	return (u64)file_of(fd);
}

/* Whether the descriptor is the socket at this address. */
__noinline bool is_socket_at(s32 fd, u64 address)
{
	struct sock *sk = (struct sock *)address;
	const u64 file = file_at(fd);

	return file && (u64)BPF_CORE_READ(sk, sk_socket, file) == file;
}

static __always_inline bool is_socket(s32 fd, struct sock *sk)
{
	u64 address = 0;

	/* As a number, which is all that may be given on. */
	bpf_probe_read_kernel(&address, sizeof(address), &sk);
	return is_socket_at(fd, address);
}

#endif
