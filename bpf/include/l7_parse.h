/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Where the payload of a packet is, and what datagrams look like that are worth telling. */
#ifndef WEIR_L7_PARSE_H
#define WEIR_L7_PARSE_H

#include "kernel.h"

#define IPPROTO_HOPOPTS 0

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

/* RFC 9000 sections 17.2.2 and 17.2.5, RFC 9369: an Initial or a Retry packet of version 1
 * or 2. Of any size: a server that closes the connection at once needs few octets. */
static __always_inline bool like_quic(const __u8 *h)
{
	__u32 version = (__u32)h[1] << 24 | (__u32)h[2] << 16 | (__u32)h[3] << 8 | h[4];

	__u8 kind = h[0] & 0x30;

	if ((h[0] & 0xc0) != 0xc0)
		return false;
	return (version == 1 && (kind == 0 || kind == 0x30)) || (version == 0x6b3343cf && (kind == 0x10 || kind == 0));
}

#endif
