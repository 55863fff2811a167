/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Reading a TCP socket: payload totals, sequence bases, the record of it. */
#ifndef WEIR_TCP_H
#define WEIR_TCP_H

#include "sk_ctx.h"

/* A record of an open socket is taken without its lock, between any two
 * instructions of the stack; one of a closing socket is taken under it. */
enum when { WHEN_OPEN, WHEN_CLOSING };

static __always_inline bool fin_queued(__u8 state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING ||
	       state == TCP_LAST_ACK;
}

/* The acknowledgement of our FIN moves FIN_WAIT1 on to FIN_WAIT2, and ends
 * CLOSING and LAST_ACK: seen in those of an open socket, snd_una == write_seq
 * only means that the FIN has not been queued yet. */
static __always_inline bool fin_acked(struct tcp_sock *tp, __u8 state, enum when when)
{
	if (state == TCP_FIN_WAIT2)
		return true;
	return when == WHEN_CLOSING && (state == TCP_CLOSING || state == TCP_LAST_ACK) &&
	       tp->snd_una == tp->write_seq;
}

#define has_flag(sk, flag) \
	(((sk)->__sk_common.skc_flags >> bpf_core_enum_value(enum sock_flags, flag)) & 1)

/* SOCK_DONE is set by tcp_fin() and nowhere else */
static __always_inline bool fin_received(struct sock *sk)
{
	return has_flag(sk, SOCK_DONE);
}

/* Octets of payload the peer acknowledged: bytes_acked counts our SYN (active
 * open only) and our FIN as one octet each. */
static __always_inline __u64 payload_sent(struct tcp_sock *tp, __u8 state, __u16 flags,
					  enum when when)
{
	__u64 n = tp->bytes_acked;

	if (n && (flags & F_SYN_COUNTED))
		n--;
	if (n && fin_acked(tp, state, when))
		n--;
	return n;
}

static __always_inline __u64 payload_received(struct sock *sk, struct tcp_sock *tp)
{
	__u64 n = tp->bytes_received;

	return n && fin_received(sk) ? n - 1 : n;
}

/* Octets of payload that tcp_sock was ever given to send, acknowledged or not */
static __always_inline __u64 payload_written(struct tcp_sock *tp, __u8 state, __u16 flags,
					     enum when when)
{
	__u64 sent = payload_sent(tp, state, flags, when);
	__u32 unacked = tp->write_seq - tp->snd_una;

	if (unacked && fin_queued(state) && !fin_acked(tp, state, when))
		unacked--;
	return sent + unacked;
}

/* Octets of payload in the receive queue that nobody has read, the FIN perhaps */
static __always_inline __u32 payload_unread(struct sock *sk, struct tcp_sock *tp)
{
	__u32 n = tp->rcv_nxt - tp->copied_seq;

	return n && fin_received(sk) ? n - 1 : n;
}

/* Why close() of a socket in this state sends a RST and not a FIN: tcp_close() looks
 * for unread payload first, and empties the queue without moving copied_seq. */
static __always_inline __u16 reset_reason(struct sock *sk, struct tcp_sock *tp, __u8 state)
{
	if (state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT && state != TCP_SYN_RECV)
		return 0;
	if (payload_unread(sk, tp))
		return F_UNREAD;
	return has_flag(sk, SOCK_LINGER) && !sk->sk_lingertime ? F_LINGER : 0;
}

/* Role of a socket whose opening was not seen. The sequence space used so far
 * is payload (bytes_sent less retransmissions), FIN if sent, and the SYN if we
 * sent it after bytes_acked began to count: one octet tells client from server.
 * Anything else (a lost local transmission, a torn read) stays unknown. */
static __always_inline __u8 role_by_sequence(struct tcp_sock *tp, __u8 state, enum when when)
{
	__u64 acked = tp->bytes_acked, sent = tp->bytes_sent;
	__u32 nxt = tp->snd_nxt, una = tp->snd_una;
	__s64 d = acked + (__u32)(nxt - una) - (sent - tp->bytes_retrans);

	if (fin_queued(state)) {
		if (when == WHEN_OPEN && state != TCP_FIN_WAIT2)
			return ROLE_UNKNOWN; /* has it been queued? */
		if (nxt == tp->write_seq)
			d--;
	}
	if (acked != tp->bytes_acked || sent != tp->bytes_sent || nxt != tp->snd_nxt)
		return ROLE_UNKNOWN; /* an iterator does not hold the socket lock */
	if (d == 1)
		return ROLE_CLIENT;
	return d == 0 ? ROLE_SERVER : ROLE_UNKNOWN;
}

static __always_inline void set_baseline(struct sk_ctx *c, struct sock *sk, struct tcp_sock *tp)
{
	__u8 state = sk->__sk_common.skc_state;

	if (state == TCP_LISTEN) {
		c->role = ROLE_LISTENER;
		c->flags |= F_BASELINE;
		return;
	}
	if (state == TCP_CLOSE)
		return; /* not connected yet: nothing to bill, nothing before us */
	c->role = state == TCP_SYN_SENT ? ROLE_CLIENT : role_by_sequence(tp, state, WHEN_OPEN);
	c->flags |= F_BASELINE;
	if (c->role == ROLE_CLIENT)
		c->flags |= F_SYN_COUNTED;
	c->base_sent = payload_sent(tp, state, c->flags, WHEN_OPEN);
	c->base_received = payload_received(sk, tp);
	c->base_segs_out = tp->segs_out;
	c->base_segs_in = tp->segs_in;
	c->base_retrans = tp->total_retrans;
	c->base_ooo = tp->rcv_ooopack;
	c->base_dups = tp->dsack_dups;
}

