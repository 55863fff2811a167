/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the state changes of a TCP socket mean. "task" and "softirq" say in whose
 * context each was measured to run. */
#ifndef WEIR_TCP_LIFE_H
#define WEIR_TCP_LIFE_H

#include "tcp.h"
#include "events.h"

/* task */
static __always_inline void on_syn_sent(struct sock *sk)
{
	struct sk_ctx *c = ctx_create(sk);
	__u64 open;

	if (!c)
		return;
	/* a socket may be connected again after connect(AF_UNSPEC) */
	open = c->t_open;
	__builtin_memset(c, 0, sizeof(*c));
	c->t_syn = bpf_ktime_get_boot_ns();
	c->t_open = open ?: c->t_syn;
	c->role = ROLE_CLIENT;
	c->flags = F_SYN_COUNTED;
	capture(&c->owner, bpf_get_current_task_btf(), HOW_CONNECT);
	c->opener = c->owner;
}

/* task */
static __always_inline void on_listen(struct sock *sk)
{
	struct sk_ctx *c = ctx_create(sk);
	struct tcp_sock *tp;
	struct sock_rec *r;

	if (!c)
		return;
	c->role = ROLE_LISTENER;
	c->flags = 0;
	capture(&c->owner, bpf_get_current_task_btf(), HOW_CONNECT);
	c->opener = c->owner;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !sk->__sk_common.skc_num)
		return; /* listen() without bind(): the port comes later, the snapshot tells */
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		stat_add(STAT_LOST_LISTEN, 1);
		return;
	}
	c->flags = F_LISTED;
	fill_sock(r, REC_SOCK_SNAPSHOT, sk, tp, c, TCP_LISTEN);
	bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
}

/* softirq: the listener's storage has just been cloned into the new child */
static __always_inline void on_child(struct sock *sk)
{
	struct sk_ctx *c = ctx_create(sk);
	struct owner listener;

	if (!c)
		return;
	listener = c->owner;
	listener.how = listener.tgid ? HOW_LISTENER : HOW_NONE;
	__builtin_memset(c, 0, sizeof(*c));
	c->opener = listener; /* as of when it was learnt to listen */
	c->owner = listener;
	c->role = ROLE_SERVER;
	c->t_open = c->t_syn = bpf_ktime_get_boot_ns();
	c->owner.at = c->t_open;
}

/* How snapshots are taken, written by user space. */
enum snapshot_setting {
	/* raised to be told of every socket again, also of those that did nothing,
	 * after the end of some was lost */
	SNAPSHOT_ROUND,
	/* they go by descriptors, in which nobody has what waits to be accepted */
	SNAPSHOT_BY_FILES,
	SNAPSHOT_SETTINGS,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SNAPSHOT_SETTINGS);
	__type(key, __u32);
	__type(value, __u32);
} snapshots SEC(".maps");

/* softirq */
static __always_inline void tell_unaccepted(struct sock *sk, struct sk_ctx *c)
{
	__u32 i = SNAPSHOT_BY_FILES, *by_files = bpf_map_lookup_elem(&snapshots, &i);
	struct tcp_sock *tp;
	struct sock_rec *r;

	if (!by_files || !*by_files)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		stat_add(STAT_LOST_LISTEN, 1);
		return;
	}
	fill_sock(r, REC_SOCK_SNAPSHOT, sk, tp, c, TCP_ESTABLISHED);
	bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
}

/* softirq */
static __always_inline void on_established(struct sock *sk)
{
	struct sk_ctx *c = ctx_lookup(sk);

	if (c && !c->t_est && c->t_syn) {
		c->t_est = bpf_ktime_get_boot_ns();
		if (c->role == ROLE_SERVER)
			tell_unaccepted(sk, c);
	}
}

/* softirq */
static __always_inline void on_listen_end(struct sock *sk)
{
	struct dgram_rec *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);

	if (!r) {
		stat_add(STAT_LOST_LISTEN, 1);
		return;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_LISTEN_END;
	r->hdr.len = sizeof(*r);
	r->cookie = bpf_get_socket_cookie(sk);
	bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
}

/* softirq */
static __always_inline void on_close(struct sock *sk, __u8 oldstate)
{
	struct sk_ctx *c;
	struct tcp_sock *tp;
	struct sock_rec *r;

	if (oldstate == TCP_CLOSE)
		return;
	if (oldstate == TCP_LISTEN) {
		on_listen_end(sk);
		return;
	}
	c = ctx_lookup(sk);
	if (!c) {
		/* Older than the probe and in nobody's descriptor table, or the
		 * storage could not be had: what it carried before us is unknown. */
		stat_add(STAT_CLOSE_NO_CONTEXT, 1);
		return;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || !(c->t_syn || c->flags & F_BASELINE))
		return;
	if (c->role == ROLE_UNKNOWN)
		c->role = role_by_sequence(tp, oldstate, WHEN_CLOSING);
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		stat_add(STAT_LOST_CLOSED, 1);
		return;
	}
	fill_sock(r, REC_SOCK_CLOSED, sk, tp, c, oldstate);
	bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
	/* the struct sock may live on and be connected again */
	c->t_syn = c->t_est = 0;
	c->flags = 0;
}

#endif
