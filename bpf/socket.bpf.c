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
#include "peer.h"
#include "ring.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define EVENTS_SIZE (4 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_SIZE);
} events SEC(".maps");

union sock_scratch {
	struct sock_rec sock;
	struct dgram_rec dgram;
};

/* where the iterators build a record: too large for the stack */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, union sock_scratch);
} scratch SEC(".maps");

/* processes that hold a listener, written by the first pass of the bootstrap */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u8);
} listener_tgids SEC(".maps");

static __always_inline bool is_datagram(__u32 protocol)
{
	return protocol == IPPROTO_UDP || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

/* ---- TCP: life ---- */

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
	c->opener = listener;
	c->owner = listener;
	c->role = ROLE_SERVER;
	c->t_open = c->t_syn = bpf_ktime_get_boot_ns();
}

/* softirq */
static __always_inline void on_established(struct sock *sk)
{
	struct sk_ctx *c = ctx_lookup(sk);

	if (c && !c->t_est && c->t_syn)
		c->t_est = bpf_ktime_get_boot_ns();
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
		c->role = role_by_sequence(tp, oldstate);
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

/* ---- iterators: run by the reader, over all network namespaces ---- */

static __always_inline bool unchanged(struct sk_ctx *c, struct tcp_sock *tp, __u8 state)
{
	return c->sig_state == state && c->sig_acked == tp->bytes_acked &&
	       c->sig_received == tp->bytes_received && c->sig_segs == tp->segs_out + tp->segs_in &&
	       c->sig_retrans == tp->total_retrans && c->sig_tgid == c->owner.tgid &&
	       c->sig_how == c->owner.how;
}

static __always_inline void snapshot_listener(struct bpf_iter__bpf_sk_storage_map *ctx,
					      struct sock *sk, struct tcp_sock *tp,
					      struct sk_ctx *c, struct sock_rec *r)
{
	if (c->flags & F_LISTED)
		return;
	c->role = ROLE_LISTENER;
	fill_sock(r, REC_SOCK_SNAPSHOT, sk, tp, c, TCP_LISTEN);
	if (!bpf_seq_write(ctx->meta->seq, r, sizeof(*r)))
		c->flags |= F_LISTED;
}

SEC("iter/bpf_sk_storage_map")
int snapshot_tcp(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct sk_ctx *c = ctx->value;
	struct tcp_sock *tp;
	struct sock_rec *r;
	__u32 zero = 0;
	__u8 state;

	if (!sk || !c || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	state = sk->__sk_common.skc_state;
	tp = bpf_skc_to_tcp_sock(sk);
	r = bpf_map_lookup_elem(&scratch, &zero);
	if (!tp || !r || state == TCP_CLOSE || c->lock)
		return 0;
	if (state == TCP_LISTEN) {
		snapshot_listener(ctx, sk, tp, c, r);
		return 0;
	}
	if (!(c->t_syn || c->flags & F_BASELINE) || unchanged(c, tp, state))
		return 0;
	if (c->role == ROLE_UNKNOWN)
		c->role = role_by_sequence(tp, state);
	fill_sock(r, REC_SOCK_SNAPSHOT, sk, tp, c, state);
	/* A full buffer makes the kernel show this socket again: only what was
	 * written has been said. */
	if (bpf_seq_write(ctx->meta->seq, r, sizeof(*r)))
		return 0;
	c->sig_state = state;
	c->sig_acked = tp->bytes_acked;
	c->sig_received = tp->bytes_received;
	c->sig_segs = tp->segs_out + tp->segs_in;
	c->sig_retrans = tp->total_retrans;
	c->sig_tgid = r->owner.tgid;
	c->sig_how = r->owner.how;
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int datagram_owners(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct sk_ctx *c = ctx->value;
	struct dgram_rec *r;
	__u32 zero = 0;

	if (!sk || !c || !(c->flags & F_HAS_PEER) || sk->sk_protocol == IPPROTO_TCP)
		return 0;
	r = bpf_map_lookup_elem(&scratch, &zero);
	if (!r)
		return 0;
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_DGRAM_OWNER;
	r->hdr.len = sizeof(*r);
	r->cookie = bpf_get_socket_cookie(sk);
	r->owner = c->owner;
	r->netns = sk->__sk_common.skc_net.net->ns.inum;
	r->pad = 0;
	bpf_seq_write(ctx->meta->seq, r, sizeof(*r));
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
