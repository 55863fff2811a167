/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Records of payload, as user space gets them. */
#ifndef WEIR_L7_TELL_H
#define WEIR_L7_TELL_H

#include "sk_ctx.h"
#include "ring.h"
#include "l7_maps.h"
#include "l7_parse.h"

/* A record with the first n octets of the packet's payload, n at most max: 0 or a
 * power of two, so that a mask shows any verifier (6.1's forgets a comparison) that
 * n is neither 0 nor more. */
static __always_inline struct l7_rec *l7_reserve(struct __sk_buff *skb, __u32 off, __u32 n, const __u32 max)
{
	struct l7_rec *r = bpf_ringbuf_reserve(&payload, sizeof(*r) + max, 0);

	if (!r)
		return 0;
	r->data_len = 0;
	if (max) {
		n = ((n - 1) & (max - 1)) + 1;
		barrier_var(n);
		if (!bpf_skb_load_bytes(skb, off, r + 1, ((n - 1) & (max - 1)) + 1))
			r->data_len = n;
	}
	return r;
}

static __always_inline void l7_addresses(struct __sk_buff *skb, struct l7_rec *r, const struct l7_packet *p, bool out)
{
	__u8 a[32], ports[4] = {};
	__u8 *src = out ? r->laddr : r->raddr, *dst = out ? r->raddr : r->laddr;

	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (!bpf_skb_load_bytes(skb, 8, a, 32)) {
			__builtin_memcpy(src, a, 16);
			__builtin_memcpy(dst, a + 16, 16);
		}
	} else if (!bpf_skb_load_bytes(skb, 12, a, 8)) {
		__builtin_memset(src, 0, 10);
		__builtin_memset(dst, 0, 10);
		src[10] = src[11] = dst[10] = dst[11] = 0xff;
		__builtin_memcpy(src + 12, a, 4);
		__builtin_memcpy(dst + 12, a + 4, 4);
	}
	bpf_skb_load_bytes(skb, p->l3, ports, 4);
	r->lport = out ? ports[0] << 8 | ports[1] : ports[2] << 8 | ports[3];
	r->rport = out ? ports[2] << 8 | ports[3] : ports[0] << 8 | ports[1];
}

/* What a turn's packet is told with, beside its payload. */
struct l7_told {
	__u64 now, prev_first, prev_last, prev_octets;
	__u32 seq, prev_next, off, len, n, skipped;
	bool out, turn;
	__u8 flags; /* L7_PAUSE, L7_RESUME */
};

static __always_inline bool l7_emit(struct __sk_buff *skb, struct bpf_sock *sk, const struct l7_packet *p,
				    const struct l7_told *t)
{
	struct l7_rec *r;
	struct sk_ctx *c;

	if (t->n == 0)
		r = l7_reserve(skb, t->off, 0, 0);
	else if (t->n <= L7_SMALL)
		r = l7_reserve(skb, t->off, t->n, L7_SMALL);
	else if (t->n <= L7_HALF)
		r = l7_reserve(skb, t->off, t->n, L7_HALF);
	else if (t->n <= L7_KILO)
		r = l7_reserve(skb, t->off, t->n, L7_KILO);
	else if (t->n <= L7_MEDIUM)
		r = l7_reserve(skb, t->off, t->n, L7_MEDIUM);
	else
		r = l7_reserve(skb, t->off, t->n, L7_LARGE);
	if (!r) {
		l7_count(L7_STAT_LOST, 1);
		l7_count(L7_STAT_LOST_OCTETS, t->n);
		return false;
	}
	r->hdr.ts = t->now;
	r->hdr.type = REC_PAYLOAD;
	r->hdr.len = sizeof(*r) + r->data_len;
	r->cookie = bpf_get_socket_cookie(skb);
	r->prev_first = t->prev_first;
	r->prev_last = t->prev_last;
	r->prev_octets = t->prev_octets;
	r->prev_next = t->prev_next;
	r->seq = t->seq;
	r->len = t->len;
	r->proto = p->proto;
	r->flags = (t->out ? L7_OUT : 0) | (t->turn ? L7_TURN : 0) | t->flags;
	r->owner_start = 0;
	r->owner_tgid = r->netns = 0;
	r->role = ROLE_UNKNOWN;
	r->pad[0] = r->pad[1] = r->pad[2] = 0;
	r->skipped = t->skipped;
	r->pad2 = 0;
	c = ctx_lookup(sk);
	if (c) {
		r->owner_start = c->owner.start;
		r->owner_tgid = c->owner.tgid;
		r->netns = c->netns;
		r->role = c->role;
	}
	if (t->prev_octets) { /* a stream's addresses have been told */
		r->lport = r->rport = 0;
		__builtin_memset(r->laddr, 0, 32);
	} else {
		l7_addresses(skb, r, p, t->out);
	}
	l7_count(L7_STAT_RECORDS, 1);
	l7_count(L7_STAT_COPIED, r->data_len);
	if (t->skipped)
		l7_count(L7_STAT_SKIPPED, t->skipped);
	bpf_ringbuf_submit(r, wakeup_flag(&payload, PAYLOAD_SIZE));
	return true;
}

#endif
