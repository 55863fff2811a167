/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Where what a device carried is written down. */
#ifndef WEIR_FLOW_LEDGER_H
#define WEIR_FLOW_LEDGER_H

#include "flow_maps.h"

static __always_inline void add(struct dev_sum *s, __u64 packets, __u64 octets)
{
	s->packets += packets;
	s->octets += octets;
}

static __always_inline struct dev_val *ledger(__u32 ifindex, __u32 hook)
{
	struct dev_key k = {.ifindex = ifindex, .hook = hook};
	__u32 near = ifindex % NEAR_DEVICES << 1 | hook;
	struct dev_val *v = bpf_map_lookup_elem(&flow_near, &near);

	return v && v->ifindex == ifindex ? v : bpf_map_lookup_elem(&flow_devices, &k);
}

#endif
