//go:build ignore

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Inside TLS: what a process gives to and gets from OpenSSL or Go's crypto/tls, by
 * probes on their functions, and only of selected control groups. Which socket it
 * is is told by the socket calls that happen within such a call, in the same thread
 * or goroutine: no layout of a library is known here but the order of arguments.
 *
 * Each call is one record: octets come in order and none is missing unnoticed, so
 * that no state of turns is needed, which two goroutines would have to share.
 */
#include "sk_ctx.h"
#include "ring.h"
#include "tls_types.h"
#include "tls_tell.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool selected(void)
{
	struct tls_group g = {.id = bpf_get_current_cgroup_id()};

	if (bpf_map_lookup_elem(&tls_groups, &g))
		return true;
	g.id = cgroup_v1_id(bpf_get_current_task_btf());
	g.legacy = 1;
	return g.id && bpf_map_lookup_elem(&tls_groups, &g);
}

static __always_inline struct tls_caller thread(void)
{
	return (struct tls_caller){.who = bpf_get_current_pid_tgid()};
}

static __always_inline struct tls_caller goroutine(__u64 g)
{
	return (struct tls_caller){.who = bpf_get_current_pid_tgid() >> 32 << 32, .g = g};
}

/* The call that the current task is in, if it is in one. */
static __always_inline struct tls_call *tls_within(struct task_struct *task)
{
	struct tls_caller who = thread();
	struct tls_call *c = bpf_map_lookup_elem(&tls_calls, &who);
	struct pt_regs *regs;

	if (c)
		return c;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	who = goroutine(regs->r14); /* of Go: what the system call found there */
	if (!who.g)
		return 0;
	return bpf_map_lookup_elem(&tls_calls, &who);
}

static __always_inline void tls_addresses(struct tls_conn *n, struct sock *sk)
{
	struct sock_common *k = &sk->__sk_common;

	n->lport = k->skc_num;
	n->rport = bpf_ntohs(k->skc_dport);
	n->netns = k->skc_net.net->ns.inum;
	if (k->skc_family == AF_INET6) {
		__builtin_memcpy(n->laddr, &k->skc_v6_rcv_saddr, 16);
		__builtin_memcpy(n->raddr, &k->skc_v6_daddr, 16);
		return;
	}
	n->laddr[10] = n->laddr[11] = n->raddr[10] = n->raddr[11] = 0xff;
	*(__u32 *)(n->laddr + 12) = k->skc_rcv_saddr;
	*(__u32 *)(n->raddr + 12) = k->skc_daddr;
}

/* Notes that the connection of the call that is in progress, if there is one, has
 * this socket. */
static __always_inline void tls_bind(struct sock *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct tls_conn n = {}, *known;
	struct sk_ctx *ctx;
	struct tls_call *c;
	struct tls_id id;

	if ((task->flags & PF_KTHREAD) || !is_inet(sk) || sk->sk_protocol != IPPROTO_TCP || !selected())
		return;
	c = tls_within(task);
	if (!c)
		return;
	id.tgid = bpf_get_current_pid_tgid() >> 32;
	id.conn = c->conn;
	n.cookie = bpf_get_socket_cookie(sk);
	known = bpf_map_lookup_elem(&tls_conns, &id);
	if (known && known->cookie == n.cookie)
		return;
	tls_addresses(&n, sk);
	n.dir = 2; /* whoever speaks first begins a turn */
	ctx = ctx_lookup(sk);
	if (ctx) {
		n.role = ctx->role;
		n.owner_start = ctx->owner.start;
		n.owner_tgid = ctx->owner.tgid;
	}
	if (bpf_map_update_elem(&tls_conns, &id, &n, BPF_ANY))
		tls_count(TLS_STAT_FULL, 1);
	else
		tls_count(TLS_STAT_BOUND, 1);
}

