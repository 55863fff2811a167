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
#include "sockmap.h"
#include "io.h"
#include "peer.h"
#include "iter.h"
#include "attempt.h"
#include "half_open.h"

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
		if (oldstate == TCP_SYN_RECV)
			on_handshake(sk);
		break;
	case TCP_CLOSE:
		on_close(sk, oldstate);
		break;
	}
	return 0;
}

SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(tcp_retransmit_synack, struct sock *sk, struct request_sock *req)
{
	on_synack_again(sk, req);
	return 0;
}

/* ---- who uses it: task context, all of them ---- */

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(tcp_rcv_space_adjust, struct sock *sk)
{
	if (current_reads(sk))
		note_io(sk, HOOK_SPACE_ADJUST);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sock_send_length, struct sock *sk, int ret)
{
	bool mapped;

	if (ret <= 0 || !is_inet(sk))
		return 0;
	mapped = in_sockmap(sk);
	if (!mapped || !by_worker(bpf_get_current_task_btf()))
		note_io(sk, HOOK_SEND_LENGTH);
	if (mapped)
		count_sent(sk, ret);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sock_recv_length, struct sock *sk, int ret, int flags)
{
	bool mapped;

	if (ret <= 0 || !is_inet(sk))
		return 0;
	mapped = in_sockmap(sk);
	if (mapped || !read_told(sk))
		note_io(sk, HOOK_RECV_LENGTH);
	if (mapped && !(flags & (MSG_PEEK | MSG_ERRQUEUE)))
		count_received(sk, ret);
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
		set_owner(c, bpf_get_current_task_btf(), HOW_ACCEPT, HOOK_NONE);
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
static __always_inline int note_datagram(struct bpf_sock_addr *ctx, enum owner_how how,
					 enum io_hook hook)
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
		set_owner(c, task, how, hook);
	return 1;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_IO, HOOK_SENDMSG);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_IO, HOOK_SENDMSG);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_IO, HOOK_RECVMSG);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_IO, HOOK_RECVMSG);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_CONNECT, HOOK_NONE);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return note_datagram(ctx, HOW_CONNECT, HOOK_NONE);
}

/* ---- attempts that end before they begin ---- */

SEC("cgroup/connect4")
int attempt4(struct bpf_sock_addr *ctx)
{
	__u8 addr[16];

	map_v4(addr, ctx->user_ip4);
	attempt_note(ctx, addr);
	return 1;
}

SEC("cgroup/connect6")
int attempt6(struct bpf_sock_addr *ctx)
{
	__u32 a[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};

	attempt_note(ctx, (__u8 *)a);
	return 1;
}

/* ---- errors that come back for datagrams ---- */

/* The end of a datagram socket, with what was counted of it. */
static __always_inline void tell_released(struct sk_ctx *c, __u64 cookie)
{
	struct dgram_rec *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);

	if (!r) {
		stat_add(STAT_LOST_RELEASED, 1);
		return;
	}
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_DGRAM_RELEASED;
	r->hdr.len = sizeof(*r);
	r->cookie = cookie;
	r->opener = c->opener;
	r->owner = c->owner;
	r->netns = c->netns;
	r->switches = c->switches;
	r->refused = c->refused;
	r->pad = 0;
	bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
}

/* softirq: an ICMP error of a connected datagram socket. A reader that it has woken
 * may have taken the error already (0); of those that end a datagram, the one in a
 * million that is not a port unreachable is then taken for one. */
SEC("tp_btf/inet_sk_error_report")
int BPF_PROG(inet_sk_error_report, const struct sock *sk)
{
	struct sk_ctx *c;

	if (sk->sk_protocol != IPPROTO_UDP || (sk->sk_err && sk->sk_err != ECONNREFUSED))
		return 0;
	c = bpf_sk_storage_get(&sk_ctx, (void *)sk, 0, 0);
	if (c) {
		__sync_fetch_and_add(&c->refused, 1);
		/* it may have closed the socket, too: told once more */
		if (c->flags & F_RELEASED)
			tell_released(c, bpf_get_socket_cookie((void *)sk));
	}
	return 0;
}

/* ---- the kernel's own ---- */

/* A tunnel's socket is made by whoever sets the device up, without sock_create,
 * and nothing it sends or receives passes a hook of a socket. It is known by being
 * given a port while having no storage. Sockets older than the probe look the same
 * until the bootstrap has found them: user space ignores what comes before that. */
static __always_inline struct bound_rec *kernel_bound(struct bpf_sock *ctx)
{
	struct bound_rec *r;

	if (ctx->protocol != IPPROTO_UDP || ctx_lookup(ctx))
		return 0;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		stat_add(STAT_LOST_LISTEN, 1);
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_KERNEL_BOUND;
	r->hdr.len = sizeof(*r);
	r->netns = bpf_get_current_task_btf()->nsproxy->net_ns->ns.inum;
	r->lport = ctx->src_port;
	r->proto = IPPROTO_UDP;
	return r;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	struct bound_rec *r = kernel_bound(ctx);

	if (r) {
		map_v4(r->laddr, ctx->src_ip4);
		bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
	}
	return 1;
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	struct bound_rec *r = kernel_bound(ctx);
	__u32 a[4];

	if (r) {
		a[0] = ctx->src_ip6[0];
		a[1] = ctx->src_ip6[1];
		a[2] = ctx->src_ip6[2];
		a[3] = ctx->src_ip6[3];
		__builtin_memcpy(r->laddr, a, sizeof(a));
		bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
	}
	return 1;
}

/* ---- datagrams ---- */

SEC("cgroup_skb/egress")
int peer_egress(struct __sk_buff *skb)
{
	count_peer(skb, false, 0);
	return 1;
}

/* peer_egress where conntrack entries can be read. A translated TCP connection
 * is told of while it opens; what is not translated goes on as before. */
SEC("cgroup_skb/egress")
int peer_egress_nat(struct __sk_buff *skb)
{
	unsigned long ct = nat_word(skb), status = nat_status(ct);
	__u8 proto = 0;

	if (!status) {
		count_peer(skb, false, 0);
		return 1;
	}
	bpf_core_read(&proto, 1, &nat_conn(ct)->tuplehash[0].tuple.dst.protonum);
	if (proto != IPPROTO_TCP)
		count_peer(skb, false, ct);
	else if (!(status & IPS_ASSURED))
		nat_tell(skb, ct);
	return 1;
}

SEC("cgroup_skb/ingress")
int peer_ingress(struct __sk_buff *skb)
{
	count_peer(skb, true, 0);
	return 1;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	struct sk_ctx *c;

	if (ctx->protocol == IPPROTO_TCP) {
		c = ctx_lookup(ctx);
		if (c)
			attempt_tell(c, bpf_get_socket_cookie(ctx));
		return 1;
	}
	if (!is_datagram(ctx->protocol) && ctx->type != 3 /* SOCK_RAW */)
		return 1;
	c = ctx_lookup(ctx);
	if (!c || !(c->flags & F_HAS_PEER))
		return 1; /* getaddrinfo connects a socket only to learn a source address */
	c->flags |= F_RELEASED; /* before refused is read, see inet_sk_error_report */
	tell_released(c, bpf_get_socket_cookie(ctx));
	return 1;
}
