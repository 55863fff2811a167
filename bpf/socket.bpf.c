//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The socket path: who opened, accepted and uses every socket, and what it did.
 * State lives in the socket (sk_ctx). User space gets one record when a socket
 * ends, and of the long-lived ones a snapshot when something changed.
 *
 * Which hook runs in whose context is measured, not assumed: only those marked
 * "task" may look at `current` (owner.h).
 */
#include "sk_ctx.h"
#include "tcp.h"
#include "tcp_life.h"
#include "peer.h"
#include "iter.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool is_datagram(__u32 protocol)
{
	return protocol == IPPROTO_UDP || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state, struct sock *sk, int oldstate, int newstate)
{
	if (sk->sk_protocol != IPPROTO_TCP) {
		/* An MPTCP socket's subflows are TCP sockets that come here by
		 * themselves; only a listener found at the start is known by the
		 * cookie of the MPTCP socket (bootstrap_mptcp_listener). */
		if (sk->sk_protocol == IPPROTO_MPTCP && oldstate == TCP_LISTEN)
			on_listen_end(sk);
		return 0;
	}
	switch (newstate) {
	case TCP_SYN_SENT:
		on_syn_sent(sk);
		break;
	case TCP_LISTEN:
		on_listen(sk);
		break;
	case TCP_SYN_RECV:
		if (oldstate == TCP_LISTEN)
			on_child(sk);
		break;
	case TCP_ESTABLISHED:
		on_established(sk);
		break;
	case TCP_CLOSE:
		on_close(sk, oldstate);
		break;
	}
	return 0;
}

/* ---- who uses it: task context, all of them ---- */

static __always_inline void note_io(struct sock *sk)
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
	set_owner(c, task, HOW_IO);
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(tcp_rcv_space_adjust, struct sock *sk)
{
	note_io(sk);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sock_send_length, struct sock *sk, int ret)
{
	if (ret > 0 && is_inet(sk))
		note_io(sk);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sock_recv_length, struct sock *sk, int ret)
{
	if (ret > 0 && is_inet(sk))
		note_io(sk);
	return 0;
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	struct sk_ctx *c = ctx_create(ctx);

	if (!c)
		return 1;
	c->t_open = bpf_ktime_get_boot_ns();
	capture(&c->opener, bpf_get_current_task_btf(), HOW_CREATE);
	c->owner = c->opener;
	return 1;
}

/* accept(2) with an address asks for the peer's name in the acceptor's context */
static __always_inline int note_accept(struct bpf_sock *sk)
{
	struct sk_ctx *c;

	if (!sk)
		return 1;
	c = ctx_lookup(sk);
	if (c && c->role == ROLE_SERVER && c->owner.how <= HOW_LISTENER)
		set_owner(c, bpf_get_current_task_btf(), HOW_ACCEPT);
	return 1;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return note_accept(ctx->sk);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return note_accept(ctx->sk);
}

/* Kernels without sock_send_length (before 6.3): unconnected datagrams, and
 * connect() for the rest. */
static __always_inline int note_datagram(struct bpf_sock_addr *ctx, enum owner_how how)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct bpf_sock *sk = ctx->sk;
	struct sk_ctx *c;

	if (!sk || ctx->protocol == IPPROTO_TCP)
		return 1;
	c = ctx_lookup(sk);
	if (!c) {
		c = ctx_create(sk);
		if (!c)
			return 1;
		c->flags |= F_HAS_PEER;
	}
	if (!same_user(c, task))
		set_owner(c, task, how);
	return 1;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_IO);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_IO);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_IO);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_IO);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_CONNECT);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_CONNECT);
}

/* ---- datagrams ---- */

SEC("cgroup_skb/egress")
int peer_egress(struct __sk_buff *skb)
{
	count_peer(skb, false);
	return 1;
}

SEC("cgroup_skb/ingress")
int peer_ingress(struct __sk_buff *skb)
{
	count_peer(skb, true);
	return 1;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	struct dgram_rec *r;
	struct sk_ctx *c;

	if (!is_datagram(ctx->protocol) && ctx->type != 3 /* SOCK_RAW */)
		return 1;
	c = ctx_lookup(ctx);
	if (!c || !(c->flags & F_HAS_PEER))
		return 1; /* getaddrinfo connects a socket only to learn a source address */
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		stat_add(STAT_LOST_RELEASED, 1);
		return 1;
	}
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_DGRAM_RELEASED;
	r->hdr.len = sizeof(*r);
	r->cookie = bpf_get_socket_cookie(ctx);
	r->owner = c->owner;
	r->netns = bpf_get_current_task_btf()->nsproxy->net_ns->ns.inum;
	r->pad = 0;
	bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
	return 1;
}
