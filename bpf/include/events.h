/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The way of the socket records to user space. */
#ifndef WEIR_EVENTS_H
#define WEIR_EVENTS_H

#include "wire.h"
#include "ring.h"

#define EVENTS_SIZE (4 << 20)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_SIZE);
} events SEC(".maps");

union sock_scratch {
	struct sock_rec sock;
	struct dgram_rec dgram;
	struct bound_rec bound; /* not built there: this keeps its type in the BTF */
	struct nat_rec nat; /* for its type in the BTF only, where a test reads it */
};

/* where the iterators build a record: too large for the stack */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, union sock_scratch);
} scratch SEC(".maps");

#endif
