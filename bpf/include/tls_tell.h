/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Records of plain text: one of each call. */
#ifndef WEIR_TLS_TELL_H
#define WEIR_TLS_TELL_H

#include "ring.h"
#include "tls_types.h"

/* Octets copied of a turn (kprobes.Config.PayloadOctets), and of a call that comes
 * after them: HTTP/2 begins messages in the middle of a turn. */
volatile const __u32 turn_octets = 4096;
#define TLS_CALL_OCTETS L7_HALF

/* As l7_reserve, of a process's memory: n octets, at most max, a power of two. */
static __always_inline struct l7_rec *tls_reserve(__u64 buf, __u32 n, const __u32 max)
{
	struct l7_rec *r = bpf_ringbuf_reserve(&payload, sizeof(*r) + max, 0);

	if (!r)
		return 0;
	n = ((n - 1) & (max - 1)) + 1;
	barrier_var(n);
	if (bpf_probe_read_user(r + 1, ((n - 1) & (max - 1)) + 1, (void *)buf)) {
		tls_count(TLS_STAT_UNREADABLE, 1);
		n = 0;
	}
	r->data_len = n;
	return r;
}

static __always_inline struct l7_rec *tls_record(__u64 buf, __u32 n)
{
	if (n <= L7_SMALL)
		return tls_reserve(buf, n, L7_SMALL);
	if (n <= L7_HALF)
		return tls_reserve(buf, n, L7_HALF);
	if (n <= L7_KILO)
		return tls_reserve(buf, n, L7_KILO);
	if (n <= L7_MEDIUM)
		return tls_reserve(buf, n, L7_MEDIUM);
	return tls_reserve(buf, n, L7_LARGE);
}

/* How much to copy of a call's len octets. */
static __always_inline __u32 tls_share(struct tls_conn *n, __u32 out, __u64 len, bool turn)
{
	__u32 most = TLS_CALL_OCTETS;

	if (turn) {
		n->dir = out;
		n->copied = 0;
	}
	if (n->copied + TLS_CALL_OCTETS < turn_octets)
		most = turn_octets - n->copied;
	if (most > L7_LARGE)
		most = L7_LARGE;
	if (most > len)
		most = len;
	n->copied += most;
	return most;
}

static __noinline int tls_tell(struct tls_call *c, __u64 len, __u32 out)
{
	struct tls_id id = {.tgid = bpf_get_current_pid_tgid() >> 32};
	struct tls_conn *n;
	struct l7_rec *r;
	__u32 share;
	__u64 seq;
	bool turn;

	if (!c)
		return 0;
	id.conn = c->conn;
	n = bpf_map_lookup_elem(&tls_conns, &id);
	if (!n)
		return 0;
	out &= 1;
	seq = n->octets[out];
	n->octets[out] = seq + len; /* one reads and one writes at a time */
	tls_count(TLS_STAT_CALLS, 1);
	tls_count(TLS_STAT_OCTETS, len);
	turn = n->dir != out;
	share = tls_share(n, out, len, turn);
	r = tls_record(c->buf, share);
	if (!r) {
		l7_count(L7_STAT_LOST, 1);
		l7_count(L7_STAT_LOST_OCTETS, share);
		return 1;
	}
	r->hdr.ts = out ? c->ts : bpf_ktime_get_boot_ns();
	r->hdr.type = REC_PAYLOAD;
	r->hdr.len = sizeof(*r) + r->data_len;
	r->cookie = n->cookie;
	r->prev_first = r->prev_last = r->prev_octets = 0;
	r->prev_next = 0;
	r->owner_start = n->owner_start;
	r->owner_tgid = n->owner_tgid;
	r->netns = n->netns;
	r->seq = seq;
	r->len = len;
	r->lport = n->lport;
	r->rport = n->rport;
	__builtin_memcpy(r->laddr, n->laddr, 16);
	__builtin_memcpy(r->raddr, n->raddr, 16);
	r->proto = IPPROTO_TCP;
	r->role = n->role;
	r->flags = L7_PLAIN | (out ? L7_OUT : 0) | (turn ? L7_TURN : 0);
	r->pad[0] = r->pad[1] = r->pad[2] = 0;
	r->skipped = r->pad2 = 0;
	l7_count(L7_STAT_RECORDS, 1);
	l7_count(L7_STAT_COPIED, r->data_len);
	bpf_ringbuf_submit(r, wakeup_flag(&payload, PAYLOAD_SIZE));
	return 1;
}

#endif
