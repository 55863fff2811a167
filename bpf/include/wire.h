/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the programs of the socket path tell user space. Every record starts
 * with struct rec_hdr; every member is naturally aligned, every hole is an
 * explicit pad. kprobes/wire.go mirrors these and a test compares the two
 * through the BTF of the object.
 */
#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H

#include "kernel.h"
#include "nat.h"

enum rec_type {
	REC_SOCK_CLOSED = 1, /* sock_rec, events */
	REC_SOCK_SNAPSHOT,   /* sock_rec, iterator; events for a new listener */
	REC_LISTEN_END,      /* dgram_rec of which only the cookie counts, events */
	REC_DGRAM_OWNER,     /* dgram_rec, iterator */
	REC_DGRAM_RELEASED,  /* dgram_rec, events */
	REC_KERNEL_BOUND,    /* bound_rec, events */
	REC_NAT,             /* nat_rec, events */
	REC_PAYLOAD,         /* l7_rec, payload */
	REC_PROC_EXISTING = 16, /* proc_rec, iterator */
	REC_PROC_FORK,       /* proc_rec, procev */
	REC_PROC_EXEC,
	REC_PROC_EXIT,
	REC_CGROUP_CREATED,  /* cgroup_rec, procev */
	REC_CGROUP_REMOVED,
	REC_SELF,            /* proc_rec of the reader of the iterator */
};

/* kprobes.OwnerHow */
enum owner_how {
	HOW_NONE,
	HOW_BOOTSTRAP,
	HOW_LISTENER,
	HOW_CREATE,
	HOW_CONNECT,
	HOW_ACCEPT,
	HOW_IO,
};

/* kprobes.IOHook: which of the hooks behind HOW_IO it was */
enum io_hook {
	HOOK_NONE,
	HOOK_SPACE_ADJUST, /* tcp_rcv_space_adjust: TCP data read */
	HOOK_SEND_LENGTH,  /* sock_send_length */
	HOOK_RECV_LENGTH,  /* sock_recv_length */
	HOOK_SENDMSG,      /* cgroup/sendmsg4, 6 */
	HOOK_RECVMSG,      /* cgroup/recvmsg4, 6 */
};

/* kprobes.Role */
enum sock_role {
	ROLE_UNKNOWN,
	ROLE_CLIENT,
	ROLE_SERVER,
	ROLE_LISTENER,
};

enum sock_flag {
	F_BASELINE = 1,  /* existed before the probe: counters start at base_* */
	F_SYN_COUNTED = 2, /* bytes_acked minus base holds our SYN */
	F_HAS_PEER = 4,  /* a datagram socket that exchanged something */
	F_LISTED = 8,    /* a listener user space has been told of */
	F_FIN_RECEIVED = 16, /* the rest is computed for the record only */
	F_FIN_ACKED = 32,
	F_HAS_BASE = 64,
	F_REDIRECTED = 128, /* sent or received holds octets that were on no wire */
	F_NO_SYN = 256, /* connect() failed before there was one */
	F_UNREAD = 512, /* closed over payload that nobody had read, */
	F_LINGER = 1024, /* or to be reset, by SO_LINGER with no time: the kernel's two reasons to send a RST */
	F_RELEASED = 2048, /* a datagram socket whose end has been told */
};

struct rec_hdr {
	__u64 ts;   /* CLOCK_BOOTTIME, ns */
	__u32 type; /* enum rec_type */
	__u32 len;  /* of the whole record, this header included; a multiple of 8 */
};

struct owner {
	__u64 start;     /* group_leader->start_boottime */
	__u64 cgroup_v2; /* kernfs id */
	__u64 cgroup_v1;
	__u64 at; /* when this was learnt */
	__u32 tgid;
	__u32 uid;
	__u8 comm[TASK_COMM_LEN]; /* of the group leader: an io_uring worker has its own */
	__u8 how;
	__u8 hook; /* enum io_hook, of HOW_IO */
	__u8 pad[2];
	__u32 exec; /* how often it and its ancestors called execve: with tgid and start the image it ran */
};

