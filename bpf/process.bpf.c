//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Processes and cgroups: who is behind an owner. A ring buffer of its own, so
 * that a flood of connections cannot starve identity. Arguments of tracepoints
 * grow from kernel to kernel: only leading ones are read.
 */
#include "owner.h"
#include "stats.h"
#include "ring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PROCEV_SIZE (1 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, PROCEV_SIZE);
} procev SEC(".maps");

union proc_scratch {
	struct proc_rec proc;
	struct cgroup_rec cgroup;
};

/* One element per program: each may be interrupted by another, never by itself. */
enum { SCRATCH_EXEC, SCRATCH_MKDIR, SCRATCH_RMDIR, SCRATCH_ITER, SCRATCH_ITER_SLEEPABLE, SCRATCH_MAX };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_MAX);
	__type(key, __u32);
	__type(value, union proc_scratch);
} proc_scratch SEC(".maps");

/* Rounded up so that the next record of a stream is aligned; the octets between
 * are whatever the scratch held. */
#define ALIGN8(n) (((n) + 7) & ~7u)

static __always_inline void fill_task(struct proc_rec *r, __u32 type, struct task_struct *task)
{
	struct task_struct *parent = task->real_parent;

	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = type;
	r->hdr.len = __builtin_offsetof(struct proc_rec, data);
	capture(&r->who, task, HOW_NONE);
	/* each kernel thread by itself, unlike what they do to sockets */
	r->who.tgid = task->tgid;
	r->who.start = task->group_leader->start_boottime;
	r->parent_tgid = parent->tgid;
	r->parent_start = parent->group_leader->start_boottime;
	r->filename_len = r->exe_len = r->cmdline_len = 0;
}

/* length without the NUL of what bpf_probe_read_*_str returned, at most max-1 */
static __always_inline __u32 str_len(long n, __u32 max)
{
	if (n <= 1)
		return 0;
	return n > max ? max - 1 : n - 1;
}

static __always_inline __u32 read_exe(struct proc_rec *r, __u32 off, struct task_struct *task)
{
	const unsigned char *name;

	if (!task->mm || off > FILENAME_MAX_LEN)
		return 0;
	name = task->mm->exe_file->f_path.dentry->d_name.name;
	return str_len(bpf_probe_read_kernel_str(r->data + off, EXE_MAX_LEN, name), EXE_MAX_LEN);
}

static __always_inline __u32 args_len(struct mm_struct *mm)
{
	__u64 start = mm->arg_start, end = mm->arg_end;

	if (!start || end <= start)
		return 0;
	return end - start > CMDLINE_MAX_LEN ? CMDLINE_MAX_LEN : end - start;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(sched_process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 key = SCRATCH_EXEC, file_len, exe_len, args, off, len;
	struct proc_rec *r = bpf_map_lookup_elem(&proc_scratch, &key);

	if (!r)
		return 0;
	fill_task(r, REC_PROC_EXEC, task);
	file_len = str_len(bpf_probe_read_kernel_str(r->data, FILENAME_MAX_LEN, bprm->filename),
			   FILENAME_MAX_LEN);
	exe_len = read_exe(r, file_len, task);
	off = file_len + exe_len;
	args = 0;
	if (task->mm)
		args = args_len(task->mm);
	if (off > FILENAME_MAX_LEN + EXE_MAX_LEN || args > CMDLINE_MAX_LEN)
		return 0; /* cannot be: for the verifier */
	/* the arguments were written by this very execve: their pages are present */
	if (args && bpf_probe_read_user(r->data + off, args, (void *)task->mm->arg_start))
		args = 0;
	r->filename_len = file_len;
	r->exe_len = exe_len;
	r->cmdline_len = args;
	len = ALIGN8(__builtin_offsetof(struct proc_rec, data) + off + args);
	r->hdr.len = len;
	if (len > sizeof(*r))
		return 0;
	if (bpf_ringbuf_output(&procev, r, len, wakeup_flag(&procev, PROCEV_SIZE)))
		stat_add(STAT_LOST_PROCESS, 1);
	return 0;
}

/* records without strings are built in place */
static __always_inline int emit_task(__u32 type, struct task_struct *task)
{
	struct proc_rec *r =
		bpf_ringbuf_reserve(&procev, __builtin_offsetof(struct proc_rec, data), 0);

	if (!r) {
		stat_add(STAT_LOST_PROCESS, 1);
		return 0;
	}
	fill_task(r, type, task);
	__builtin_memset(r->pad, 0, sizeof(r->pad));
	bpf_ringbuf_submit(r, wakeup_flag(&procev, PROCEV_SIZE));
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	if (child->pid != child->tgid)
		return 0; /* a thread */
	return emit_task(REC_PROC_FORK, child);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_process_exit, struct task_struct *task)
{
	/* do_exit() has already counted this thread out: the last one sees 0,
	 * whether or not it is the group leader. Two threads that end at once may
	 * both see it; the second record says nothing new. */
	if (task->signal->live.counter != 0)
		return 0;
	return emit_task(REC_PROC_EXIT, task);
}

static __always_inline int emit_cgroup(__u32 key, __u32 type, struct cgroup *cgrp, const char *path)
{
	struct cgroup_rec *r = bpf_map_lookup_elem(&proc_scratch, &key);
	__u32 len;

	if (!r)
		return 0;
	r->unified = cgrp->root->hierarchy_id == 0;
	if (!r->unified) {
		/* v1: ids are unique in their hierarchy only, and owners carry that
		 * of the memory hierarchy */
		if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
			return 0;
		if (!(cgrp->root->subsys_mask &
		      (1u << bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id))))
			return 0;
	}
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = type;
	r->id = cgrp->kn->id;
	r->path_len = str_len(bpf_probe_read_kernel_str(r->path, CGROUP_PATH_MAX, path), CGROUP_PATH_MAX);
	len = ALIGN8(__builtin_offsetof(struct cgroup_rec, path) + r->path_len);
	r->hdr.len = len;
	if (len > sizeof(*r))
		return 0;
	if (bpf_ringbuf_output(&procev, r, len, wakeup_flag(&procev, PROCEV_SIZE)))
		stat_add(STAT_LOST_CGROUP, 1);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_mkdir, struct cgroup *cgrp, const char *path)
{
	return emit_cgroup(SCRATCH_MKDIR, REC_CGROUP_CREATED, cgrp, path);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_rmdir, struct cgroup *cgrp, const char *path)
{
	return emit_cgroup(SCRATCH_RMDIR, REC_CGROUP_REMOVED, cgrp, path);
}

