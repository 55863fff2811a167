/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sockets in a sockmap. What a BPF program redirects from one socket to another
 * passes no device and none of tcp_sock's counters: of such sockets, what the
 * application's own calls move is counted, from their first one in the map.
 *
 * Not seen: sockets before Linux 6.3, which has no tracepoint of a call's length;
 * sendfile() and splice() into one before 6.5, which are not sendmsg() there.
 */
#ifndef WEIR_SOCKMAP_H
#define WEIR_SOCKMAP_H

#include "tcp.h"

/* include/net/sock.h: the low bits of sk_user_data say what it points to */
#define SK_USER_DATA_PSOCK 4

static __always_inline bool in_sockmap(struct sock *sk)
{
	return (unsigned long)sk->sk_user_data & SK_USER_DATA_PSOCK;
}

/* A worker of the map sends from one socket what another one received: the socket
 * stays with its owner. */
static __always_inline bool by_worker(struct task_struct *task)
{
	return task->flags & PF_KTHREAD;
}

/* n more octets; the first count goes on from what passed before the socket came
 * into the map. */
static __always_inline void count_moved(__u64 *moved, __u64 before, __u32 n)
{
	if (before)
		__sync_val_compare_and_swap(moved, 0, before);
	__sync_fetch_and_add(moved, n);
}

/* Whether tcp_sock knows of the n octets of a first call cannot be told, but by
 * knowing less than n. Where it may, they are taken for known: of a latecomer up to
 * one call's octets can be missing, and none is counted twice. (A message that a
 * program sends in part over the wire is one call, too: there it can.) */
static __always_inline void count_sent(struct sock *sk, __u32 n)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct sk_ctx *c = ctx_lookup(sk);
	__u64 known;

	if (!tp || !c)
		return; /* datagrams are counted as packets */
	known = payload_written(tp, sk->__sk_common.skc_state, c->flags, WHEN_OPEN) - c->base_sent;
	count_moved(&c->map_sent, known < n ? known : known - n, n);
}

/* A verdict program takes octets out of the receive queue ahead of the reader: what
 * was read before a latecomer's first call is known only if it was less than that. */
static __always_inline void count_received(struct sock *sk, __u32 n)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct sk_ctx *c = ctx_lookup(sk);
	__u64 known;

	if (!tp || !c)
		return;
	known = payload_received(sk, tp) - payload_unread(sk, tp);
	count_moved(&c->map_received, known < n ? known : 0, n);
}

#endif
