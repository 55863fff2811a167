/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef WEIR_L7_MAPS_H
#define WEIR_L7_MAPS_H

#include "l7_types.h"

/* A ring of their own: a flood of payload starves neither sockets nor identity. */
#define PAYLOAD_SIZE (8 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, PAYLOAD_SIZE);
} payload SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct l7_sock);
} l7_sock SEC(".maps");

/* What user space wants of a socket, by cookie; looked at once per turn. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u8);
} l7_wants SEC(".maps");

/* Exchanges that were told in full lately, on this CPU. */
struct l7_window {
	__u64 number; /* of the window, see L7_WINDOW_SHIFT */
	__u32 tick;   /* low half of jiffies when that was looked at */
	__u32 asked;  /* exchanges that came in it */
	__u32 told;
	__u32 limit;  /* of told */
};

/* 2^26 ns are 67 ms */
#define L7_WINDOW_SHIFT 26

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_window);
} l7_windows SEC(".maps");

/* The order is kprobes.PayloadStats's. */
enum l7_stat {
	L7_STAT_RECORDS,
	L7_STAT_COPIED,       /* octets */
	L7_STAT_LOST,         /* records: the ring was full */
	L7_STAT_LOST_OCTETS,
	L7_STAT_NO_STORAGE,   /* packets */
	L7_STAT_UNPARSED,     /* packets whose headers are not where they should be */
	L7_STAT_SKIPPED,      /* exchanges */
	L7_STAT_MAX,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, L7_STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} l7_stats SEC(".maps");

static __always_inline void l7_count(__u32 i, __u64 n)
{
	__u64 *v = bpf_map_lookup_elem(&l7_stats, &i);

	if (v)
		*v += n;
}

#endif
