/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Headers of one packet -> struct packet. Headers are copied to the stack, where they
 * are not linear by bpf_skb_load_bytes: that works on paged packets without pulling,
 * which would cost every later user of the packet.
 *
 * On a device with an Ethernet header offsets count from the frame's start,
 * where VLAN tags in band stand in their place. On one without (tun, wg, ipip,
 * ppp) they count from the network header, which the stack has set there
 * whatever the driver left in front of it.
 */
#ifndef WEIR_FLOW_PARSE_H
#define WEIR_FLOW_PARSE_H

#include "flow_types.h"
#include "flow_maps.h"
#include <bpf/bpf_endian.h>

#define ETH_HLEN 14
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define MAX_VLANS 3
#define MAX_EXT 8

#define PROTO_HOPOPTS 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_ICMPV6 58
#define PROTO_DSTOPTS 60
#define PROTO_SCTP 132
#define PROTO_MOBILITY 135

#define ALIGNED8 __attribute__((aligned(8)))

/* What a packet turned out to be. */
enum verdict {
	IS_FLOW,
	IS_NONFLOW,
	IS_FRAG, /* later fragment of an unknown first one */
	IS_MALFORMED,
};

struct packet {
	struct flow_key key ALIGNED8; /* written in words of 8 octets */
	__u32 dir;     /* of key this packet travels in */
	__u32 hdr;     /* octets of headers that every segment repeats */
	__u32 payload;
	__u32 off;     /* of the next header, from the parse base */
	__u32 iplen;   /* octets of IP payload from off on, 0xffffffff unknown (BIG TCP) */
	__u32 frag_id;
	__u16 sport;
	__u16 dport;
	__u8 proto;
	__u8 frag_proto; /* IPv4 counts identifiers per protocol, IPv6 does not: 0 */
	__u8 first_frag;
	__u8 later_frag;
	__u8 tcp_flags;
	__u8 zero_window;
	__u8 src[16] ALIGNED8;
	__u8 dst[16] ALIGNED8;
};

/* Headers further in than this are for the helper: what is linear, and so can be read
 * without it, seldom goes further, and the verifier wants a bound. */
#define DIRECT_MAX 128

/* l2 is a constant at every call: one of the branches is compiled away. */
static __always_inline long load(struct __sk_buff *skb, const bool l2, __u32 off, void *to, const __u32 len)
{
	if (l2) {
		void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

		if (off <= DIRECT_MAX && data + off + len <= end) {
			__builtin_memcpy(to, data + off, len);
			return 0;
		}
		return bpf_skb_load_bytes(skb, off, to, len);
	}
	return bpf_skb_load_bytes_relative(skb, off, to, len, BPF_HDR_START_NET);
}

static __always_inline void map_v4(__u8 to[16], __be32 v4)
{
	__be32 *w = (__be32 *)to;

	w[0] = 0;
	w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = v4;
}

static __always_inline int parse_v4(struct __sk_buff *skb, const bool l2, struct packet *p)
{
	struct {
		__u8 vihl, tos;
		__be16 tot_len, id, frag;
		__u8 ttl, proto;
		__sum16 check;
		__be32 src, dst;
	} h;
	__u32 ihl, tot;
	__u16 frag;

	if (load(skb, l2, p->off, &h, sizeof(h)))
		return IS_MALFORMED;
	ihl = (h.vihl & 0xf) * 4;
	tot = bpf_ntohs(h.tot_len);
	if (h.vihl >> 4 != 4 || ihl < 20 || (tot && tot < ihl))
		return IS_MALFORMED;
	map_v4(p->src, h.src);
	map_v4(p->dst, h.dst);
	p->off += ihl;
	p->iplen = tot ? tot - ihl : 0xffffffff;
	p->proto = h.proto;
	frag = bpf_ntohs(h.frag);
	p->frag_id = h.id;
	p->frag_proto = h.proto;
	p->first_frag = (frag & 0x3fff) == 0x2000;
	p->later_frag = (frag & 0x1fff) != 0;
	return IS_FLOW;
}