SEC("tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(tls_received, struct sock *sk)
{
	/* nobody has locked it: called in softirq, `current` may be in a call of another connection */
	if (sk->sk_lock.owned)
		tls_bind(sk);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(tls_sent, struct sock *sk, int ret)
{
	if (ret > 0)
		tls_bind(sk);
	return 0;
}

/* A call longer than this is none: its length is nonsense. */
#define TLS_MAX (1ULL << 30)

static __always_inline bool tls_out(__u8 kind)
{
	return kind == TLS_WRITE || kind == TLS_WRITE_EX;
}

static __always_inline void tls_done(struct tls_call *c, __u64 len)
{
	if (len == 0 || len > c->len || len > TLS_MAX)
		return;
	if (!tls_tell(c, len, tls_out(c->kind)))
		tls_count(TLS_STAT_UNBOUND, 1);
}

/* OpenSSL: int SSL_read(SSL *, void *, int), int SSL_read_ex(SSL *, void *, size_t,
 * size_t *), and the same to write. A call is told when it has returned: before, it
 * is not known how much of it was taken. */
static __always_inline int ssl_enter(struct pt_regs *regs, enum tls_kind kind)
{
	struct tls_caller who = thread();
	struct tls_call c = {.conn = regs->di, .buf = regs->si, .len = regs->dx, .kind = kind};

	if (!selected())
		return 0;
	if (kind == TLS_READ || kind == TLS_WRITE)
		c.len = (__u32)c.len;
	else
		c.done = regs->cx;
	c.ts = bpf_ktime_get_boot_ns();
	if (bpf_map_update_elem(&tls_calls, &who, &c, BPF_ANY))
		tls_count(TLS_STAT_FULL, 1);
	return 0;
}

SEC("uprobe")
int ssl_read(struct pt_regs *regs)
{
	return ssl_enter(regs, TLS_READ);
}

SEC("uprobe")
int ssl_read_ex(struct pt_regs *regs)
{
	return ssl_enter(regs, TLS_READ_EX);
}

SEC("uprobe")
int ssl_write(struct pt_regs *regs)
{
	return ssl_enter(regs, TLS_WRITE);
}

SEC("uprobe")
int ssl_write_ex(struct pt_regs *regs)
{
	return ssl_enter(regs, TLS_WRITE_EX);
}

SEC("uretprobe")
int ssl_return(struct pt_regs *regs)
{
	struct tls_caller who = thread();
	struct tls_call *known = bpf_map_lookup_elem(&tls_calls, &who), c;
	__s32 ret = regs->ax;
	__u64 len = 0;

	if (!known || known->kind == TLS_HANDSHAKE)
		return 0; /* not selected; or told by another probe of the same function */
	c = *known;
	bpf_map_delete_elem(&tls_calls, &who);
	if (ret <= 0)
		return 0;
	if (!c.done)
		len = ret;
	else if (bpf_probe_read_user(&len, sizeof(len), (void *)c.done))
		tls_count(TLS_STAT_UNREADABLE, 1);
	tls_done(&c, len);
	return 0;
}

/* A handshake moves nothing, but tells the socket. It may be within a read. */
static __always_inline int tls_handshake(struct tls_caller who, __u64 conn)
{
	struct tls_call c = {.conn = conn, .kind = TLS_HANDSHAKE};

	if (selected())
		bpf_map_update_elem(&tls_calls, &who, &c, BPF_NOEXIST);
	return 0;
}

static __always_inline int tls_handshaken(struct tls_caller who)
{
	struct tls_call *c = bpf_map_lookup_elem(&tls_calls, &who);

	if (c && c->kind == TLS_HANDSHAKE)
		bpf_map_delete_elem(&tls_calls, &who);
	return 0;
}

SEC("uprobe")
int ssl_handshake(struct pt_regs *regs)
{
	return tls_handshake(thread(), regs->di);
}

SEC("uretprobe")
int ssl_handshake_return(struct pt_regs *regs)
{
	return tls_handshaken(thread());
}

SEC("uprobe")
int ssl_free(struct pt_regs *regs)
{
	struct tls_id id = {.tgid = bpf_get_current_pid_tgid() >> 32, .conn = regs->di};

	bpf_map_delete_elem(&tls_conns, &id); /* SSL_free of one that others hold: found again */
	return 0;
}

/*
 * Go's internal calling convention (1.17): receiver and arguments in rax, rbx, rcx,
 * results from rax on, the goroutine in r14. Stacks move, so there are no return
 * probes but ones at the function's own RET instructions; and a buffer on the stack
 * is remembered by its distance from the stack's end.
 */
static __always_inline __u64 go_stack_end(__u64 g)
{
	__u64 end = 0;

	bpf_probe_read_user(&end, sizeof(end), (void *)(g + 8)); /* g.stack.hi, the second word */
	return end;
}

static __always_inline void go_place(struct tls_call *c, struct pt_regs *regs)
{
	__u64 end = go_stack_end(regs->r14);

	if (c->buf >= regs->sp && c->buf < end)
		c->stack = end - c->buf;
}

SEC("uprobe")
int go_read(struct pt_regs *regs)
{
	struct tls_caller who = goroutine(regs->r14);
	struct tls_call c = {.conn = regs->ax, .buf = regs->bx, .len = regs->cx, .kind = TLS_READ};

	if (!selected())
		return 0;
	go_place(&c, regs);
	if (bpf_map_update_elem(&tls_calls, &who, &c, BPF_ANY))
		tls_count(TLS_STAT_FULL, 1);
	return 0;
}

/* Write takes all or fails for good, and is told at its entry: the answer may be
 * read by another goroutine before it returns. */
SEC("uprobe")
int go_write(struct pt_regs *regs)
{
	struct tls_caller who = goroutine(regs->r14);
	struct tls_call c = {.conn = regs->ax, .buf = regs->bx, .len = regs->cx, .kind = TLS_WRITE}, *known;

	if (!selected())
		return 0;
	known = bpf_map_lookup_elem(&tls_calls, &who);
	if (known && known->told && known->conn == c.conn && known->buf == c.buf && known->done == regs->sp)
		return 0; /* another probe of the same file, under another name, was first */
	c.done = regs->sp;
	c.ts = bpf_ktime_get_boot_ns();
	go_place(&c, regs);
	if (c.len && c.len <= TLS_MAX)
		c.told = tls_tell(&c, c.len, 1);
	if (bpf_map_update_elem(&tls_calls, &who, &c, BPF_ANY))
		tls_count(TLS_STAT_FULL, 1);
	return 0;
}

SEC("uprobe")
int go_return(struct pt_regs *regs)
{
	__u64 g = regs->r14, len = regs->ax;
	struct tls_caller who = goroutine(g);
	struct tls_call *known = bpf_map_lookup_elem(&tls_calls, &who), c;

	barrier_var(len); /* the verifier takes each register from the context by itself */
	if (!known || known->kind == TLS_HANDSHAKE)
		return 0;
	c = *known;
	bpf_map_delete_elem(&tls_calls, &who);
	if (c.told || (__s64)len <= 0)
		return 0;
	if (c.stack)
		c.buf = go_stack_end(g) - c.stack;
	tls_done(&c, len);
	return 0;
}

SEC("uprobe")
int go_handshake(struct pt_regs *regs)
{
	return tls_handshake(goroutine(regs->r14), regs->ax);
}

SEC("uprobe")
int go_handshake_return(struct pt_regs *regs)
{
	return tls_handshaken(goroutine(regs->r14));
}
