//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Payload: of each TCP connection the beginning of every turn, as its sockets send
 * and receive it, and of datagrams what looks like DNS or the beginning of QUIC. What follows in a
 * turn is counted, not copied; the next record says how much it was. Of connections
 * whose exchanges (a request and its answer) do not depend on each other, whole ones
 * are only counted when there are too many of them.
 *
 * The hooks run in softirq: the socket is right, `current` is not.
 */
#include "sk_ctx.h"
#include "ring.h"
#include "l7_maps.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Octets copied of a turn (kprobes.Config.PayloadOctets). */
volatile const __u32 turn_octets = 4096;

/* Exchanges told in full per window and CPU (kprobes.Config.PayloadRate). */
volatile const __u32 window_exchanges = 167;

#define IPPROTO_HOPOPTS 0
#define L7_SKIPS_PER_LOOK 16
#define QUIC_MIN 1200 /* RFC 9000 section 14.1 */

struct l7_packet {
	__u32 off, len; /* payload, from the IP header on */
	__u32 seq;
	__u32 l3;       /* octets of the IP header */
	__u8 proto;
	bool ends; /* a FIN or RST */
};

/* Copies n octets of headers, off of them into the packet: by a load where they are
 * linear, which they mostly are, else by the helper. */
static __always_inline long l7_load(struct __sk_buff *skb, __u32 off, void *to, const __u32 n)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	off &= 0x3f; /* for the verifier: IP headers are no longer than 60 octets */
	data += off;
	if (data + n > end)
		return bpf_skb_load_bytes(skb, off, to, n);
	__builtin_memcpy(to, data, n);
	return 0;
}

/* 0 when the packet is TCP or UDP with payload, or ends a connection. Headers are copied: not all of a
 * packet need be linear. */
static __always_inline int l7_parse(struct __sk_buff *skb, struct l7_packet *p)
{
	__u8 h[20];
	__u32 total, head;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (l7_load(skb, 0, h, 20))
			return -1;
		p->l3 = (h[0] & 0x0f) * 4;
		total = h[2] << 8 | h[3];
		p->proto = h[9];
		if ((h[6] & 0x3f) | h[7])
			return 1; /* a fragment */
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (l7_load(skb, 0, h, 8))
			return -1;
		p->l3 = 40;
		total = h[4] << 8 | h[5];
		if (total)
			total += 40;
		p->proto = h[6]; /* behind extension headers: not looked into, but for one */
		if (p->proto == IPPROTO_HOPOPTS) {
			/* BIG TCP before the device cuts it: a jumbogram (RFC 2675) */
			if (l7_load(skb, 40, h, 8))
				return -1;
			if (h[1] || h[2] != 0xc2)
				return 1;
			p->proto = h[0];
			p->l3 = 48;
		}
	} else {
		return 1;
	}
	if (!total)
		total = skb->len; /* BIG TCP */
	if (p->proto == IPPROTO_TCP) {
		if (l7_load(skb, p->l3, h, 14))
			return -1;
		p->seq = (__u32)h[4] << 24 | (__u32)h[5] << 16 | (__u32)h[6] << 8 | h[7];
		if (h[13] & 2)
			p->seq++; /* the SYN is an octet, too: Fast Open */
		head = p->l3 + (h[12] >> 4) * 4;
		p->ends = h[13] & 5;
	} else if (p->proto == IPPROTO_UDP) {
		head = p->l3 + 8;
	} else {
		return 1;
	}
	if (total <= head && !p->ends)
		return 1;
	p->off = head;
	p->len = total - head;
	return 0;
}

/* A record with the first n octets of the packet's payload, n at most max: 0 or a
 * power of two, so that a mask shows any verifier (6.1's forgets a comparison) that
 * n is neither 0 nor more. */
static __always_inline struct l7_rec *l7_reserve(struct __sk_buff *skb, __u32 off, __u32 n, const __u32 max)
{
	struct l7_rec *r = bpf_ringbuf_reserve(&payload, sizeof(*r) + max, 0);

	if (!r)
		return 0;
	r->data_len = 0;
	if (max) {
		n = ((n - 1) & (max - 1)) + 1;
		barrier_var(n);
		if (!bpf_skb_load_bytes(skb, off, r + 1, ((n - 1) & (max - 1)) + 1))
			r->data_len = n;
	}
	return r;
}

