/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Handshakes that a client began and has not completed. A request for a connection is
 * no socket yet and changes no state; but while nobody answers, the SYN-ACK is sent
 * again, each time after twice the wait. Only then is there an entry here: a handshake
 * that goes well costs a look-up.
 */
#ifndef WEIR_HALF_OPEN_H
#define WEIR_HALF_OPEN_H

#include "tcp.h"

#define SYNACK_TIMEOUT_NS 1000000000ULL /* TCP_TIMEOUT_INIT */
#define SYNACK_MAX_SHIFT 7              /* TCP_RTO_MAX is 120 s */

struct half_open {
	__u64 listener; /* cookie */
	__u64 last;     /* CLOCK_BOOTTIME of the last SYN-ACK */
	__u64 until;    /* when the next SYN-ACK is due: without one it was given up */
	__u8 laddr[16], raddr[16];
	__u32 netns;
	__u16 lport, rport; /* host order */
};

_Static_assert(sizeof(struct half_open) == 64, "half_open");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct request_sock {
	struct sock_common __req_common;
	__u8 num_retrans;
};

#pragma clang attribute pop

/* By cookie of the request, which the connection inherits. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct half_open);
} half_open SEC(".maps");

/* softirq: sk is the listener, which has the lock on nothing */
static __always_inline void on_synack_again(struct sock *sk, struct request_sock *req)
{
	struct sock_common *k = &req->__req_common;
	struct half_open h = {};
	__u32 again = req->num_retrans + 1;
	__u64 cookie;

	if (sk->__sk_common.skc_state != TCP_LISTEN)
		return; /* Fast Open: a connection already */
	h.listener = bpf_get_socket_cookie(sk);
	h.last = bpf_ktime_get_boot_ns();
	h.until = h.last + (SYNACK_TIMEOUT_NS << (again < SYNACK_MAX_SHIFT ? again : SYNACK_MAX_SHIFT));
	h.netns = k->skc_net.net->ns.inum;
	h.lport = k->skc_num;
	h.rport = bpf_ntohs(k->skc_dport);
	if (k->skc_family == AF_INET) {
		map_v4(h.laddr, k->skc_rcv_saddr);
		map_v4(h.raddr, k->skc_daddr);
	} else {
		copy_v6(h.laddr, &k->skc_v6_rcv_saddr);
		copy_v6(h.raddr, &k->skc_v6_daddr);
	}
	cookie = bpf_get_socket_cookie(req);
	if (bpf_map_update_elem(&half_open, &cookie, &h, BPF_ANY))
		stat_add(STAT_LOST_HANDSHAKE, 1);
}

/* softirq: a child has become a connection */
static __always_inline void on_handshake(struct sock *sk)
{
	__u64 cookie = bpf_get_socket_cookie(sk);

	if (bpf_map_lookup_elem(&half_open, &cookie))
		bpf_map_delete_elem(&half_open, &cookie);
}

#endif