/* One extension header; 1 when another may follow, 0 at the transport, < 0 broken. */
static __always_inline int parse_ext(struct __sk_buff *skb, const bool l2, struct packet *p)
{
	struct {
		__u8 next, len;
		__be16 frag;
		__be32 id;
	} h;
	__u32 len;

	if (p->proto != PROTO_HOPOPTS && p->proto != PROTO_ROUTING && p->proto != PROTO_DSTOPTS &&
	    p->proto != PROTO_FRAGMENT && p->proto != PROTO_AH && p->proto != PROTO_MOBILITY)
		return 0;
	if (load(skb, l2, p->off, &h, sizeof(h)))
		return -1;
	len = (h.len + 1) * 8;
	if (p->proto == PROTO_AH)
		len = (h.len + 2) * 4;
	if (p->proto == PROTO_FRAGMENT) {
		__u16 frag = bpf_ntohs(h.frag);

		len = 8;
		p->frag_id = h.id;
		p->first_frag = (frag & 0xfff9) == 1;
		p->later_frag = (frag & 0xfff8) != 0;
	}
	p->proto = h.next;
	p->off += len;
	if (p->iplen != 0xffffffff) {
		if (p->iplen < len)
			return -1;
		p->iplen -= len;
	}
	/* What follows in a later fragment is data, whatever `next` says. */
	return !p->later_frag;
}

static __always_inline int parse_v6(struct __sk_buff *skb, const bool l2, struct packet *p)
{
	struct {
		__u8 version, tc;
		__be16 flow, len;
		__u8 next, hops;
		__u8 src[16], dst[16];
	} h;
	int more = 1;

	if (load(skb, l2, p->off, &h, sizeof(h)))
		return IS_MALFORMED;
	if (h.version >> 4 != 6)
		return IS_MALFORMED;
	__builtin_memcpy(p->src, h.src, 16);
	__builtin_memcpy(p->dst, h.dst, 16);
	p->off += sizeof(h);
	p->iplen = h.len ? bpf_ntohs(h.len) : 0xffffffff;
	p->proto = h.next;
	for (int i = 0; i < MAX_EXT && more > 0; i++)
		more = parse_ext(skb, l2, p);
	/* > 0: more extension headers than anybody sends, the transport is not found. */
	return more ? IS_MALFORMED : IS_FLOW;
}

/* Ports (or the echo identifier) and flags; l4 is the length of the header. */
static __always_inline int parse_l4(struct __sk_buff *skb, const bool l2, struct packet *p, __u32 *l4)
{
	*l4 = 0;
	if (p->proto == PROTO_TCP) {
		struct {
			__be16 sport, dport;
			__be32 seq, ack;
			__u8 off, flags;
			__be16 window;
		} h;

		if (p->iplen < 20 || load(skb, l2, p->off, &h, sizeof(h)))
			return IS_MALFORMED;
		*l4 = (h.off >> 4) * 4;
		if (*l4 < 20)
			return IS_MALFORMED;
		p->sport = bpf_ntohs(h.sport);
		p->dport = bpf_ntohs(h.dport);
		p->tcp_flags = h.flags;
		p->zero_window = !h.window && !(h.flags & 0x06); /* SYN, RST */
	} else if (p->proto == PROTO_UDP || p->proto == PROTO_SCTP) {
		__be16 h[2];

		*l4 = p->proto == PROTO_UDP ? 8 : 12;
		if (p->iplen < *l4 || load(skb, l2, p->off, h, sizeof(h)))
			return IS_MALFORMED;
		p->sport = bpf_ntohs(h[0]);
		p->dport = bpf_ntohs(h[1]);
	} else if (p->proto == PROTO_ICMP || p->proto == PROTO_ICMPV6) {
		struct {
			__u8 type, code;
			__sum16 check;
			__be16 id, seq;
		} h;
		bool echo;

		*l4 = 8;
		if (p->iplen < 8 || load(skb, l2, p->off, &h, sizeof(h)))
			return IS_MALFORMED;
		echo = p->proto == PROTO_ICMP ? h.type == 8 || h.type == 0 : h.type == 128 || h.type == 129;
		if (echo)
			p->sport = p->dport = bpf_ntohs(h.id);
	}
	return IS_FLOW;
}