static __always_inline void l7_addresses(struct __sk_buff *skb, struct l7_rec *r, const struct l7_packet *p, bool out)
{
	__u8 a[32], ports[4] = {};
	__u8 *src = out ? r->laddr : r->raddr, *dst = out ? r->raddr : r->laddr;

	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (!bpf_skb_load_bytes(skb, 8, a, 32)) {
			__builtin_memcpy(src, a, 16);
			__builtin_memcpy(dst, a + 16, 16);
		}
	} else if (!bpf_skb_load_bytes(skb, 12, a, 8)) {
		__builtin_memset(src, 0, 10);
		__builtin_memset(dst, 0, 10);
		src[10] = src[11] = dst[10] = dst[11] = 0xff;
		__builtin_memcpy(src + 12, a, 4);
		__builtin_memcpy(dst + 12, a + 4, 4);
	}
	bpf_skb_load_bytes(skb, p->l3, ports, 4);
	r->lport = out ? ports[0] << 8 | ports[1] : ports[2] << 8 | ports[3];
	r->rport = out ? ports[2] << 8 | ports[3] : ports[0] << 8 | ports[1];
}

/* What a turn's packet is told with, beside its payload. */
struct l7_told {
	__u64 now, prev_first, prev_last, prev_octets;
	__u32 seq, prev_next, off, len, n, skipped;
	bool out, turn;
	__u8 flags; /* L7_PAUSE, L7_RESUME */
};

static __always_inline bool l7_emit(struct __sk_buff *skb, struct bpf_sock *sk, const struct l7_packet *p,
				    const struct l7_told *t)
{
	struct l7_rec *r;
	struct sk_ctx *c;

	if (t->n == 0)
		r = l7_reserve(skb, t->off, 0, 0);
	else if (t->n <= L7_SMALL)
		r = l7_reserve(skb, t->off, t->n, L7_SMALL);
	else if (t->n <= L7_HALF)
		r = l7_reserve(skb, t->off, t->n, L7_HALF);
	else if (t->n <= L7_KILO)
		r = l7_reserve(skb, t->off, t->n, L7_KILO);
	else if (t->n <= L7_MEDIUM)
		r = l7_reserve(skb, t->off, t->n, L7_MEDIUM);
	else
		r = l7_reserve(skb, t->off, t->n, L7_LARGE);
	if (!r) {
		l7_count(L7_STAT_LOST, 1);
		l7_count(L7_STAT_LOST_OCTETS, t->n);
		return false;
	}
	r->hdr.ts = t->now;
	r->hdr.type = REC_PAYLOAD;
	r->hdr.len = sizeof(*r) + r->data_len;
	r->cookie = bpf_get_socket_cookie(skb);
	r->prev_first = t->prev_first;
	r->prev_last = t->prev_last;
	r->prev_octets = t->prev_octets;
	r->prev_next = t->prev_next;
	r->seq = t->seq;
	r->len = t->len;
	r->proto = p->proto;
	r->flags = (t->out ? L7_OUT : 0) | (t->turn ? L7_TURN : 0) | t->flags;
	r->owner_start = 0;
	r->owner_tgid = r->netns = 0;
	r->role = ROLE_UNKNOWN;
	r->pad[0] = r->pad[1] = r->pad[2] = 0;
	r->skipped = t->skipped;
	r->pad2 = 0;
	c = ctx_lookup(sk);
	if (c) {
		r->owner_start = c->owner.start;
		r->owner_tgid = c->owner.tgid;
		r->netns = c->netns;
		r->role = c->role;
	}
	if (t->prev_octets) { /* a stream's addresses have been told */
		r->lport = r->rport = 0;
		__builtin_memset(r->laddr, 0, 32);
	} else {
		l7_addresses(skb, r, p, t->out);
	}
	l7_count(L7_STAT_RECORDS, 1);
	l7_count(L7_STAT_COPIED, r->data_len);
	if (t->skipped)
		l7_count(L7_STAT_SKIPPED, t->skipped);
	bpf_ringbuf_submit(r, wakeup_flag(&payload, PAYLOAD_SIZE));
	return true;
}

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

