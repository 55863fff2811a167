/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include "kernel.h"

/* The reader comes on a timer; wake it only when the buffer fills up. */
static __always_inline __u64 wakeup_flag(void *ring, __u64 size)
{
	return bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > size / 4 ? BPF_RB_FORCE_WAKEUP
								     : BPF_RB_NO_WAKEUP;
}

#endif
