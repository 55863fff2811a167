/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What drop.bpf.c counts: kprobes/drop.go reads it (compared by a test). Naturally
 * aligned, padding explicit, host byte order.
 */
#ifndef WEIR_DROP_TYPES_H
#define WEIR_DROP_TYPES_H

#include <linux/types.h>

/* Who lost a packet and why, as coarse as it is told: no entry per socket. */
struct drop_key {
	__u64 cgroup_v2; /* of the socket's owner; 0 without a socket */
	__u64 cgroup_v1;
	__u32 netns;     /* inode; of the socket, else of the device; 0 unknown */
	__u32 reason;    /* enum skb_drop_reason of the running kernel */
};

struct drop_val {
	__u64 packets; /* a super-packet is one */
	__u64 octets;  /* from the header on that the packet had come to */
};

#endif
