//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The flow path's metering process: every packet that passes a network device
 * of this namespace, in either direction, is added to the entry of its flow.
 * Nothing is copied to user space per packet; user space reads flow_table on a
 * timer and takes differences.
 *
 * One packet crosses many devices (veth, bridge, veth, or an uplink and a VLAN
 * on it), but is to be counted once. So for each direction of a flow the first
 * (device, hook) that sees it owns the counting; the same packets seen elsewhere
 * are entered in that device's ledger as duplicates, and nowhere else. A later
 * place sees a packet always after the owner has counted it, hence:
 *   - when the owner has not counted for 2 s while another place sees packets,
 *     that place takes over (route changed, device gone, probe attached late);
 *     up to 2 s of such a flow are in the ledgers only;
 *   - where one direction is spread packet by packet over several devices
 *     (round-robin bonding, per-packet ECMP) only the owner's share is in the
 *     flow; the ledgers still balance.
 * On lo, egress and ingress are two hooks and the first, egress, owns.
 *
 * Equal tuples on bridges that nothing joins are not one flow: there the key says
 * on which of them the packet was (flow_domains).
 *
 * NAT changes the tuple: the packet before and the packet after it are two
 * flows here, joined in user space by the FLOW_EVENT_NAT record.
 */
#include "flow_types.h"
#include "flow_maps.h"

/* Read conntrack entries (Config of the Go side). */
volatile const __u8 nat_enabled = 1;
/* Silence of the owner after which another place takes over. */
volatile const __u64 takeover_ns = 2000000000ULL;
/* flow_domains has entries: set by user space while the programs run. */
volatile __u8 have_domains;

#include "flow_parse.h"
#include "flow_nat.h"
#include "flow_ledger.h"

#define LOOPBACK_IFINDEX 1
#define FAMILY_V4 2 /* AF_INET, AF_INET6 */
#define FAMILY_V6 10
#define MAX_INNER 256 /* octets of headers inside a tunnel */
/* Sockets that take turns on one tuple within this time, again and again, are
 * counted together from then on until the entry is idle. */
#define QUICK_NS 1000000ULL
#define QUICK_MAX 255
/* The clock costs as much as a lookup: a direction that has had this many packets is
 * stamped once a tick, and at its end. */
#define BUSY_PACKETS 16

static __always_inline __u64 segments(struct __sk_buff *skb, __u32 hdr)
{
	__u32 size = skb->gso_size, segs = skb->gso_segs;

	if (segs)
		return segs;
	/* Packets from a guest (virtio, tun) come without a segment count;
	 * 0xffff is GSO_BY_FRAGS. */
	if (!size || size == 0xffff || skb->len <= hdr)
		return 1;
	return (skb->len - hdr + size - 1) / size;
}

/*
 * Octets of headers in each segment of a super-packet. Of one in a tunnel hdr is
 * the outside only; what its length has beyond full segments is header, and where
 * the last segment is not full, part of the inner header is missed.
 */
static __always_inline __u32 repeated(struct __sk_buff *skb, __u32 hdr, __u64 segs)
{
	__u64 size = skb->gso_size, full = size * segs, len = skb->len;

	if (!size || size == 0xffff || len <= full + hdr || len > full + hdr + MAX_INNER)
		return hdr;
	return len - full;
}

/* FIN both ways, or a reset: a SYN after that opens another connection. */
static __always_inline bool ended(const struct flow_val *v)
{
	return v->dir[0].flags[FLOW_RST] || v->dir[1].flags[FLOW_RST] ||
	       (v->dir[0].flags[FLOW_FIN] && v->dir[1].flags[FLOW_FIN]);
}

static __always_inline bool syn_only(const struct packet *p)
{
	return (p->tcp_flags & 0x17) == 0x02; /* SYN without ACK, RST, FIN */
}

static __always_inline bool syn_ack(const struct packet *p)
{
	return (p->tcp_flags & 0x17) == 0x12;
}

static __always_inline void set_flags(struct flow_dir *d, const struct packet *p)
{
	__u8 f = p->tcp_flags;

	if (p->proto != PROTO_TCP)
		return;
#pragma unroll
	for (int i = 0; i < 8; i++)
		if (f >> i & 1)
			d->flags[i] = 1;
	if (syn_only(p))
		d->flags[FLOW_SYNONLY] = 1;
	if (syn_ack(p))
		d->flags[FLOW_SYNACK] = 1;
}

/* A reset is often sent by a socket of the kernel's own, which nobody opened; a
 * virtual machine's packets carry the socket of its tun device, and what a packet
 * socket sends carries that. */
static __always_inline __u64 cookie(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock *sk = (struct bpf_sock *)skb->sk;

	if (p->tcp_flags & (1 << FLOW_RST) || !sk || (sk->family != FAMILY_V4 && sk->family != FAMILY_V6))
		return 0;
	return bpf_get_socket_cookie(skb);
}

