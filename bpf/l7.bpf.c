//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Payload: of each TCP connection the beginning of every turn, as its sockets send
 * and receive it, and of datagrams what looks like DNS or the beginning of QUIC. What
 * follows in a turn is counted, not copied; the next record says how much it was. Of
 * connections whose exchanges (a request and its answer) do not depend on each other,
 * whole ones are only counted when there are too many of them.
 *
 * The hooks run in softirq: the socket is right, `current` is not.
 */
#include "sk_ctx.h"
#include "ring.h"
#include "l7_maps.h"
#include "l7_parse.h"
#include "l7_tell.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Octets copied of a turn (kprobes.Config.PayloadOctets). */
volatile const __u32 turn_octets = 4096;

/* Exchanges told in full per window and CPU (kprobes.Config.PayloadRate). */
volatile const __u32 window_exchanges = 167;

#define L7_SKIPS_PER_LOOK 16
/* Where this many times as many exchanges come as there is time for, a part of that
 * does: what is told is a small sample anyhow. */
#define L7_FLOOD 8
#define L7_FLOOD_PART 4

/* Takes from a segment what was seen before: what is sent again is not payload
 * again. Returns the octets that are new; a segment that fills a hole is new. */
static __always_inline __u32 l7_fresh(struct l7_sock *s, __u32 out, struct l7_told *t)
{
	__u32 end = t->seq + t->len, skip;

	if (!s->started[out]) {
		s->started[out] = 1;
		s->next[out] = t->seq;
	}
	if ((__s32)(t->seq - s->next[out]) > 0) { /* something is missing before it */
		s->hole[out] = s->next[out];
		s->hole_end[out] = t->seq;
		s->next[out] = end;
		return t->len;
	}
	if ((__s32)(end - s->next[out]) > 0) {
		skip = s->next[out] - t->seq;
		t->seq += skip;
		t->off += skip;
		t->len -= skip;
		s->next[out] = end;
		return t->len;
	}
	if ((__s32)(t->seq - s->hole[out]) >= 0 && (__s32)(end - s->hole_end[out]) <= 0 &&
	    s->hole[out] != s->hole_end[out]) {
		s->hole[out] = end;
		return t->len;
	}
	return 0;
}

/* Whether there is time to tell of one more exchange in full. The clock is read once
 * a tick: it costs as much as all the rest of a skipped turn. */
static __always_inline bool l7_room(void)
{
	__u32 zero = 0, tick = bpf_jiffies64();
	struct l7_window *w = bpf_map_lookup_elem(&l7_windows, &zero);
	__u64 number;

	if (!w)
		return true;
	if (w->tick != tick) {
		w->tick = tick;
		number = bpf_ktime_get_boot_ns() >> L7_WINDOW_SHIFT;
		if (w->number != number) {
			w->number = number;
			w->limit = window_exchanges;
			if (w->asked / L7_FLOOD > window_exchanges)
				w->limit = (window_exchanges + L7_FLOOD_PART - 1) / L7_FLOOD_PART;
			w->asked = w->told = 0;
		}
	}
	w->asked++;
	if (w->told >= w->limit)
		return false;
	w->told++;
	return true;
}

/* At the beginning of a turn: whether it is skipped, told or not that skipping
 * begins. Runs under the lock. */
static __always_inline bool l7_skip(struct l7_sock *s, struct l7_told *t, bool room)
{
	bool request = s->want == L7_SAMPLE_IN + (t->out ? 1 : 0);

	if (s->want < L7_SAMPLE_IN || (request && room)) {
		if (s->skipping)
			t->flags = L7_RESUME;
		s->skipping = 0;
		t->skipped = s->skipped;
		s->skipped = 0;
	} else if (request) {
		if (!s->skipping)
			t->flags = L7_PAUSE;
		s->skipping = 1;
		s->skipped++;
	}
	return s->skipping;
}

/* Whether user space is to hear of the segment: fills t. Runs under the lock. */
static __always_inline bool l7_step(struct l7_sock *s, struct l7_told *t, bool room)
{
	const __u32 out = t->out ? 1 : 0;

	if (!l7_fresh(s, out, t))
		return false;
	t->turn = !s->octets || s->dir != out;
	if (t->turn) {
		t->prev_first = s->first;
		t->prev_last = s->last;
		t->prev_octets = s->octets;
		t->prev_next = s->next[out ^ 1];
		s->dir = out;
		s->first = t->now;
		s->octets = 0;
		s->copied = 0;
		l7_skip(s, t, room);
	}
	s->last = t->now;
	s->octets += t->len;
	if (s->skipping) {
		t->len = 0; /* nothing of it is told, */
		return t->flags; /* but for the end of the turn before */
	}
	if (s->want == L7_TURNS) {
		t->n = 0;
		return t->turn;
	}
	if (!t->turn && s->copied >= turn_octets)
		return false;
	t->n = turn_octets - s->copied;
	if (t->n > t->len)
		t->n = t->len;
	if (t->n > L7_LARGE)
		t->n = L7_LARGE;
	s->copied += t->n;
	return true;
}

/* What could not be told is told with the next record. */
static __always_inline void l7_untold(struct l7_sock *s, __u32 skipped)
{
	if (!skipped)
		return;
	bpf_spin_lock(&s->lock);
	s->skipped += skipped;
	bpf_spin_unlock(&s->lock);
}

/* At the end of a connection: whether its last turn was longer than what was copied of
 * it, so that user space does not know where it ended. Runs under the lock. */