/* A later fragment takes the ports of the first one, if that came by lately. */
static __always_inline int fragment(struct packet *p)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct frag_key k = {};
	struct frag_val *v;

	__builtin_memcpy(k.src, p->src, 16);
	__builtin_memcpy(k.dst, p->dst, 16);
	k.id = p->frag_id;
	k.proto = p->frag_proto;
	if (p->first_frag) {
		struct frag_val n = {.ns = now, .sport = p->sport, .dport = p->dport, .proto = p->proto};

		bpf_map_update_elem(&flow_frags, &k, &n, BPF_ANY);
		return IS_FLOW;
	}
	v = bpf_map_lookup_elem(&flow_frags, &k);
	/* IPv4 identifiers wrap: 30 s is how long a receiver keeps fragments. */
	if (!v || now - v->ns > 30000000000ULL)
		return IS_FRAG;
	p->sport = v->sport;
	p->dport = v->dport;
	p->proto = v->proto;
	return IS_FLOW;
}

/* Same order as flows.Key.Canonical. */
static __always_inline void canonical(struct packet *p)
{
	__be64 *s = (__be64 *)p->src, *d = (__be64 *)p->dst;
	__u64 s0 = bpf_be64_to_cpu(s[0]), d0 = bpf_be64_to_cpu(d[0]);
	__u64 s1 = bpf_be64_to_cpu(s[1]), d1 = bpf_be64_to_cpu(d[1]);
	bool swap = s0 > d0 || (s0 == d0 && (s1 > d1 || (s1 == d1 && p->sport > p->dport)));
	__u64 *a = (__u64 *)p->key.a, *b = (__u64 *)p->key.b;

	a[0] = swap ? d[0] : s[0];
	a[1] = swap ? d[1] : s[1];
	b[0] = swap ? s[0] : d[0];
	b[1] = swap ? s[1] : d[1];
	p->key.a_port = swap ? p->dport : p->sport;
	p->key.b_port = swap ? p->sport : p->dport;
	p->key.proto = p->proto;
	p->dir = swap;
}

static __always_inline int parse(struct __sk_buff *skb, const bool l2, struct packet *p)
{
	__be16 proto = skb->protocol;
	__u32 l4 = 0, room;
	int r;

	p->off = l2 ? ETH_HLEN : 0;
	for (int i = 0; i < MAX_VLANS; i++) {
		__be16 tag[2];

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if (load(skb, l2, p->off, tag, sizeof(tag)))
			return IS_MALFORMED;
		proto = tag[1];
		p->off += 4;
	}
	if (proto == bpf_htons(ETH_P_IP))
		r = parse_v4(skb, l2, p);
	else if (proto == bpf_htons(ETH_P_IPV6))
		r = parse_v6(skb, l2, p);
	else
		return IS_NONFLOW;
	if (r == IS_FLOW && !p->later_frag)
		r = parse_l4(skb, l2, p, &l4);
	if (r != IS_FLOW)
		return r;

	p->hdr = p->off + l4;
	/* The frame may be padded, and the length field is 0 in a BIG TCP packet. */
	room = skb->len > p->hdr ? skb->len - p->hdr : 0;
	p->payload = p->iplen == 0xffffffff || p->iplen - l4 > room ? room : p->iplen - l4;
	if (p->first_frag || p->later_frag)
		r = fragment(p);
	if (r == IS_FLOW)
		canonical(p);
	return r;
}

#endif