struct what {
	__u64 packets;
	__u64 octets;
	__u32 place; /* ifindex << 1 | hook */
	__u32 tick;  /* jiffies, low half */
	__u8 quick;  /* of the instance that this packet may begin */
};

/* The cookie of the socket that sends the packet from its own port: not of one
 * whose packets travel inside it (a tunnel's outer packet keeps the inner sender). */
static __always_inline __u64 sender(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock *sk = (struct bpf_sock *)skb->sk;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != p->proto || sk->src_port != p->sport)
		return 0;
	return bpf_get_socket_cookie(skb);
}

/*
 * Does the packet begin another flow on the ports of an entry (C1)? A SYN does
 * when the connection was over or is another socket's; a datagram does when
 * another socket than before sends in the direction that began the flow. Only
 * the place that counts can tell: elsewhere packets may be late.
 */
static __always_inline bool reused(struct __sk_buff *skb, const struct flow_val *v, const struct packet *p,
				   struct what *w, struct flow_stat *st)
{
	const struct flow_dir *d = &v->dir[p->dir & 1];
	__u64 c;

	if (p->proto == PROTO_TCP) {
		if (!syn_only(p))
			return false;
		if (ended(v))
			return true;
	} else if (v->first != p->dir) {
		return false;
	}
	if (!d->cookie || d->owner != w->place)
		return false;
	c = bpf_get_socket_cookie(skb);
	if (c == d->cookie || !sender(skb, p))
		return false;
	if (v->quick == QUICK_MAX) {
		st->reuse_merged++;
		return false;
	}
	w->quick = (__s64)(bpf_ktime_get_boot_ns() - v->start_ns) < (__s64)QUICK_NS ? v->quick + 1 : v->quick / 2;
	return true;
}

/* Whether the owner of a direction has counted within takeover_ns. The clock is read
 * only when it has not within this tick. */
static __always_inline bool fresh(const struct flow_dir *d, const struct what *w)
{
	/* Signed: another CPU may have stamped after we read the clock. */
	return d->tick == w->tick || (__s64)(bpf_ktime_get_boot_ns() - d->last_ns) < (__s64)takeover_ns;
}

/* Adds to an existing entry; 0 when another place counts this direction. */
static __always_inline int account(struct __sk_buff *skb, struct flow_val *v, const struct packet *p,
				   const struct what *w, struct flow_stat *st)
{
	struct flow_dir *d = &v->dir[p->dir & 1];
	__u32 owner = d->owner;

	if (owner != w->place) {
		if (owner && fresh(d, w))
			return 0;
		d->owner = w->place;
		if (owner)
			st->takeovers++;
	}
	__sync_fetch_and_add(&d->packets, w->packets);
	__sync_fetch_and_add(&d->octets, w->octets);
	__sync_fetch_and_add(&d->payload, (__u64)p->payload);
	if (p->zero_window)
		__sync_fetch_and_add(&d->zero_windows, (__u32)w->packets);
	if (d->tick != w->tick || d->packets < BUSY_PACKETS || p->tcp_flags & (1 << FLOW_FIN | 1 << FLOW_RST)) {
		d->last_ns = bpf_ktime_get_boot_ns();
		d->tick = w->tick;
	}
	if (!d->cookie)
		d->cookie = cookie(skb, p);
	if (syn_ack(p) && !v->synack_ns)
		v->synack_ns = d->last_ns;
	set_flags(d, p);
	return 1;
}

/*
 * The port pair of an entry is used again. The finished instance goes to user space whole, before the entry is removed; when
 * the ring is full the new connection is counted into the old entry, so that no
 * octet is lost, only the boundary. What another CPU adds between the copy and
 * the delete is lost from the flow (it stays in the ledger): late packets of a
 * closed connection at the very moment of its reuse.
 * Returns true when the entry is gone.
 */
static __always_inline bool retire(const struct flow_key *k, const struct flow_val *v, struct flow_stat *st)
{
	struct flow_ended *ev = bpf_ringbuf_reserve(&flow_events, sizeof(*ev), 0);

	if (!ev) {
		st->reuse_merged++;
		return false;
	}
	ev->head.ns = bpf_ktime_get_boot_ns();
	ev->head.type = FLOW_EVENT_ENDED;
	ev->head._pad = 0;
	__builtin_memcpy(&ev->key, k, sizeof(*k));
	__builtin_memcpy(&ev->val, v, sizeof(*v));
	bpf_ringbuf_submit(ev, BPF_RB_NO_WAKEUP);
	bpf_map_delete_elem(&flow_table, k);
	st->reuses++;
	return true;
}