struct sock_rec {
	struct rec_hdr hdr;
	__u64 cookie;
	__u64 t_open, t_syn, t_est, t_accept;
	__u64 sent, received;
	struct owner opener, owner;
	__u8 laddr[16], raddr[16];
	__u32 netns;
	__u32 segs_out, segs_in, retrans;
	__u32 srtt_us, min_rtt_us, mdev_us;
	__u32 ooo, dups;    /* segments that came out of order; that the peer says it got twice */
	__s32 err;
	__u32 switches;
	__u32 snd_base, rcv_base;
	__u32 accept_tgid; /* who accepted, with t_accept */
	__u32 drops;       /* of a listener: connections it had no room for, */
	__u32 waiting, backlog; /* that wait to be accepted, and that may */
	__u16 lport, rport; /* host order */
	__u16 flags;
	__u8 role, state;
	__u32 pad;
};

struct dgram_rec {
	struct rec_hdr hdr;
	__u64 cookie;
	struct owner opener, owner;
	__u32 netns;
	__u32 switches;
	__u32 refused;
	__u32 pad;
};

/* a port that a socket of the kernel's own was given */
struct bound_rec {
	struct rec_hdr hdr;
	__u8 laddr[16];
	__u32 netns;
	__u16 lport;
	__u8 proto;
	__u8 pad;
};

/* A translation in the namespace of the socket that sent the packet. */
struct nat_rec {
	struct rec_hdr hdr;
	struct nat_tuple orig, reply;
	__u32 netns;
	__u32 pad;
};

#define PROC_DATA_MAX 1024
#define FILENAME_MAX_LEN 256
#define EXE_MAX_LEN 128
#define CMDLINE_MAX_LEN 512

struct proc_rec {
	struct rec_hdr hdr;
	struct owner who; /* how is unused */
	__u64 parent_start;
	__u32 parent_tgid;
	__u16 filename_len, exe_len, cmdline_len; /* of the parts of data, in this order; no NUL at the end */
	__u8 pad[6];
	__u8 data[PROC_DATA_MAX];
};

#define CGROUP_PATH_MAX 512

struct cgroup_rec {
	struct rec_hdr hdr;
	__u64 id;
	__u16 path_len;
	__u8 unified;
	__u8 pad[5];
	__u8 path[CGROUP_PATH_MAX];
};

/* One datagram socket and one peer; for ICMP the remote port is the echo id. */
struct peer_key {
	__u64 cookie;
	__u8 raddr[16];
	__u16 rport;
	__u8 proto;
	__u8 pad[5];
};

struct peer_val {
	__u64 tx_packets, tx_bytes, rx_packets, rx_bytes;
	__u64 first, last; /* CLOCK_BOOTTIME, ns */
	__u8 laddr[16];
	__u16 lport;
	__u8 first_is_ingress;
	__u8 pad[5];
};

_Static_assert(sizeof(struct rec_hdr) == 16, "rec_hdr");
_Static_assert(sizeof(struct owner) == 64, "owner");
_Static_assert(sizeof(struct sock_rec) == 312, "sock_rec");
_Static_assert(sizeof(struct dgram_rec) == 168, "dgram_rec");
_Static_assert(sizeof(struct bound_rec) == 40, "bound_rec");
_Static_assert(sizeof(struct nat_rec) == 104, "nat_rec");
_Static_assert(sizeof(struct proc_rec) == 104 + PROC_DATA_MAX, "proc_rec");
_Static_assert(sizeof(struct cgroup_rec) == 32 + CGROUP_PATH_MAX, "cgroup_rec");
_Static_assert(sizeof(struct peer_key) == 32, "peer_key");
_Static_assert(sizeof(struct peer_val) == 72, "peer_val");

#endif
