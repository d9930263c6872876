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
	struct file **slots, *file = 0;
	u32 most;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		/* Since 5.11: a typed pointer (see FIELD). */
		const struct fdtable *table = bpf_get_current_task_btf()->files->fdt;

		most = table->max_fds;
		slots = table->fd;
	} else {
		struct task_struct *task = (struct task_struct *)bpf_get_current_task();
		const struct fdtable *table = BPF_CORE_READ(task, files, fdt);

		most = BPF_CORE_READ(table, max_fds);
		slots = BPF_CORE_READ(table, fd);
	}
	if (fd < 0 || (u32)fd >= most || bpf_probe_read_kernel(&file, sizeof(file), slots + fd))
		return 0;
	return file;
}

/* NULL if the descriptor is not an open socket. The pointer is only good for guarded reads. */
static __always_inline struct socket *socket_of(s32 fd)
{
	struct file *file = file_of(fd);

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return BPF_CORE_READ(file, private_data);
}

/* Whether the descriptor is this socket. */
static __always_inline bool is_socket(s32 fd, struct sock *sk, bool typed)
{
	struct socket *socket = FIELD(typed, sk, sk_socket);
	struct file *file = file_of(fd);

	return file && socket && FIELD(typed, socket, file) == file;
}

#endif
