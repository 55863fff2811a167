/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The conntrack entry of a packet, read from the packet itself: no lookup, no
 * netlink. Needs bpf_cast_to_kern_ctx (6.2). The kfunc is weak: on an older
 * kernel, or where struct nf_conn is in no BTF, the branch is dead code and the
 * rest loads and runs.
 */
#ifndef WEIR_FLOW_NAT_H
#define WEIR_FLOW_NAT_H

#include "flow_maps.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

extern void *bpf_cast_to_kern_ctx(void *obj) __attribute__((weak)) __attribute__((section(".ksyms")));

#define NFCT_PTRMASK (~7UL) /* the low bits of skb->_nfct hold enum ip_conntrack_info */
#define IPS_NAT_MASK 0x30   /* IPS_SRC_NAT | IPS_DST_NAT */
#define AF_INET 2

/* The conntrack entry the packet belongs to, 0 when there is none to read. */
static __always_inline unsigned long nat_entry(struct __sk_buff *skb)
{
	struct sk_buff *kskb;

	if (!nat_enabled || !bpf_cast_to_kern_ctx || !bpf_core_field_exists(struct sk_buff, _nfct) ||
	    !bpf_core_type_exists(struct nf_conn))
		return 0;
	kskb = bpf_cast_to_kern_ctx(skb);
	return kskb->_nfct & NFCT_PTRMASK;
}

/* Addresses in the form of flow_key; an ICMP echo has its identifier as both ports. */
static __always_inline int nat_read(const struct nf_conntrack_tuple *t, struct nat_tuple *to)
{
	__be32 src[4], dst[4];
	__be16 sport, dport;
	__u16 l3;
	long err;

	__builtin_memset(to, 0, sizeof(*to));
	err = bpf_core_read(src, sizeof(src), &t->src.u3);
	err |= bpf_core_read(dst, sizeof(dst), &t->dst.u3);
	err |= bpf_core_read(&sport, sizeof(sport), &t->src.u.all);
	err |= bpf_core_read(&dport, sizeof(dport), &t->dst.u.all);
	err |= bpf_core_read(&l3, sizeof(l3), &t->src.l3num);
	err |= bpf_core_read(&to->proto, 1, &t->dst.protonum);
	if (err)
		return -1;
	if (l3 == AF_INET) {
		map_v4(to->src, src[0]);
		map_v4(to->dst, dst[0]);
	} else {
		__builtin_memcpy(to->src, src, 16);
		__builtin_memcpy(to->dst, dst, 16);
	}
	to->sport = bpf_ntohs(sport);
	to->dport = bpf_ntohs(dport);
	if (to->proto == PROTO_ICMP || to->proto == PROTO_ICMPV6)
		to->dport = to->sport;
	return 0;
}

static __noinline int nat_emit(unsigned long addr, __u64 now)
{
	struct nf_conn *ct = (struct nf_conn *)addr;
	unsigned long status = 0;
	struct flow_stat *st;
	struct flow_nat *ev;
	__u32 zero = 0;

	st = bpf_map_lookup_elem(&flow_stats, &zero);
	if (!st || !bpf_core_type_exists(struct nf_conn))
		return 0;
	if (bpf_core_read(&status, sizeof(status), &ct->status)) {
		st->nat_errors++;
		return 0;
	}
	if (!(status & IPS_NAT_MASK))
		return 0;
	ev = bpf_ringbuf_reserve(&flow_events, sizeof(*ev), 0);
	if (!ev) {
		st->nats_lost++;
		return 0;
	}
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->head.ns = now;
	ev->head.type = FLOW_EVENT_NAT;
	if (nat_read(&ct->tuplehash[0].tuple, &ev->orig) || nat_read(&ct->tuplehash[1].tuple, &ev->reply)) {
		st->nat_errors++;
		bpf_ringbuf_discard(ev, BPF_RB_NO_WAKEUP);
		return 0;
	}
	st->nats++;
	bpf_ringbuf_submit(ev, BPF_RB_NO_WAKEUP);
	return 0;
}

#endif
