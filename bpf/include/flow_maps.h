/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef WEIR_FLOW_MAPS_H
#define WEIR_FLOW_MAPS_H

#include "flow_types.h"
#include <bpf/bpf_helpers.h>

/*
 * A plain, preallocated HASH: when it is full an insert fails and can be
 * counted. An LRU would evict silently, a per-CPU hash would cost user space a
 * copy per CPU, and one without preallocation allocates per connection.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct flow_key);
	__type(value, struct flow_val);
} flow_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct frag_key);
	__type(value, struct frag_val);
} flow_frags SEC(".maps");

/*
 * Ledgers that are found without a search, which is worth 30 ns a packet. It is small
 * because each CPU has its own.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * NEAR_DEVICES);
	__type(key, __u32);
	__type(value, struct dev_val);
} flow_near SEC(".maps");

/*
 * Not preallocated: a preallocated one would cost entries x CPUs at once, and
 * only user space inserts, once per device.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct dev_key);
	__type(value, struct dev_val);
} flow_devices SEC(".maps");

/*
 * Devices outside domain 0, by ifindex: those of a bridge that no route joins to
 * the rest. Written by user space; read only while it has entries (have_domains).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u32);
} flow_domains SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_stat);
} flow_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 * 1024 * 1024);
} flow_events SEC(".maps");

#endif
