/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the payload programs keep of a socket and tell user space;
 * kprobes/payload_wire.go mirrors l7_rec, a test compares the two.
 */
#ifndef WEIR_L7_TYPES_H
#define WEIR_L7_TYPES_H

#include "wire.h"

/* kprobes.PayloadWant */
enum l7_want {
	L7_FULL,  /* turns with their first octets */
	L7_TURNS, /* turns only: what is in them is opaque */
	L7_OFF,
	/* as L7_FULL, but of whole exchanges as many as there is time for; the requests
	 * are received, or sent */
	L7_SAMPLE_IN,
	L7_SAMPLE_OUT,
};

enum l7_flag {
	L7_OUT = 1,
	L7_TURN = 2,
	L7_PAUSE = 4,  /* ends a turn; what begins here is skipped */
	L7_RESUME = 8, /* skipped exchanges came before, which the turn it ends is part of */
	L7_END = 32,   /* ends a turn with the connection: none begins */
	L7_PLAIN = 16, /* of a TLS library: seq counts octets of that direction, prev_* are 0 */
};

/* Of each TCP socket that ever had payload. dir indexes: 0 received, 1 sent. */
struct l7_sock {
	struct bpf_spin_lock lock;
	__u32 next[2];     /* sequence number after the newest octet */
	__u32 hole[2];     /* and of a hole before it, what may still come: [hole, hole_end) */
	__u32 hole_end[2];
	__u32 copied;      /* octets of this turn that user space was given */
	__u8 dir;          /* of this turn */
	__u8 started[2];
	__u8 want;         /* enum l7_want */
	__u8 skipping;
	__u32 skipped;     /* exchanges that user space was not told of */
	__u64 first, last; /* of this turn: CLOCK_BOOTTIME, ns, and its octets */
	__u64 octets;
};

struct l7_rec {
	struct rec_hdr hdr; /* hdr.len without what data has beyond data_len */
	__u64 cookie;
	__u64 prev_first, prev_last, prev_octets; /* of the turn that this one ends */
	__u64 owner_start; /* process that has the socket, 0 not known */
	__u32 owner_tgid;
	__u32 netns; /* inode, 0 not known */
	__u32 seq, len, prev_next;
	__u16 lport, rport; /* host order */
	__u8 laddr[16], raddr[16];
	__u16 data_len;
	__u8 proto;
	__u8 role;  /* enum sock_role */
	__u8 flags; /* enum l7_flag */
	__u8 pad[3];
	__u32 skipped; /* exchanges before this one, since the record before */
	__u32 pad2;
};

/* Octets of data behind the record: the ring hands out constant sizes only. Powers
 * of two, see l7_reserve. */
#define L7_SMALL 256
#define L7_HALF 512
#define L7_KILO 1024
#define L7_MEDIUM 2048
#define L7_LARGE 4096

_Static_assert(sizeof(struct l7_rec) == 128, "l7_rec");

#endif
