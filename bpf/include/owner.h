/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Who a task is. Only for programs that run in the context of the task they
 * speak of: in softirq `current` is whoever was interrupted, on loopback the
 * other end of the connection.
 */
#ifndef WEIR_OWNER_H
#define WEIR_OWNER_H

#include "wire.h"

/* id of the task's cgroup in the v1 memory hierarchy, 0 where memory is on v2 */
static __always_inline __u64 cgroup_v1_id(struct task_struct *task)
{
	struct cgroup_subsys_state *css;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return 0;
	css = task->cgroups->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)];
	if (!css || css->cgroup->root->hierarchy_id == 0)
		return 0;
	return css->cgroup->kn->id;
}

static __always_inline void copy_comm(__u8 *dst, struct task_struct *leader)
{
	/* byte loads need no bpf_probe_read_kernel, which lockdown may refuse */
#pragma unroll
	for (int i = 0; i < TASK_COMM_LEN; i++)
		dst[i] = leader->comm[i];
}

/*
 * Who answers for a task: its thread group leader, whose comm, start and image are
 * the process's. Kernel threads are all the kernel: a socket of NFS or WireGuard
 * is used by whichever worker happens to run, and each would look like another
 * process; kthreadd, the parent of all of them, stands for them.
 */
static __always_inline struct task_struct *answers_for(struct task_struct *task)
{
	return task->flags & PF_KTHREAD ? task->real_parent : task->group_leader;
}

static __always_inline void capture(struct owner *o, struct task_struct *task, enum owner_how how)
{
	struct task_struct *leader = answers_for(task);

	o->start = leader->start_boottime;
	o->tgid = leader->tgid;
	o->exec = leader->self_exec_id;
	o->uid = task->cred->uid.val;
	o->cgroup_v2 = task->cgroups->dfl_cgrp->kn->id;
	o->cgroup_v1 = cgroup_v1_id(task);
	if (task->flags & PF_KTHREAD) {
		__builtin_memset(o->comm, 0, sizeof(o->comm));
		o->comm[0] = 'k'; /* one by one: a literal would become a .rodata map */
		o->comm[1] = 'e';
		o->comm[2] = 'r';
		o->comm[3] = 'n';
		o->comm[4] = 'e';
		o->comm[5] = 'l';
	} else {
		copy_comm(o->comm, leader);
	}
	o->how = how;
	o->hook = HOOK_NONE;
	o->at = bpf_ktime_get_boot_ns();
}

#endif