/* ---- iterators: what runs already ---- */

static __always_inline void write_self(struct bpf_iter__task *ctx, struct proc_rec *r)
{
	/* whoever reads an iterator is its current task: the probe learns its own
	 * pid in the initial pid namespace */
	fill_task(r, REC_SELF, bpf_get_current_task_btf());
	bpf_seq_write(ctx->meta->seq, r, __builtin_offsetof(struct proc_rec, data));
}

static __always_inline bool is_process(struct task_struct *task)
{
	return task->pid == task->tgid && !(task->flags & PF_KTHREAD);
}

SEC("iter.s/task")
int existing_sleepable(struct bpf_iter__task *ctx)
{
	__u32 key = SCRATCH_ITER_SLEEPABLE, exe_len, args = 0, len;
	struct task_struct *task = ctx->task;
	struct proc_rec *r = bpf_map_lookup_elem(&proc_scratch, &key);

	if (!task || !r)
		return 0;
	if (ctx->meta->seq_num == 0)
		write_self(ctx, r);
	if (!is_process(task))
		return 0;
	fill_task(r, REC_PROC_EXISTING, task);
	exe_len = read_exe(r, 0, task);
	if (task->mm)
		args = args_len(task->mm);
	if (exe_len > EXE_MAX_LEN || args > CMDLINE_MAX_LEN)
		return 0; /* cannot be: for the verifier */
	if (args && bpf_copy_from_user_task(r->data + exe_len, args, (void *)task->mm->arg_start, task, 0))
		args = 0;
	r->exe_len = exe_len;
	r->cmdline_len = args;
	len = ALIGN8(__builtin_offsetof(struct proc_rec, data) + exe_len + args);
	r->hdr.len = len;
	if (len > sizeof(*r))
		return 0;
	bpf_seq_write(ctx->meta->seq, r, len);
	return 0;
}

/* kernels before 5.18: no command lines */
SEC("iter/task")
int existing(struct bpf_iter__task *ctx)
{
	__u32 key = SCRATCH_ITER, exe_len, len;
	struct task_struct *task = ctx->task;
	struct proc_rec *r = bpf_map_lookup_elem(&proc_scratch, &key);

	if (!task || !r)
		return 0;
	if (ctx->meta->seq_num == 0)
		write_self(ctx, r);
	if (!is_process(task))
		return 0;
	fill_task(r, REC_PROC_EXISTING, task);
	exe_len = read_exe(r, 0, task);
	r->exe_len = exe_len;
	len = ALIGN8(__builtin_offsetof(struct proc_rec, data) + exe_len);
	r->hdr.len = len;
	if (exe_len > EXE_MAX_LEN || len > sizeof(*r))
		return 0;
	bpf_seq_write(ctx->meta->seq, r, len);
	return 0;
}
