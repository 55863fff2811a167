/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The structs that cross from flow.bpf.c to Go (flows/capture/tcx/wire.go). A
 * test compares both sides by the BTF of the object. Naturally aligned, padding
 * explicit, host byte order except addresses.
 */
#ifndef WEIR_FLOW_TYPES_H
#define WEIR_FLOW_TYPES_H

#include "flow_kernel.h"
#include <bpf/bpf_helpers.h>
#include "nat.h"

/* Where a program stands on a device. */
enum flow_hook {
	FLOW_INGRESS = 0,
	FLOW_EGRESS = 1,
};

/*
 * A 5-tuple ordered so that both directions share it: a <= b bytewise, then
 * a_port <= b_port (flows.Key.Canonical). IPv4 is v4-mapped.
 */
struct flow_key {
	__u8 a[16];
	__u8 b[16];
	__u16 a_port;
	__u16 b_port;
	__u8 proto;
	__u8 _pad;
	__u16 domain; /* of the device (flow_domains): in each, addresses mean something else */
};

/* Indices of flow_dir.flags, equal to the bit numbers of flows.TCPFlags. */
enum flow_flag {
	FLOW_FIN = 0,
	FLOW_SYN = 1,
	FLOW_RST = 2,
	FLOW_ACK = 4,
	FLOW_SYNONLY = 8,
	FLOW_SYNACK = 9,
	FLOW_FLAGS = 12,
};

/*
 * One direction of a flow; dir[0] is a -> b. Every counter only ever grows while
 * the entry lives: user space reads and takes the difference, so that reading
 * and counting at the same moment can lose or double nothing.
 * A flag is a byte, not a bit: a plain store of 1 needs no atomic OR (kernel
 * 5.12, BPF ISA v3) and two CPUs cannot undo each other's.
 */
struct flow_dir {
	__u64 packets; /* wire packets: a GSO packet counts as its segments */
	__u64 octets;  /* frames, headers of every segment included, no FCS */
	__u64 payload; /* above the transport header */
	__u64 last_ns; /* CLOCK_BOOTTIME; of a busy flow up to a tick early (account) */
	__u64 cookie;  /* of the sending socket, the first one seen; 0 unknown */
	__u32 zero_windows; /* TCP segments that close the sender's window, but SYN and RST */
	__u32 tick;    /* low half of jiffies when last_ns was read */
	__u32 owner;   /* ifindex << 1 | hook of the one place that counts; 0 none */
	__u8 flags[FLOW_FLAGS];
};

struct flow_val {
	__u64 start_ns; /* CLOCK_BOOTTIME of the first packet: names the instance */
	__u64 synack_ns; /* of the first SYN-ACK after it, 0 none */
	__u8 first;     /* direction of the first packet */
	__u8 loopback;  /* the first packet was on lo */
	__u8 nat_done;  /* the conntrack entry was looked at */
	__u8 quick;     /* how often another socket came within QUICK_NS, halved when it took longer */
	__u8 syn;       /* the first packet was a SYN */
	__u8 _pad[3];
	struct flow_dir dir[2];
};

/* A later fragment carries no ports: the first one leaves them here. */
struct frag_key {
	__u8 src[16];
	__u8 dst[16];
	__u32 id;
	__u8 proto;
	__u8 _pad[3];
};

struct frag_val {
	__u64 ns;
	__u16 sport;
	__u16 dport;
	__u8 proto; /* behind IPv6 extension headers only the first one knows it */
	__u8 _pad[3];
};

/* The ledger of a device: one entry per (ifindex, hook), made by user space in
 * flow_near where its place there is free, else in flow_devices. */
#define NEAR_DEVICES 256 /* of which ifindex modulo this is the place */

struct dev_key {
	__u32 ifindex;
	__u32 hook;
};

struct dev_sum {
	__u64 packets;
	__u64 octets;
};

/*
 * seen = flow + dup + nonflow + frag + overflow + malformed, in packets and in
 * octets. skbs and skb_octets are what the device's own counters compare with:
 * one per super-packet.
 */
struct dev_val {
	__u64 ifindex; /* whose it is */
	__u64 skbs;
	__u64 skb_octets;
	struct dev_sum seen;
	struct dev_sum flow;      /* added to flow_table */
	struct dev_sum dup;       /* counted for its flow at another hook */
	struct dev_sum nonflow;   /* not IP */
	struct dev_sum frag;      /* later fragment whose first was not seen */
	struct dev_sum overflow;  /* flow_table was full */
	struct dev_sum malformed; /* truncated, or lengths that contradict */
};

/* Per-CPU counters that belong to no device. */
struct flow_stat {
	__u64 stray;        /* packets at a device user space does not know (any more) */
	__u64 takeovers;    /* a direction changed the hook that counts it */
	__u64 reuses;       /* a SYN or another socket began a new instance on an entry */
	__u64 reuse_merged; /* the same, but flow_events was full, or sockets take turns: counted into the old */
	__u64 nats;
	__u64 nats_lost;    /* flow_events was full */
	__u64 nat_errors;   /* conntrack entry not readable */
};

enum flow_event_type {
	FLOW_EVENT_ENDED = 1,
	FLOW_EVENT_NAT = 2,
};

struct flow_event {
	__u64 ns; /* CLOCK_BOOTTIME */
	__u32 type;
	__u32 _pad;
};

struct flow_ended {
	struct flow_event head;
	struct flow_key key;
	struct flow_val val;
};

struct flow_nat {
	struct flow_event head;
	struct nat_tuple orig;
	struct nat_tuple reply;
};

_Static_assert(sizeof(struct flow_key) == 40, "flow_key");
_Static_assert(sizeof(struct flow_dir) == 64, "flow_dir");
_Static_assert(sizeof(struct flow_val) == 152, "flow_val");
_Static_assert(sizeof(struct dev_val) == 136, "dev_val");
_Static_assert(sizeof(struct flow_ended) == 208, "flow_ended");
_Static_assert(sizeof(struct flow_nat) == 96, "flow_nat");

#endif