/* A new entry with this packet in it: 0, -EEXIST when another CPU was first, < 0 full. */
static __always_inline long create(struct __sk_buff *skb, const struct packet *p, const struct what *w, bool nat)
{
	struct flow_val v = {};
	struct flow_dir *d = &v.dir[0];

	if (p->dir)
		d = &v.dir[1];
	v.start_ns = bpf_ktime_get_boot_ns();
	v.first = p->dir;
	v.syn = syn_only(p);
	v.loopback = w->place >> 1 == LOOPBACK_IFINDEX;
	v.nat_done = nat;
	v.quick = w->quick;
	d->packets = w->packets;
	d->octets = w->octets;
	d->payload = p->payload;
	d->zero_windows = p->zero_window ? w->packets : 0;
	d->last_ns = v.start_ns;
	d->tick = w->tick;
	d->owner = w->place;
	d->cookie = cookie(skb, p);
	set_flags(d, p);
	return bpf_map_update_elem(&flow_table, &p->key, &v, BPF_NOEXIST);
}

/* Which line of the ledger the packet of a flow belongs in. */
static __always_inline struct dev_sum *meter(struct __sk_buff *skb, const struct packet *p, struct what *w,
					     struct dev_val *dev, struct flow_stat *st)
{
	const bool egress = w->place & 1;
	unsigned long ct = egress ? nat_entry(skb) : 0;
	struct flow_val *v;
	long err;

	v = bpf_map_lookup_elem(&flow_table, &p->key);
	if (v && reused(skb, v, p, w, st) && retire(&p->key, v, st))
		v = 0;
	if (!v) {
		err = create(skb, p, w, ct != 0);
		if (!err) {
			if (ct)
				nat_emit(ct);
			return &dev->flow;
		}
		if (err != -EEXIST)
			return &dev->overflow;
		v = bpf_map_lookup_elem(&flow_table, &p->key);
		if (!v)
			return &dev->overflow;
	}
	/* Once per instance, at the first egress that has an entry: for a flow
	 * whose first packet came in, that is not the packet that made it. */
	if (ct && !v->nat_done) {
		v->nat_done = 1;
		nat_emit(ct);
	}
	return account(skb, v, p, w, st) ? &dev->flow : &dev->dup;
}

static __always_inline __u16 domain_of(__u32 ifindex)
{
	__u32 *d = bpf_map_lookup_elem(&flow_domains, &ifindex);

	return d ? *d : 0;
}

static __always_inline int handle(struct __sk_buff *skb, const __u32 hook, const bool l2)
{
	struct packet p = {};
	struct what w = {};
	struct dev_sum *line;
	struct flow_stat *st;
	struct dev_val *dev;
	__u32 zero = 0;
	int verdict;

	st = bpf_map_lookup_elem(&flow_stats, &zero);
	if (!st)
		return TCX_NEXT;
	dev = ledger(skb->ifindex, hook);
	if (!dev) {
		/* Detached in this moment, or moved to another namespace where
		 * the number means another device. */
		st->stray++;
		return TCX_NEXT;
	}
	w.tick = bpf_jiffies64();
	w.place = skb->ifindex << 1 | hook;
	verdict = parse(skb, l2, &p);
	w.packets = segments(skb, p.hdr);
	/* A tag that the device inserts or has stripped is not in len, but was or
	 * will be in every frame. */
	w.octets = skb->len + (w.packets - 1) * repeated(skb, p.hdr, w.packets) + (skb->vlan_present ? 4 * w.packets : 0);

	if (verdict == IS_FLOW && have_domains)
		p.key.domain = domain_of(w.place >> 1);
	if (verdict == IS_FLOW)
		line = meter(skb, &p, &w, dev, st);
	else if (verdict == IS_FRAG)
		line = &dev->frag;
	else if (verdict == IS_MALFORMED)
		line = &dev->malformed;
	else
		line = &dev->nonflow;
	dev->skbs++;
	dev->skb_octets += skb->len;
	add(&dev->seen, w.packets, w.octets);
	add(line, w.packets, w.octets);
	return TCX_NEXT;
}

SEC("tcx/ingress")
int flow_ingress(struct __sk_buff *skb)
{
	return handle(skb, FLOW_INGRESS, true);
}

SEC("tcx/egress")
int flow_egress(struct __sk_buff *skb)
{
	return handle(skb, FLOW_EGRESS, true);
}

/* For devices whose frames begin with the IP header. */
SEC("tcx/ingress")
int flow_ingress_l3(struct __sk_buff *skb)
{
	return handle(skb, FLOW_INGRESS, false);
}

SEC("tcx/egress")
int flow_egress_l3(struct __sk_buff *skb)
{
	return handle(skb, FLOW_EGRESS, false);
}

/* Keep the types of the ring's records in the BTF, where a test reads them. */
const struct flow_ended *const flow_ended_type = 0;
const struct flow_nat *const flow_nat_type = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";
