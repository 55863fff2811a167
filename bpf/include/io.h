/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who reads and writes a socket. */
#ifndef WEIR_IO_H
#define WEIR_IO_H

#include "tcp.h"
#include "sockmap.h"

static __always_inline void note_io(struct sock *sk, enum io_hook hook)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sk_ctx *c = ctx_lookup(sk);
	struct tcp_sock *tp;

	if (c) {
		if (same_user(c, task))
			return;
	} else {
		/* older than the probe: it waited in an accept queue, say */
		c = ctx_create(sk);
		if (!c)
			return;
		tp = bpf_skc_to_tcp_sock(sk);
		if (tp)
			set_baseline(c, sk, tp);
		else
			c->flags |= F_HAS_PEER;
	}
	set_owner(c, task, HOW_IO, hook);
}

/* Whether it is `current` who reads where tcp_rcv_space_adjust is called. What a protocol
 * above TCP (kernel TLS, a sockmap's parser) takes out of the queue by itself it takes in
 * softirq, where nobody has locked the socket, or a worker does it. */
static __always_inline bool current_reads(struct sock *sk)
{
	struct tcp_sock *tp;

	if (!sk->sk_lock.owned)
		return false;
	if (!by_worker(bpf_get_current_task_btf()))
		return true;
	tp = bpf_skc_to_tcp_sock(sk);
	return tp && !tp->inet_conn.icsk_ulp_ops;
}

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

/* Whether tcp_rcv_space_adjust has told who reads: it has in tcp_recvmsg, but kernel TLS
 * may have what it gives the reader since before. */
static __always_inline bool read_told(struct sock *sk)
{
	struct inet_connection_sock *icsk;

	if (sk->sk_protocol != IPPROTO_TCP)
		return false;
	icsk = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct inet_connection_sock));
	return !icsk->icsk_ulp_ops;
}

#endif
