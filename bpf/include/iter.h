/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The iterators of the socket path: what is there, as opposed to what happens.
 * They run in the reader's context and see all network namespaces. */
#ifndef WEIR_ITER_H
#define WEIR_ITER_H

#include "tcp.h"
#include "events.h"

/* processes that hold a listener, written by the first pass of the bootstrap */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u8);
} listener_tgids SEC(".maps");

static __always_inline bool unchanged(struct sk_ctx *c, struct tcp_sock *tp, __u8 state, __u32 round)
{
	return c->sig_round == round && c->sig_state == state && c->sig_acked == tp->bytes_acked &&
	       c->sig_received == tp->bytes_received && c->sig_segs == tp->segs_out + tp->segs_in &&
	       c->sig_retrans == tp->total_retrans && c->sig_tgid == c->owner.tgid &&
	       c->sig_how == c->owner.how && c->sig_map == c->map_sent + c->map_received;
}

static __always_inline void snapshot_listener(struct seq_file *seq, struct sock *sk,
					      struct tcp_sock *tp, struct sk_ctx *c,
					      struct sock_rec *r)
{
	__u64 queue = (__u64)sk->sk_max_ack_backlog << 32 | sk->sk_ack_backlog;

	if (c->flags & F_LISTED && no_room(sk, c) == c->sig_drops && queue == c->sig_acked)
		return;
	c->role = ROLE_LISTENER;
	fill_sock(r, REC_SOCK_SNAPSHOT, sk, tp, c, TCP_LISTEN);
	if (!bpf_seq_write(seq, r, sizeof(*r))) {
		c->flags |= F_LISTED;
		c->sig_drops = r->drops;
		c->sig_acked = (__u64)r->backlog << 32 | r->waiting;
	}
}

static __always_inline void snapshot(struct seq_file *seq, struct sock *sk, struct sk_ctx *c)
{
	struct tcp_sock *tp;
	struct sock_rec *r;
	__u32 zero = 0, round, *rounds;
	__u64 moved;
	__u8 state;

	state = sk->__sk_common.skc_state;
	tp = bpf_skc_to_tcp_sock(sk);
	r = bpf_map_lookup_elem(&scratch, &zero);
	rounds = bpf_map_lookup_elem(&snapshots, &zero);
	if (!tp || !r || !rounds || state == TCP_CLOSE || c->lock)
		return;
	round = *rounds;
	if (state == TCP_LISTEN) {
		snapshot_listener(seq, sk, tp, c, r);
		return;
	}
	if (!(c->t_syn || c->flags & F_BASELINE) || unchanged(c, tp, state, round))
		return;
	if (c->role == ROLE_UNKNOWN)
		c->role = role_by_sequence(tp, state, WHEN_OPEN);
	moved = c->map_sent + c->map_received;
	fill_sock(r, REC_SOCK_SNAPSHOT, sk, tp, c, state);
	if (sk->__sk_common.skc_state != state)
		return; /* it moved on meanwhile: next time */
	/* A full buffer makes the kernel show this socket again: only what was
	 * written has been said. */
	if (bpf_seq_write(seq, r, sizeof(*r)))
		return;
	c->sig_round = round;
	c->sig_state = state;
	c->sig_acked = tp->bytes_acked;
	c->sig_received = tp->bytes_received;
	c->sig_segs = tp->segs_out + tp->segs_in;
	c->sig_retrans = tp->total_retrans;
	c->sig_tgid = r->owner.tgid;
	c->sig_how = r->owner.how;
	c->sig_map = moved;
}

SEC("iter/bpf_sk_storage_map")
int snapshot_tcp(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct sk_ctx *c = ctx->value;

	if (sk && c && sk->sk_protocol == IPPROTO_TCP)
		snapshot(ctx->meta->seq, sk, c);
	return 0;
}

static __always_inline void datagram_owner(struct seq_file *seq, struct sock *sk, struct sk_ctx *c)
{
	struct dgram_rec *r;
	__u32 zero = 0;

	if (!(c->flags & F_HAS_PEER))
		return;
	r = bpf_map_lookup_elem(&scratch, &zero);
	if (!r)
		return;
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_DGRAM_OWNER;
	r->hdr.len = sizeof(*r);
	r->cookie = bpf_get_socket_cookie(sk);
	r->opener = c->opener;
	r->owner = c->owner;
	r->netns = sk->__sk_common.skc_net.net->ns.inum;
	r->switches = c->switches;
	r->refused = c->refused;
	r->pad = 0;
	bpf_seq_write(seq, r, sizeof(*r));
}

SEC("iter/bpf_sk_storage_map")
int datagram_owners(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct sk_ctx *c = ctx->value;

	if (sk && c && sk->sk_protocol != IPPROTO_TCP)
		datagram_owner(ctx->meta->seq, sk, c);
	return 0;
}