static __always_inline bool l7_ends(struct l7_sock *s, struct l7_told *t)
{
	const __u32 out = s->dir ? 0 : 1;

	if (s->octets <= s->copied || s->skipping || s->want == L7_TURNS || !s->started[out])
		return false;
	s->copied = s->octets > ~0u ? ~0u : s->octets;
	t->out = out;
	t->turn = true;
	t->flags |= L7_END;
	t->seq = s->next[out];
	t->prev_first = s->first;
	t->prev_last = s->last;
	t->prev_octets = s->octets;
	t->prev_next = s->next[out ^ 1];
	return true;
}

/* What was skipped before the end of a connection, and how long its last turn was. */
static __always_inline void l7_tail(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_sock *s,
				    const struct l7_packet *p, __u64 now)
{
	struct l7_told t = {.now = now, .prev_octets = 1};
	bool ends;

	bpf_spin_lock(&s->lock);
	t.skipped = s->skipped;
	s->skipped = 0;
	if (t.skipped)
		t.flags = L7_RESUME;
	ends = l7_ends(s, &t);
	bpf_spin_unlock(&s->lock);
	if ((t.skipped || ends) && !l7_emit(skb, sk, p, &t))
		l7_untold(s, t.skipped);
}

static __always_inline void l7_segment(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_sock *s,
				       const struct l7_packet *p, bool out)
{
	struct l7_told t = {.seq = p->seq, .off = p->off, .len = p->len, .out = out};
	bool tell, turn, asks = false, room = true;
	__u64 cookie;
	__u8 *want;

	if (!s) {
		if (!p->len)
			return;
		s = bpf_sk_storage_get(&l7_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (!s) {
			l7_count(L7_STAT_NO_STORAGE, 1);
			return;
		}
	}
	turn = p->len && s->octets && s->dir != out;
	/* a look at the map costs as much as all the rest of a skipped turn */
	if (turn && (!s->skipping || s->skipped % L7_SKIPS_PER_LOOK == 0)) {
		cookie = bpf_get_socket_cookie(skb);
		want = bpf_map_lookup_elem(&l7_wants, &cookie);
		if (want)
			s->want = *want;
		if (s->want == L7_OFF)
			return;
	}
	if (turn && s->want == L7_SAMPLE_IN + (out ? 1 : 0)) {
		asks = true;
		room = l7_room();
	}
	/* what is skipped is not timed */
	if (s->skipping && s->want >= L7_SAMPLE_IN && !(asks && room) && !p->ends)
		t.now = s->last;
	else
		t.now = bpf_ktime_get_boot_ns();
	if (p->len) {
		bpf_spin_lock(&s->lock);
		tell = l7_step(s, &t, room);
		bpf_spin_unlock(&s->lock);
		if (tell && !l7_emit(skb, sk, p, &t))
			l7_untold(s, t.skipped);
	}
	if (p->ends && (s->skipped || s->octets > s->copied))
		l7_tail(skb, sk, s, p, t.now);
}

static __always_inline void l7_datagram(struct __sk_buff *skb, struct bpf_sock *sk, const struct l7_packet *p, bool out)
{
	struct l7_told t = {.off = p->off, .len = p->len, .out = out, .turn = true};
	__u8 h[13];

	if (p->len < sizeof(h) || bpf_skb_load_bytes(skb, p->off, h, sizeof(h)))
		return;
	if (!like_dns(h, p->len) && !like_quic(h))
		return;
	t.now = bpf_ktime_get_boot_ns();
	t.n = p->len;
	if (t.n > L7_MEDIUM)
		t.n = L7_MEDIUM;
	l7_emit(skb, sk, p, &t);
}

/* Whether it is of a connection that has had payload. */
static __always_inline bool l7_packet(struct __sk_buff *skb, bool out)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_packet p = {};
	struct l7_sock *s;
	int rc;

	if (!sk)
		return false;
	s = bpf_sk_storage_get(&l7_sock, sk, 0, 0);
	if (s) { /* a connection, so nothing need be asked of the socket */
		if (s->want == L7_OFF)
			return true; /* for good: nothing costs less */
	} else {
		sk = bpf_sk_fullsock(sk);
		if (!sk || sk->state == TCP_LISTEN)
			return false;
	}
	rc = l7_parse(skb, &p);
	if (rc) {
		if (rc < 0)
			l7_count(L7_STAT_UNPARSED, 1);
		return s;
	}
	if (p.proto == IPPROTO_UDP)
		l7_datagram(skb, sk, &p, out);
	else
		l7_segment(skb, sk, s, &p, out);
	return s;
}

/* The programs of peer.h, where they are attached behind these: what is neither a
 * datagram nor a connection's beginning passes one program, not two. An array for each
 * direction, because the kernel has one attach type in an array. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} behind_egress SEC(".maps"), behind_ingress SEC(".maps");

SEC("cgroup_skb/egress")
int payload_egress(struct __sk_buff *skb)
{
	if (!l7_packet(skb, true))
		bpf_tail_call(skb, &behind_egress, 0);
	return 1;
}

SEC("cgroup_skb/ingress")
int payload_ingress(struct __sk_buff *skb)
{
	if (!l7_packet(skb, false))
		bpf_tail_call(skb, &behind_ingress, 0);
	return 1;
}

/* Keep the record's type in the BTF, where a test reads it. */
const struct l7_rec *const l7_rec_type = 0;
