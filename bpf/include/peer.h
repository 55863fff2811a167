/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Datagram sockets keep no counters per peer, so UDP and ICMP echo are counted
 * here, packet by packet; TCP leaves at once. Runs in softirq: the socket is
 * right, `current` is not.
 */
#ifndef WEIR_PEER_H
#define WEIR_PEER_H

#include "sk_ctx.h"
#include "peer_nat.h"

#define ICMP_ECHOREPLY 0
#define ICMP_ECHO 8
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define NEXTHDR_HOP 0
#define NEXTHDR_ROUTING 43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_DEST 60

/* HASH, not LRU: a full LRU throws flows away silently, a full HASH says so */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct peer_key);
	__type(value, struct peer_val);
} udp_peer SEC(".maps");

/* per socket, the peers that found udp_peer full; raddr and rport are 0 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct peer_key);
	__type(value, struct peer_val);
} peer_overflow SEC(".maps");

static __always_inline void mapped(__u8 *dst, const __u8 *src)
{
	__builtin_memset(dst, 0, 10);
	dst[10] = 0xff;
	dst[11] = 0xff;
	__builtin_memcpy(dst + 12, src, 4);
}

/* 0: count it, 1: none of ours, -1: not readable */
static __always_inline int parse_l4(struct __sk_buff *skb, __u32 off, struct parsed *p)
{
	__u8 h[8];

	if (bpf_skb_load_bytes(skb, off, h, sizeof(h)) || skb->len < off + 8)
		return -1;
	p->payload = skb->len - off - 8;
	if (p->proto == IPPROTO_UDP) {
		p->sport = h[0] << 8 | h[1];
		p->dport = h[2] << 8 | h[3];
		return 0;
	}
	p->icmp_type = h[0];
	if (p->proto == IPPROTO_ICMP ? h[0] != ICMP_ECHO && h[0] != ICMP_ECHOREPLY :
				       h[0] != ICMPV6_ECHO_REQUEST && h[0] != ICMPV6_ECHO_REPLY)
		return 1;
	p->sport = p->dport = h[4] << 8 | h[5];
	return 0;
}

static __always_inline int parse_v4(struct __sk_buff *skb, struct parsed *p)
{
	__u8 h[20];
	__u32 off;

	if (bpf_skb_load_bytes(skb, 0, h, sizeof(h)))
		return -1;
	p->proto = h[9];
	if (p->proto != IPPROTO_UDP && p->proto != IPPROTO_ICMP)
		return 1;
	if ((h[6] & 0x1f) | h[7])
		return 1; /* a later fragment: only raw sockets see or send one */
	mapped(p->src, h + 12);
	mapped(p->dst, h + 16);
	off = (h[0] & 0x0f) * 4;
	return parse_l4(skb, off, p);
}

static __always_inline int parse_v6(struct __sk_buff *skb, struct parsed *p)
{
	__u8 h[40], ext[8];
	__u32 off = 40;

	if (bpf_skb_load_bytes(skb, 0, h, sizeof(h)))
		return -1;
	p->proto = h[6];
	__builtin_memcpy(p->src, h + 8, 16);
	__builtin_memcpy(p->dst, h + 24, 16);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		if (p->proto != NEXTHDR_HOP && p->proto != NEXTHDR_ROUTING &&
		    p->proto != NEXTHDR_DEST && p->proto != NEXTHDR_FRAGMENT)
			break;
		if (bpf_skb_load_bytes(skb, off, ext, sizeof(ext)))
			return -1;
		if (p->proto == NEXTHDR_FRAGMENT) {
			if (ext[2] | (ext[3] & 0xf8))
				return 1;
			off += 8;
		} else {
			off += (ext[1] + 1) * 8;
		}
		p->proto = ext[0];
	}
	if (p->proto != IPPROTO_UDP && p->proto != IPPROTO_ICMPV6)
		return 1;
	return parse_l4(skb, off, p);
}

static __always_inline void peer_add(struct peer_val *v, bool ingress, __u64 packets, __u64 bytes)
{
	if (ingress) {
		__sync_fetch_and_add(&v->rx_packets, packets);
		__sync_fetch_and_add(&v->rx_bytes, bytes);
	} else {
		__sync_fetch_and_add(&v->tx_packets, packets);
		__sync_fetch_and_add(&v->tx_bytes, bytes);
	}
	v->last = bpf_ktime_get_boot_ns();
}

