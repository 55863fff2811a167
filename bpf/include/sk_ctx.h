/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is remembered of every socket, in the socket itself. */
#ifndef WEIR_SK_CTX_H
#define WEIR_SK_CTX_H

#include "owner.h"
#include "stats.h"

struct sk_ctx {
	struct owner opener, owner;
	__u64 t_open, t_syn, t_est;
	/* payload before the probe, counted the way sock_rec counts it */
	__u64 base_sent, base_received;
	/* what the last snapshot said */
	__u64 sig_acked, sig_received;
	__u32 base_segs_out, base_segs_in, base_retrans;
	__u32 sig_segs, sig_retrans, sig_tgid, sig_round;
	__u32 switches;
	__u32 lock; /* taken by who writes owner: bpf_spin_lock is refused in tracing programs */
	__u16 flags;
	__u8 role;
	__u8 sig_state;
	__u8 sig_how;
	__u8 pad[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct sk_ctx);
} sk_ctx SEC(".maps");

#define ctx_lookup(sk) ((struct sk_ctx *)bpf_sk_storage_get(&sk_ctx, sk, 0, 0))

/* a macro: sk is a struct sock or a struct bpf_sock, which the verifier tells apart */
#define ctx_create(sk)                                                                      \
	({                                                                                  \
		struct sk_ctx *c_ = bpf_sk_storage_get(&sk_ctx, sk, 0,                      \
						       BPF_SK_STORAGE_GET_F_CREATE);        \
		if (!c_)                                                                    \
			stat_add(STAT_NO_STORAGE, 1);                                       \
		c_;                                                                         \
	})

static __always_inline bool is_inet(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	return family == AF_INET || family == AF_INET6;
}

/* The task-context fast path: nothing to do when the same process goes on. */
static __always_inline bool same_user(struct sk_ctx *c, struct task_struct *task)
{
	return c->owner.how == HOW_IO && c->owner.tgid == (__u32)task->tgid &&
	       c->owner.start == task->group_leader->start_boottime;
}

static __always_inline void set_owner(struct sk_ctx *c, struct task_struct *task, enum owner_how how)
{
	if (__sync_lock_test_and_set(&c->lock, 1)) {
		stat_add(STAT_OWNER_BUSY, 1); /* the next read or write sets it right */
		return;
	}
	if (c->owner.how == HOW_IO &&
	    (c->owner.tgid != (__u32)task->tgid || c->owner.start != task->group_leader->start_boottime))
		c->switches++;
	capture(&c->owner, task, how);
	if (!c->opener.tgid)
		c->opener = c->owner;
	__sync_lock_test_and_set(&c->lock, 0);
}

#endif
