/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Attempts to connect that fail before there is a SYN: no route, a prohibited one,
 * a policy of the control group. They change no state of the socket. connect() is
 * noted when it begins; the SYN takes the note away; what is still there at the next
 * connect() or at the end of the socket has failed. Which error it was no hook of
 * this kind tells.
 */
#ifndef WEIR_ATTEMPT_H
#define WEIR_ATTEMPT_H

#include "tcp.h"
#include "events.h"

/* task: a failed attempt of the socket, if there is one */
static __always_inline void attempt_tell(struct sk_ctx *c, __u64 cookie)
{
	struct sock_rec *r;

	if (!c->t_attempt)
		return;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		stat_add(STAT_LOST_CLOSED, 1);
		c->t_attempt = 0;
		return;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->hdr.ts = bpf_ktime_get_boot_ns();
	r->hdr.type = REC_SOCK_CLOSED;
	r->hdr.len = sizeof(*r);
	r->cookie = cookie;
	r->t_open = c->t_open;
	r->t_syn = c->t_attempt;
	r->opener = c->opener;
	r->owner = c->owner;
	__builtin_memcpy(r->raddr, c->attempt_addr, 16);
	/* no route, no source address; of its family */
	if (c->attempt_addr[10] == 0xff && c->attempt_addr[11] == 0xff && !c->attempt_addr[0])
		map_v4(r->laddr, 0);
	r->rport = c->attempt_port;
	r->netns = bpf_get_current_task_btf()->nsproxy->net_ns->ns.inum;
	r->role = ROLE_CLIENT;
	r->state = TCP_SYN_SENT;
	r->flags = F_NO_SYN;
	c->t_attempt = 0;
	bpf_ringbuf_submit(r, wakeup_flag(&events, EVENTS_SIZE));
}

/* task: connect() of a TCP socket begins; addr is where to, v4 mapped */
static __always_inline void attempt_note(struct bpf_sock_addr *ctx, const __u8 *addr)
{
	struct bpf_sock *sk = ctx->sk;
	struct sk_ctx *c;

	if (!sk || ctx->protocol != IPPROTO_TCP)
		return;
	c = ctx_create(sk);
	if (!c)
		return;
	if (c->t_syn)
		return; /* asked again about an attempt that goes on (EINPROGRESS, EALREADY) */
	attempt_tell(c, bpf_get_socket_cookie(ctx));
	c->t_attempt = bpf_ktime_get_boot_ns();
	__builtin_memcpy(c->attempt_addr, addr, 16);
	c->attempt_port = bpf_ntohs((__u16)ctx->user_port);
	capture(&c->owner, bpf_get_current_task_btf(), HOW_CONNECT);
	c->opener = c->owner;
}

#endif