/* Whether there is time to tell of one more exchange in full. */
static __always_inline bool l7_room(__u64 now)
{
	__u32 zero = 0;
	struct l7_window *w = bpf_map_lookup_elem(&l7_windows, &zero);

	if (!w)
		return true;
	if (w->number != now >> L7_WINDOW_SHIFT) {
		w->number = now >> L7_WINDOW_SHIFT;
		w->told = 0;
	}
	if (w->told >= window_exchanges)
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

/* What was skipped before the end of a connection. */
static __always_inline void l7_tail(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_sock *s,
				    const struct l7_packet *p, __u64 now)
{
	struct l7_told t = {.now = now, .flags = L7_RESUME, .prev_octets = 1};

	bpf_spin_lock(&s->lock);
	t.skipped = s->skipped;
	s->skipped = 0;
	bpf_spin_unlock(&s->lock);
	if (t.skipped && !l7_emit(skb, sk, p, &t))
		l7_untold(s, t.skipped);
}

static __always_inline void l7_segment(struct __sk_buff *skb, struct bpf_sock *sk, struct l7_sock *s,
				       const struct l7_packet *p, bool out)
{
	struct l7_told t = {.seq = p->seq, .off = p->off, .len = p->len, .out = out};
	bool tell, turn, room = true;
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
	/* an answer that is skipped is not timed, and the clock is not cheap */
	if (!s->skipping || s->want == L7_SAMPLE_IN + (out ? 1 : 0) || p->ends)
		t.now = bpf_ktime_get_boot_ns();
	else
		t.now = s->last;
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
	if (turn && s->want == L7_SAMPLE_IN + (out ? 1 : 0))
		room = l7_room(t.now);
	if (p->len) {
		bpf_spin_lock(&s->lock);
		tell = l7_step(s, &t, room);
		bpf_spin_unlock(&s->lock);
		if (tell && !l7_emit(skb, sk, p, &t))
			l7_untold(s, t.skipped);
	}
	if (p->ends && s->skipped)
		l7_tail(skb, sk, s, p, t.now);
}

/* RFC 1035 section 4.1.1: one question, nothing else in a query, few records in an
 * answer, and a name that begins with a label. */
static __always_inline bool like_dns(const __u8 *h, __u32 len)
{
	__u16 answers = h[6] << 8 | h[7], others = (h[8] << 8 | h[9]) | (h[10] << 8 | h[11]);

	if (len < 17 || (h[2] & 0x78) || (h[3] & 0x40) || h[4] || h[5] != 1)
		return false;
	if (!(h[2] & 0x80) && (answers || (h[3] & 0x0f)))
		return false;
	return answers <= 64 && others <= 64 && h[12] <= 63;
}

/* RFC 9000 section 17.2.2, RFC 9369: an Initial packet of version 1 or 2. */
static __always_inline bool like_quic(const __u8 *h, __u32 len)
{
	__u32 version = (__u32)h[1] << 24 | (__u32)h[2] << 16 | (__u32)h[3] << 8 | h[4];

	if (len < QUIC_MIN || (h[0] & 0xc0) != 0xc0)
		return false;
	return (version == 1 && (h[0] & 0x30) == 0) || (version == 0x6b3343cf && (h[0] & 0x30) == 0x10);
}

static __always_inline void l7_datagram(struct __sk_buff *skb, struct bpf_sock *sk, const struct l7_packet *p, bool out)
{
	struct l7_told t = {.off = p->off, .len = p->len, .out = out, .turn = true};
	__u8 h[13];

	if (p->len < sizeof(h) || bpf_skb_load_bytes(skb, p->off, h, sizeof(h)))
		return;
	if (!like_dns(h, p->len) && !like_quic(h, p->len))
		return;
	t.now = bpf_ktime_get_boot_ns();
	t.n = p->len;
	if (t.n > L7_MEDIUM)
		t.n = L7_MEDIUM;
	l7_emit(skb, sk, p, &t);
}

static __always_inline int l7_packet(struct __sk_buff *skb, bool out)
{
	struct bpf_sock *sk = skb->sk;
	struct l7_packet p = {};
	struct l7_sock *s = 0;
	int rc;

	if (!sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->state == TCP_LISTEN)
		return 1;
	if (sk->protocol == IPPROTO_TCP) {
		s = bpf_sk_storage_get(&l7_sock, sk, 0, 0);
		if (s && s->want == L7_OFF)
			return 1; /* for good: nothing costs less */
	}
	rc = l7_parse(skb, &p);
	if (rc) {
		if (rc < 0)
			l7_count(L7_STAT_UNPARSED, 1);
		return 1;
	}
	if (p.proto == IPPROTO_UDP)
		l7_datagram(skb, sk, &p, out);
	else
		l7_segment(skb, sk, s, &p, out);
	return 1;
}

SEC("cgroup_skb/egress")
int payload_egress(struct __sk_buff *skb)
{
	return l7_packet(skb, true);
}

SEC("cgroup_skb/ingress")
int payload_ingress(struct __sk_buff *skb)
{
	return l7_packet(skb, false);
}

/* Keep the record's type in the BTF, where a test reads it. */
const struct l7_rec *const l7_rec_type = 0;
