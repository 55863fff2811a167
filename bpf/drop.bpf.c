//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * IP packets that the kernel gives up, by reason and by whose they were. Nothing is
 * told per packet: user space reads drops once per interval and takes differences.
 *
 * The tracepoint fires for every buffer that is freed before its time, also for what
 * nobody lost (a duplicate, the reset that ends a connection): user space says by
 * name which reasons are quiet, since numbers differ between kernels.
 */
#include "sk_ctx.h"
#include "drop_types.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define MAX_REASONS 256 /* of the core; subsystems have theirs above 1 << 16 */
#define MIN_INODE 0xe0000000 /* of namespaces, all kernels: what is below is no inode */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

enum skb_drop_reason {
	SKB_DROP_REASON_NO_SOCKET = 3,
	SKB_DROP_REASON_TCP_FLAGS = 30,
};

struct skb_shared_info {
	unsigned short gso_segs;
};

struct net_device {
	possible_net_t nd_net;
};

/* nat.h has one with less in it: what follows ___ is no part of the name. */
struct sk_buff___drop {
	struct net_device *dev; /* in a queue of a UDP socket something else */
	struct sock *sk;
	unsigned int len;
	__be16 protocol;
	__u16 transport_header;
	unsigned char *head;
	unsigned int end; /* an offset: nothing here is for 32 bits */
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct drop_key);
	__type(value, struct drop_val);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_REASONS);
	__type(key, __u32);
	__type(value, __u8);
} drop_quiet SEC(".maps");

static __always_inline bool quiet(__u32 reason)
{
	__u8 *q = bpf_map_lookup_elem(&drop_quiet, &reason);

	return q && *q;
}

/* The group that a socket was made in: of one without storage, or that the verifier
 * does not know to be one, as what it finds in a union. */
static __always_inline void created_in(struct drop_key *k, struct sock *sk)
{
	k->cgroup_v2 = BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
}

static __always_inline void of_socket(struct drop_key *k, struct sock *sk)
{
	__u8 state = sk->__sk_common.skc_state;
	struct sk_ctx *c;

	k->netns = sk->__sk_common.skc_net.net->ns.inum;
	if (state == TCP_TIME_WAIT || !is_inet(sk))
		return; /* less than a socket: there is no owner any more */
	if (state == TCP_NEW_SYN_RECV) {
		created_in(k, BPF_CORE_READ(sk, __sk_common.skc_listener));
		return;
	}
	c = ctx_lookup(sk);
	if (c && c->owner.tgid) {
		k->cgroup_v2 = c->owner.cgroup_v2;
		k->cgroup_v1 = c->owner.cgroup_v1;
		return;
	}
	created_in(k, sk);
}

static __always_inline bool is_ip(struct sk_buff___drop *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6);
}

static __always_inline void count(struct sk_buff___drop *skb, struct drop_key *k)
{
	struct drop_val one = {.packets = 1, .octets = skb->len};
	struct drop_val *v;
	__u32 inode;

	if (!k->netns) {
		inode = BPF_CORE_READ(skb, dev, nd_net.net, ns.inum);
		if (inode >= MIN_INODE)
			k->netns = inode;
	}
	v = bpf_map_lookup_elem(&drops, k);
	if (!v && bpf_map_update_elem(&drops, k, &one, BPF_NOEXIST)) {
		v = bpf_map_lookup_elem(&drops, k); /* another CPU was first */
		if (!v)
			stat_add(STAT_LOST_DROP, 1);
	} else if (!v) {
		return;
	}
	if (!v)
		return;
	__sync_fetch_and_add(&v->packets, 1);
	__sync_fetch_and_add(&v->octets, one.octets);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(kfree_skb, struct sk_buff___drop *skb, void *location, __u32 reason)
{
	struct drop_key k = {.reason = reason};
	struct sock *sk;

	if (!is_ip(skb) || quiet(reason))
		return 0;
	sk = skb->sk;
	if (sk)
		of_socket(&k, sk);
	count(skb, &k);
	return 0;
}

#define TCP_FLAGS_AT 13 /* RFC 9293, 3.1 */
#define TCP_FLAG_ACK 0x10

/*
 * A packet that a listener drops has raised its sk_drops by its segments, with two
 * exceptions: an ACK that belongs to nothing (answered with a reset), and one with a
 * SYN cookie that made no connection. A SYN for which there is no room never comes
 * here, it is consumed: no_room() has what is left.
 */
static __always_inline void strayed(struct sk_buff___drop *skb, struct sock *listener, __u32 reason)
{
	struct skb_shared_info *shared;
	unsigned char *head = skb->head;
	struct sk_ctx *c;
	__u16 segs;
	__u8 flags = 0;

	if (reason == bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NO_SOCKET))
		return;
	if (reason == bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_TCP_FLAGS)) {
		bpf_probe_read_kernel(&flags, sizeof(flags), head + skb->transport_header + TCP_FLAGS_AT);
		if (flags & TCP_FLAG_ACK)
			return;
	}
	c = ctx_lookup(listener);
	if (!c)
		return;
	shared = (struct skb_shared_info *)(head + skb->end);
	segs = BPF_CORE_READ(shared, gso_segs);
	__sync_fetch_and_add(&c->strays, segs ? segs : 1);
}

/* The kernel says which socket was to receive the packet (6.11). */
SEC("tp_btf/kfree_skb")
int BPF_PROG(kfree_skb_rx, struct sk_buff___drop *skb, void *location, __u32 reason, struct sock *rx)
{
	struct drop_key k = {.reason = reason};
	__u64 is_there = 0;
	struct sock *sk;

	if (!is_ip(skb))
		return 0;
	/* Mostly NULL, which verifiers before 6.14 do not expect of an argument: they
	 * would leave out a comparison of rx itself. */
	bpf_probe_read_kernel(&is_there, sizeof(is_there), ctx + 3);
	if (is_there && rx && rx->__sk_common.skc_state == TCP_LISTEN && rx->sk_protocol == IPPROTO_TCP)
		strayed(skb, rx, reason);
	if (quiet(reason))
		return 0;
	sk = skb->sk;
	if (is_there && rx)
		of_socket(&k, rx);
	else if (sk)
		of_socket(&k, sk);
	count(skb, &k);
	return 0;
}

/* Keep the types in the BTF, where a test reads them. */
const struct drop_key *const drop_key_type = 0;
const struct drop_val *const drop_val_type = 0;