static __always_inline void peer_init(struct peer_val *v, struct parsed *p, bool ingress)
{
	__builtin_memcpy(v->laddr, ingress ? p->dst : p->src, 16);
	v->lport = ingress ? p->dport : p->sport;
	v->first_is_ingress = ingress;
	v->first = bpf_ktime_get_boot_ns();
}

/* the rare part of the path: a peer not seen before, or no room for it */
static __always_inline struct peer_val *peer_new(struct __sk_buff *skb, struct peer_key *k,
						 struct parsed *p, bool ingress, __u64 packets)
{
	struct peer_val zero = {};
	struct peer_val *v;
	struct bpf_sock *sk = skb->sk;
	struct sk_ctx *c;

	if (sk && (sk = bpf_sk_fullsock(sk))) {
		c = ctx_lookup(sk);
		if (c)
			c->flags |= F_HAS_PEER; /* its owner is of interest from now on */
	}
	peer_init(&zero, p, ingress);
	bpf_map_update_elem(&udp_peer, k, &zero, BPF_NOEXIST);
	v = bpf_map_lookup_elem(&udp_peer, k); /* another CPU may have been first */
	if (v)
		return v;
	stat_add(STAT_PEER_OVERFLOW, packets);
	stat_add(STAT_PEER_OVERFLOW_BYTES, p->payload);
	__builtin_memset(k->raddr, 0, sizeof(k->raddr));
	k->rport = 0;
	v = bpf_map_lookup_elem(&peer_overflow, k);
	if (v)
		return v;
	bpf_map_update_elem(&peer_overflow, k, &zero, BPF_NOEXIST);
	v = bpf_map_lookup_elem(&peer_overflow, k);
	if (!v) {
		stat_add(STAT_PEER_LOST, packets);
		stat_add(STAT_PEER_LOST_BYTES, p->payload);
	}
	return v;
}

/* Most packets are TCP, of which nothing is counted here. */
static __always_inline bool plain_tcp(struct __sk_buff *skb)
{
	__u8 *h = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (h + 20 > end)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return h[9] == IPPROTO_TCP;
	return skb->protocol == bpf_htons(ETH_P_IPV6) && h[6] == IPPROTO_TCP;
}

/* ct is the conntrack word of a packet that is translated, else 0. */
static __always_inline void count_peer(struct __sk_buff *skb, bool ingress, unsigned long ct)
{
	struct parsed p = {};
	struct peer_key k = {};
	struct peer_val *v;
	__u64 packets = skb->gso_segs ?: 1;
	int rc;

	if (!ct && plain_tcp(skb))
		return;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		rc = parse_v4(skb, &p);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		rc = parse_v6(skb, &p);
	else
		return;
	if (rc) {
		if (rc < 0)
			stat_add(STAT_UNPARSED, packets);
		return;
	}
	k.cookie = bpf_get_socket_cookie(skb);
	if (!k.cookie)
		return;
	if (ct)
		nat_sender_view(ct, &p);
	k.proto = p.proto;
	k.rport = ingress ? p.sport : p.dport;
	__builtin_memcpy(k.raddr, ingress ? p.src : p.dst, 16);
	v = bpf_map_lookup_elem(&udp_peer, &k);
	if (!v) {
		if (p.proto != IPPROTO_UDP) {
			/* A raw socket is shown everybody's replies, and the kernel
			 * answers pings from a socket of its own: a flow begins with
			 * a request that leaves. */
			if (ingress || p.icmp_type == ICMP_ECHOREPLY || p.icmp_type == ICMPV6_ECHO_REPLY)
				return;
		}
		v = peer_new(skb, &k, &p, ingress, packets);
		if (!v)
			return;
	} else if (ingress && (p.icmp_type == ICMP_ECHO || p.icmp_type == ICMPV6_ECHO_REQUEST)) {
		return; /* our own request, looped back to a raw socket */
	}
	if (ct && k.rport && !v->tx_packets) /* not at each packet in the catch-all */
		nat_tell(skb, ct);
	peer_add(v, ingress, packets, p.payload);
}

#endif