static __always_inline void map_v4(__u8 *dst, __be32 a)
{
	__builtin_memset(dst, 0, 10);
	dst[10] = 0xff;
	dst[11] = 0xff;
	__builtin_memcpy(dst + 12, &a, 4);
}

/* byte loads: an in6_addr read through BTF must keep to its elements */
static __always_inline void copy_v6(__u8 *dst, struct in6_addr *src)
{
#pragma unroll
	for (int i = 0; i < 16; i++)
		dst[i] = src->in6_u.u6_addr8[i];
}

static __always_inline void fill_tuple(struct sock_rec *r, struct sock *sk)
{
	struct sock_common *k = &sk->__sk_common;

	if (k->skc_family == AF_INET) {
		map_v4(r->laddr, k->skc_rcv_saddr);
		map_v4(r->raddr, k->skc_daddr);
	} else {
		copy_v6(r->laddr, &k->skc_v6_rcv_saddr);
		copy_v6(r->raddr, &k->skc_v6_daddr);
	}
	r->rport = bpf_ntohs(k->skc_dport);
	r->netns = k->skc_net.net->ns.inum;
}

/*
 * A BPF program may pass what is written to a socket of a sockmap straight to the
 * reader of another: such octets never reach tcp_sock. They are what the
 * application's calls have moved (sockmap.h) beyond what TCP knows of.
 */
static __always_inline __u16 add_redirected(struct sock_rec *r, struct sock *sk, struct tcp_sock *tp,
					    struct sk_ctx *c, __u8 state, enum when when)
{
	__u64 known, sent = c->map_sent, moved = c->map_received;
	__u16 flags = 0;

	barrier(); /* a call in between moves TCP's numbers before these: seen the other way round it would look redirected */
	known = payload_written(tp, state, c->flags, when) - c->base_sent;
	if (sent > known && !(when == WHEN_OPEN && fin_queued(state) && state != TCP_FIN_WAIT2)) {
		r->sent += sent - known;
		flags = F_REDIRECTED;
	}
	/* what came before the probe may have been read after it started: all of it counts as known */
	if (moved)
		moved += payload_unread(sk, tp);
	known = payload_received(sk, tp);
	if (moved > known) {
		r->received += moved - known;
		flags = F_REDIRECTED;
	}
	return flags;
}

/* state: the one the record speaks of, which at close is not the socket's any more */
static __always_inline void fill_sock(struct sock_rec *r, __u32 type, struct sock *sk,
				      struct tcp_sock *tp, struct sk_ctx *c, __u8 state)
{
	__u32 min_rtt = tp->rtt_min.s[0].v;
	enum when when = type == REC_SOCK_CLOSED ? WHEN_CLOSING : WHEN_OPEN;
	__u16 flags = c->flags;

	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = type;
	r->hdr.len = sizeof(*r);
	r->cookie = bpf_get_socket_cookie(sk);
	r->t_open = c->t_open;
	r->t_syn = c->t_syn;
	r->t_est = c->t_est;
	r->opener = c->opener;
	r->owner = c->owner;
	r->switches = c->switches;
	r->t_accept = c->t_accept;
	r->accept_tgid = c->accept_tgid;
	r->drops = r->waiting = r->backlog = 0;
	if (c->role == ROLE_LISTENER) {
		r->drops = no_room(sk, c);
		r->waiting = sk->sk_ack_backlog;
		r->backlog = sk->sk_max_ack_backlog;
	}
	fill_tuple(r, sk);
	/* skc_num is 0 again at close, inet_sport is not set before the port is hashed */
	r->lport = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
	if (!r->lport)
		r->lport = sk->__sk_common.skc_num;
	r->role = c->role;
	r->state = state;
	r->err = sk->sk_err;
	r->sent = payload_sent(tp, state, flags, when) - c->base_sent;
	r->received = payload_received(sk, tp) - c->base_received;
	if (c->map_sent | c->map_received)
		flags |= add_redirected(r, sk, tp, c, state, when);
	r->segs_out = tp->segs_out - c->base_segs_out;
	r->segs_in = tp->segs_in - c->base_segs_in;
	r->retrans = tp->total_retrans - c->base_retrans;
	r->ooo = tp->rcv_ooopack - c->base_ooo;
	r->dups = tp->dsack_dups - c->base_dups;
	r->pad = 0;
	r->srtt_us = tp->srtt_us >> 3; /* the kernel keeps eighths, and quarters of the deviation */
	r->mdev_us = tp->mdev_us >> 2;
	r->min_rtt_us = min_rtt == ~0u ? 0 : min_rtt; /* tcp_init_sock's "none yet" */
	if (fin_acked(tp, state, when))
		flags |= F_FIN_ACKED;
	if (fin_received(sk))
		flags |= F_FIN_RECEIVED;
	if (when == WHEN_CLOSING)
		flags |= reset_reason(sk, tp, state);
	if (c->t_est || (flags & F_BASELINE && state != TCP_SYN_SENT && state != TCP_LISTEN))
		flags |= F_HAS_BASE;
	r->flags = flags;
	r->rcv_base = tp->rcv_nxt - (__u32)tp->bytes_received;
	r->snd_base = tp->snd_una - (__u32)tp->bytes_acked;
	if (c->role == ROLE_CLIENT)
		r->snd_base++; /* the SYN */
}

#endif
