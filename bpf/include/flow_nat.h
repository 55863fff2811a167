/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the flow path tells of translations. */
#ifndef WEIR_FLOW_NAT_H
#define WEIR_FLOW_NAT_H

#include "flow_maps.h"
#include "nat.h"

/* The conntrack entry the packet belongs to, 0 when there is none to read. */
static __always_inline unsigned long nat_entry(struct __sk_buff *skb)
{
	return nat_enabled ? nat_word(skb) & NFCT_PTRMASK : 0;
}

static __noinline int nat_emit(unsigned long addr)
{
	struct nf_conn *ct = (struct nf_conn *)addr;
	unsigned long status = 0;
	struct flow_stat *st;
	struct flow_nat *ev;
	__u32 zero = 0;

	st = bpf_map_lookup_elem(&flow_stats, &zero);
	if (!st || !bpf_core_type_exists(struct nf_conn))
		return 0;
	if (bpf_core_read(&status, sizeof(status), &ct->status)) {
		st->nat_errors++;
		return 0;
	}
	if (!(status & IPS_NAT_MASK) && !nat_redirects(ct))
		return 0;
	ev = bpf_ringbuf_reserve(&flow_events, sizeof(*ev), 0);
	if (!ev) {
		st->nats_lost++;
		return 0;
	}
	__builtin_memset(ev, 0, sizeof(*ev));
	ev->head.ns = bpf_ktime_get_boot_ns();
	ev->head.type = FLOW_EVENT_NAT;
	if (nat_read(&ct->tuplehash[0].tuple, &ev->orig) || nat_read(&ct->tuplehash[1].tuple, &ev->reply)) {
		st->nat_errors++;
		bpf_ringbuf_discard(ev, BPF_RB_NO_WAKEUP);
		return 0;
	}
	st->nats++;
	bpf_ringbuf_submit(ev, BPF_RB_NO_WAKEUP);
	return 0;
}

#endif
