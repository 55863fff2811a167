/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is remembered of calls into TLS libraries and of their connections. */
#ifndef WEIR_TLS_TYPES_H
#define WEIR_TLS_TYPES_H

#include "l7_maps.h"

/* amd64: the registers of a probe's context and of a system call's caller. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
	unsigned long r14, cx, ax, dx, si, di, bx, sp;
};
#pragma clang attribute pop

enum tls_kind {
	TLS_READ,
	TLS_READ_EX, /* returns success; how much is where done points */
	TLS_WRITE,
	TLS_WRITE_EX,
	TLS_HANDSHAKE,
};

/* Who is in a call: a thread (pid_tgid, g 0), or a goroutine (tgid << 32, g). */
struct tls_caller {
	__u64 who, g;
};

/* A call that has not returned. */
struct tls_call {
	__u64 conn; /* address of the library's connection */
	__u64 buf, len, done;
	__u64 ts;    /* of the entry: CLOCK_BOOTTIME, ns */
	__u64 stack; /* Go: where buf lies below the stack's end, which may move; 0: not there */
	__u8 kind;   /* enum tls_kind */
	__u8 told;   /* Go: at the entry already */
	__u8 pad[6];
};

struct tls_id {
	__u64 tgid, conn;
};

/* A connection of a library, from the first socket call within one of its calls. */
struct tls_conn {
	__u64 cookie; /* of its socket */
	__u64 owner_start;
	__u32 owner_tgid, netns;
	__u8 laddr[16], raddr[16];
	__u16 lport, rport; /* host order */
	__u8 role, dir;
	__u8 pad[2];
	__u64 octets[2]; /* 0 read, 1 written */
	__u32 copied;    /* of this turn */
	__u32 pad2;
};

_Static_assert(sizeof(struct tls_call) == 56, "tls_call");
_Static_assert(sizeof(struct tls_conn) == 88, "tls_conn");

/* The order is kprobes.TLSStats's. */
enum tls_stat {
	TLS_STAT_CALLS,      /* that moved octets */
	TLS_STAT_OCTETS,
	TLS_STAT_UNBOUND,    /* calls whose socket is not known: not told */
	TLS_STAT_UNREADABLE, /* buffers that could not be read: told without data */
	TLS_STAT_BOUND,      /* connections whose socket was found */
	TLS_STAT_FULL,       /* calls, connections that found no room */
	TLS_STAT_MAX,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TLS_STAT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} tls_stats SEC(".maps");

/* A control group, of the v1 memory hierarchy where legacy is 1: ids are unique in
 * their hierarchy only. */
struct tls_group {
	__u64 id, legacy;
};

/* Those whose processes are looked into. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct tls_group);
	__type(value, __u8);
} tls_groups SEC(".maps");

/* LRU: a thread that is killed never returns, a connection's end may not be seen. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tls_caller);
	__type(value, struct tls_call);
} tls_calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tls_id);
	__type(value, struct tls_conn);
} tls_conns SEC(".maps");

static __always_inline void tls_count(__u32 i, __u64 n)
{
	__u64 *v = bpf_map_lookup_elem(&tls_stats, &i);

	if (v)
		*v += n;
}

#endif
