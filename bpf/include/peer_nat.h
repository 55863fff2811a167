/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Translations in the namespace of a socket, seen where its packets leave: behind
 * POSTROUTING, so that the header has the new addresses and the conntrack entry
 * both. What a socket sends is counted under its own view, the one it also
 * receives under.
 */
#ifndef WEIR_PEER_NAT_H
#define WEIR_PEER_NAT_H

#include "events.h"
#include "stats.h"

struct parsed {
	__u8 src[16], dst[16];
	__u16 sport, dport; /* host order; ICMP: both the echo id */
	__u8 proto;
	__u8 icmp_type;
	__u32 payload;
};

static __always_inline struct nf_conn *nat_conn(unsigned long ct)
{
	return (struct nf_conn *)(ct & NFCT_PTRMASK);
}

/* The status of a translated packet's entry, else 0. */
static __always_inline unsigned long nat_status(unsigned long ct)
{
	unsigned long status = 0;

	if (!ct || bpf_core_read(&status, sizeof(status), &nat_conn(ct)->status) || !(status & IPS_NAT_MASK))
		return 0;
	return status;
}

/* Replaces the addresses in p by those the sender knows: its direction's tuple. */
static __always_inline void nat_sender_view(unsigned long ct, struct parsed *p)
{
	struct nf_conn *c = nat_conn(ct);
	struct nat_tuple t;
	int err;

	if ((ct & ~NFCT_PTRMASK) >= NFCT_IS_REPLY)
		err = nat_read(&c->tuplehash[1].tuple, &t);
	else
		err = nat_read(&c->tuplehash[0].tuple, &t);
	if (err || t.proto != p->proto)
		return;
	__builtin_memcpy(p->src, t.src, 16);
	__builtin_memcpy(p->dst, t.dst, 16);
	p->sport = t.sport;
	p->dport = t.dport;
}

static __noinline int nat_tell(struct __sk_buff *skb, unsigned long ct)
{
	struct nf_conn *c = nat_conn(ct);
	struct sk_buff *kskb;
	struct nat_rec *r;

	if (!bpf_cast_to_kern_ctx)
		return 0;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		stat_add(STAT_LOST_NAT, 1);
		return 0;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_NAT;
	r->hdr.len = sizeof(*r);
	kskb = bpf_cast_to_kern_ctx(skb);
	r->netns = BPF_CORE_READ(kskb, sk, __sk_common.skc_net.net, ns.inum);
	if (!r->netns || nat_read(&c->tuplehash[0].tuple, &r->orig) || nat_read(&c->tuplehash[1].tuple, &r->reply)) {
		bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);
		return 0;
	}
	stat_add(STAT_NATS, 1);
	bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
	return 0;
}

#endif