static __always_inline struct sock *iter_sock(struct file *file)
{
	struct socket *s;
	struct sock *sk;

	if (!file)
		return 0;
	s = bpf_sock_from_file(file);
	if (!s)
		return 0;
	sk = s->sk;
	return sk && is_inet(sk) ? sk : 0;
}

/* Both of the above where a kernel does not let the storage be iterated: the sockets
 * that stand in somebody's descriptor table. Not reached are connections nobody has
 * accepted yet, those that nobody holds any more, the kernel's own and the subflows
 * of MPTCP: their ends are told by events. */
SEC("iter/task_file")
int snapshot_files(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = iter_sock(ctx->file);
	struct sk_ctx *c = sk && sk->sk_protocol == IPPROTO_TCP ? ctx_lookup(sk) : 0;

	if (c)
		snapshot(ctx->meta->seq, sk, c);
	return 0;
}

SEC("iter/task_file")
int datagram_files(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = iter_sock(ctx->file);
	struct sk_ctx *c = sk && sk->sk_protocol != IPPROTO_TCP ? ctx_lookup(sk) : 0;

	if (c)
		datagram_owner(ctx->meta->seq, sk, c);
	return 0;
}

/* first pass of the bootstrap: who holds a listener */
SEC("iter/task_file")
int find_listeners(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = iter_sock(ctx->file);
	__u32 tgid;
	__u8 one = 1;

	if (!sk || !task || sk->__sk_common.skc_state != TCP_LISTEN)
		return 0;
	tgid = task->tgid;
	bpf_map_update_elem(&listener_tgids, &tgid, &one, BPF_ANY);
	return 0;
}

/* Of several holders of one descriptor: who does not also hold a listener (a
 * server forked to serve this connection), and of those the oldest (a child
 * that merely inherited it is younger). A listener itself goes to the youngest,
 * so that a service wins over the systemd that passed it the socket. */
static __always_inline bool better(struct sk_ctx *c, struct task_struct *task, bool listener)
{
	__u64 start = task->group_leader->start_boottime;
	__u32 old = c->owner.tgid, new = task->tgid;
	bool old_listens, new_listens;

	if (listener)
		return start > c->owner.start;
	old_listens = bpf_map_lookup_elem(&listener_tgids, &old);
	new_listens = bpf_map_lookup_elem(&listener_tgids, &new);
	if (old_listens != new_listens)
		return old_listens;
	return start < c->owner.start;
}

/* The subflow that listens has no descriptor and cannot be reached from here:
 * tell of the MPTCP socket in its place, as its end will be told. Go programs
 * listen this way by default. */
static __always_inline void bootstrap_mptcp_listener(struct bpf_iter__task_file *ctx,
						     struct task_struct *task, struct sock *sk)
{
	struct sock_rec *r;
	__u32 zero = 0;

	r = bpf_map_lookup_elem(&scratch, &zero);
	if (!r)
		return;
	__builtin_memset(r, 0, sizeof(*r));
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_SOCK_SNAPSHOT;
	r->hdr.len = sizeof(*r);
	r->cookie = bpf_get_socket_cookie(sk);
	capture(&r->owner, task, HOW_BOOTSTRAP);
	r->opener = r->owner;
	fill_tuple(r, sk);
	r->lport = sk->__sk_common.skc_num;
	r->role = ROLE_LISTENER;
	r->state = TCP_LISTEN;
	r->flags = F_BASELINE;
	bpf_seq_write(ctx->meta->seq, r, sizeof(*r));
}

/* second pass: fills what is empty and nothing else */
SEC("iter/task_file")
int bootstrap_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = iter_sock(ctx->file);
	struct tcp_sock *tp;
	struct sk_ctx *c;

	if (!sk || !task)
		return 0;
	if (sk->sk_protocol == IPPROTO_MPTCP) {
		if (sk->__sk_common.skc_state == TCP_LISTEN)
			bootstrap_mptcp_listener(ctx, task, sk);
		return 0;
	}
	c = ctx_lookup(sk);
	if (c) {
		if (c->owner.how != HOW_BOOTSTRAP)
			return 0;
		if (better(c, task, c->role == ROLE_LISTENER))
			capture(&c->owner, task, HOW_BOOTSTRAP);
		if (task->group_leader->start_boottime < c->opener.start)
			capture(&c->opener, task, HOW_BOOTSTRAP);
		return 0;
	}
	c = ctx_create(sk);
	if (!c)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp)
		set_baseline(c, sk, tp);
	else
		c->flags |= F_HAS_PEER;
	capture(&c->owner, task, HOW_BOOTSTRAP);
	c->opener = c->owner;
	return 0;
}

#endif
