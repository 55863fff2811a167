/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is remembered of every socket, in the socket itself. */
#ifndef WEIR_SK_CTX_H
#define WEIR_SK_CTX_H

#include "owner.h"
#include "stats.h"

struct sk_ctx {
	struct owner opener, owner;
	__u64 t_open, t_syn, t_est, t_accept;
	__u64 t_attempt;     /* of a connect() that no SYN has followed, and where to */
	__u8 attempt_addr[16];
	/* payload before the probe, counted the way sock_rec counts it */
	__u64 base_sent, base_received;
	__u64 map_sent, map_received; /* see sockmap.h; 0 of a socket in no map */
	/* what the last snapshot said; of a listener sig_acked holds its queue */
	__u64 sig_acked, sig_received, sig_map;
	__u32 base_segs_out, base_segs_in, base_retrans, base_ooo, base_dups;
	__u32 sig_segs, sig_retrans, sig_tgid, sig_round;
	__u32 switches;
	__u32 accept_tgid;
	__u32 lock; /* taken by who writes owner: bpf_spin_lock is refused in tracing programs */
	__u32 netns; /* inode; datagram sockets only */
	__u16 flags;
	__u8 role;
	__u8 sig_state;
	__u8 sig_how;
	__u8 pad;
	__u16 attempt_port; /* host order */
	__u32 refused;      /* datagrams that a port unreachable came back for */
	__u32 sig_drops;    /* of a listener: no_room() as told */
	__u32 strays;       /* of a listener: see no_room() */
	__u32 pad2;
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

/* How many connections a listener had no room for. sk_drops is raised by what else is
 * dropped there, too (resets, repeated SYNs, nonsense), and twice where the last ACK
 * finds the accept queue full: drop.bpf.c counts those. */
static __always_inline __u32 no_room(struct sock *sk, struct sk_ctx *c)
{
	return sk->sk_drops.counter - c->strays;
}

static __always_inline bool is_inet(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	return family == AF_INET || family == AF_INET6;
}

/* The task-context fast path: nothing to do when the same process goes on. */
static __always_inline bool same_user(struct sk_ctx *c, struct task_struct *task)
{
	struct task_struct *leader = answers_for(task);

	return c->owner.how == HOW_IO && c->owner.tgid == (__u32)leader->tgid &&
	       c->owner.start == leader->start_boottime &&
	       c->owner.exec == (__u32)leader->self_exec_id;
}

static __always_inline void set_owner(struct sk_ctx *c, struct task_struct *task, enum owner_how how,
				      enum io_hook hook)
{
	struct task_struct *leader = answers_for(task);

	if (__sync_lock_test_and_set(&c->lock, 1)) {
		stat_add(STAT_OWNER_BUSY, 1); /* the next read or write sets it right */
		return;
	}
	if (c->owner.how == HOW_IO &&
	    (c->owner.tgid != (__u32)leader->tgid || c->owner.start != leader->start_boottime))
		c->switches++;
	capture(&c->owner, task, how);
	c->owner.hook = hook;
	if (!c->opener.tgid)
		c->opener = c->owner;
	if (how == HOW_ACCEPT) { /* the first read or write will say who, and forget this */
		c->t_accept = c->owner.at;
		c->accept_tgid = c->owner.tgid;
	}
	if (!c->netns) /* at the end of a process its namespaces go before its sockets */
		c->netns = task->nsproxy->net_ns->ns.inum;
	__sync_lock_test_and_set(&c->lock, 0);
}

#endif
