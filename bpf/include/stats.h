/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Loss counters; the order is kprobes/stats.go's. */
#ifndef WEIR_STATS_H
#define WEIR_STATS_H

#include "kernel.h"

enum stat {
	STAT_LOST_CLOSED,         /* ring buffer full: sock_rec at close */
	STAT_LOST_LISTEN,         /* ring buffer full: listener records, connections that wait to be accepted */
	STAT_LOST_RELEASED,       /* ring buffer full: dgram_rec */
	STAT_LOST_PROCESS,        /* ring buffer full: proc_rec */
	STAT_LOST_CGROUP,         /* ring buffer full: cgroup_rec */
	STAT_NO_STORAGE,          /* sk_storage could not be created */
	STAT_CLOSE_NO_CONTEXT,    /* TCP socket closed that had no sk_storage */
	STAT_PEER_OVERFLOW,       /* packets counted in the catch-all entry of their socket */
	STAT_PEER_OVERFLOW_BYTES,
	STAT_PEER_LOST,           /* packets not even that entry could be made for */
	STAT_PEER_LOST_BYTES,
	STAT_UNPARSED,            /* packets whose headers could not be read */
	STAT_OWNER_BUSY,          /* owner update skipped: another CPU was writing it */
	STAT_NATS,                /* translations told */
	STAT_LOST_NAT,            /* ring buffer full: nat_rec */
	STAT_LOST_DROP,           /* dropped packets for whose reason there was no room */
	STAT_LOST_HANDSHAKE,      /* handshakes for which there was no room */
	STAT_MAX,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} stats SEC(".maps");

static __always_inline void stat_add(__u32 i, __u64 n)
{
	__u64 *v = bpf_map_lookup_elem(&stats, &i);

	if (v)
		*v += n;
}

#endif
