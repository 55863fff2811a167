/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The conntrack entry of a packet, read from the packet itself: no lookup, no
 * netlink. Needs bpf_cast_to_kern_ctx (6.2). The kfunc is weak: on an older
 * kernel, or where struct nf_conn is in no BTF, the branch is dead code and the
 * rest loads and runs.
 */
#ifndef WEIR_NAT_H
#define WEIR_NAT_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

extern void *bpf_cast_to_kern_ctx(void *obj) __attribute__((weak)) __attribute__((section(".ksyms")));

#define NFCT_PTRMASK (~7UL) /* the low bits of skb->_nfct hold enum ip_conntrack_info */
#define NFCT_IS_REPLY 3     /* IP_CT_IS_REPLY: from here on */
#define IPS_ASSURED 0x4     /* TCP: the handshake is complete */
#define IPS_NAT_MASK 0x30   /* IPS_SRC_NAT | IPS_DST_NAT */
#define NAT_AF_INET 2
#define NAT_ICMP 1
#define NAT_TCP 6
#define NAT_UDP 17
#define NAT_ICMPV6 58
#define NAT_SCTP 132

/* One direction as conntrack has it: addresses v4-mapped, ports in host order. */
struct nat_tuple {
	__u8 src[16];
	__u8 dst[16];
	__u16 sport;
	__u16 dport;
	__u8 proto;
	__u8 _pad[3];
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)


struct sk_buff {
	struct sock *sk;
	unsigned long _nfct;
};

union nf_inet_addr {
	__u32 all[4];
};

union nf_conntrack_man_proto {
	__be16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	__u16 l3num;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
		__u8 protonum;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
};

#pragma clang attribute pop

/* skb->_nfct, 0 when there is no entry to read. */
static __always_inline unsigned long nat_word(struct __sk_buff *skb)
{
	struct sk_buff *kskb;

	if (!bpf_cast_to_kern_ctx || !bpf_core_field_exists(struct sk_buff, _nfct) ||
	    !bpf_core_type_exists(struct nf_conn))
		return 0;
	kskb = bpf_cast_to_kern_ctx(skb);
	return kskb->_nfct & NFCT_PTRMASK ? kskb->_nfct : 0;
}

static __always_inline void nat_map_v4(__u8 to[16], __be32 v4)
{
	__u32 *w = (__u32 *)to;

	w[0] = 0;
	w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = v4;
}

/* The tuple in the form that flows.NATKey gives one: an ICMP echo has its
 * identifier as both ports, a protocol without ports has none. */
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
	if (l3 == NAT_AF_INET) {
		nat_map_v4(to->src, src[0]);
		nat_map_v4(to->dst, dst[0]);
	} else {
		__builtin_memcpy(to->src, src, 16);
		__builtin_memcpy(to->dst, dst, 16);
	}
	to->sport = bpf_ntohs(sport);
	to->dport = bpf_ntohs(dport);
	if (to->proto == NAT_ICMP || to->proto == NAT_ICMPV6)
		to->dport = to->sport;
	else if (to->proto != NAT_TCP && to->proto != NAT_UDP && to->proto != NAT_SCTP)
		to->sport = to->dport = 0;
	return 0;
}

/* Whether replies come from another address than was called. IPVS with
 * net.ipv4.vs.conntrack writes it into the reply's tuple and sets no status bit. */
static __always_inline bool nat_redirects(const struct nf_conn *ct)
{
	__u64 called[2], from[2];

	if (bpf_core_read(called, sizeof(called), &ct->tuplehash[0].tuple.dst.u3) ||
	    bpf_core_read(from, sizeof(from), &ct->tuplehash[1].tuple.src.u3))
		return false;
	return called[0] != from[0] || called[1] != from[1];
}

#endif
