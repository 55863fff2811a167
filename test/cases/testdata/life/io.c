/* Ways to read, write and wait that are not read(2) and write(2) in the main thread. */
#include "life.h"
#include <linux/io_uring.h>
#include <stdatomic.h>

static atomic_int at_work;

static void *accepts_one(void *listener)
{
	int c;

	at_work++;
	c = check(accept((intptr_t)listener, 0, 0), "accept");
	drain(c); /* blocked here until all connections are there */
	close(c);
	return 0;
}

/* HOST PORT THREADS: each blocks in accept, then in read; tells when all run */
int crowd(int argc, char **argv)
{
	int n = atoi(argv[2]), fd = serve(SOCK_STREAM, argv[0], argv[1]);
	pthread_t *all = calloc(n, sizeof(*all));
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 128 << 10); /* drain has a buffer of 64 kB */
	for (int i = 0; i < n; i++)
		if ((errno = pthread_create(&all[i], &small, accepts_one, (void *)(intptr_t)fd)))
			check(-1, "pthread_create");
	while (at_work < n)
		usleep(1000);
	tell("ready");
	for (int i = 0; i < n; i++)
		pthread_join(all[i], 0);
	return 0;
}

/* HOST PORT: accepts one connection and resets it when told to */
int resets(int argc, char **argv)
{
	struct linger now = {1, 0};
	int c, fd = serve(SOCK_STREAM, argv[0], argv[1]);

	c = check(accept(fd, 0, 0), "accept");
	tell("accepted");
	hear();
	check(setsockopt(c, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), "SO_LINGER");
	close(c);
	return 0;
}

/* HOST PORT OCTETS: connects, sends and does nothing more until it is told to end */
int waits(int argc, char **argv)
{
	int fd = dial(SOCK_STREAM, argv[0], argv[1]), room = 1 << 20;

	check(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), "SO_SNDBUF");
	send_all(fd, atol(argv[2]));
	tell("sent");
	hear();
	return 0;
}

/* HOST PORT OCTETS: accepts one connection and serves it when told to */
int slow(int argc, char **argv)
{
	int c, fd = serve(SOCK_STREAM, argv[0], argv[1]);

	c = check(accept(fd, 0, 0), "accept");
	tell("accepted");
	hear();
	answer(c, atol(argv[2]));
	return 0;
}

/* ---- io_uring without liburing: one operation at a time ---- */

static struct {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void *map(size_t size, off_t what)
{
	void *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, what);

	check(p == MAP_FAILED ? -1 : 0, "mmap");
	return p;
}

static void open_ring(unsigned flags)
{
	struct io_uring_params p = {.flags = flags, .sq_thread_idle = 1000};
	char *sq, *cq;

	ring.fd = check(syscall(SYS_io_uring_setup, 4, &p), "io_uring_setup");
	sq = map(p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	cq = map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	ring.sqes = map(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.sq_tail = (void *)(sq + p.sq_off.tail);
	ring.sq_mask = (void *)(sq + p.sq_off.ring_mask);
	ring.sq_array = (void *)(sq + p.sq_off.array);
	ring.cq_head = (void *)(cq + p.cq_off.head);
	ring.cq_tail = (void *)(cq + p.cq_off.tail);
	ring.cq_mask = (void *)(cq + p.cq_off.ring_mask);
	ring.cqes = (void *)(cq + p.cq_off.cqes);
}

static long submit(struct io_uring_sqe op, const char *doing)
{
	unsigned tail = *ring.sq_tail, i = tail & *ring.sq_mask, head;
	long result;

	ring.sqes[i] = op;
	ring.sq_array[i] = i;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	check(syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, 0, 0), "io_uring_enter");
	head = *ring.cq_head;
	while (__atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE) == head)
		check(syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP, 0, 0), "io_uring_enter");
	result = ring.cqes[head & *ring.cq_mask].res;
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	if (result < 0) {
		errno = -result;
		result = -1;
	}
	return check(result, doing);
}

/* HOST PORT OCTETS inline|async|sqpoll: connects, sends, reads to the end */
int uring(int argc, char **argv)
{
	struct addr a = parse(argv[0], argv[1]);
	unsigned flags = !strcmp(argv[3], "async") ? IOSQE_ASYNC : 0;
	int fd = check(socket(a.sa.sa_family, SOCK_STREAM, 0), "socket");
	long left = atol(argv[2]);
	static char buf[65536];
	struct io_uring_sqe op = {.opcode = IORING_OP_CONNECT, .fd = fd, .flags = flags, .addr = (uintptr_t)&a, .off = a.len};

	open_ring(!strcmp(argv[3], "sqpoll") ? IORING_SETUP_SQPOLL : 0);
	submit(op, "connect");
	tell("%d", port_of(fd));
	while (left > 0) {
		op = (struct io_uring_sqe){.opcode = IORING_OP_SEND, .fd = fd, .flags = flags, .addr = (uintptr_t)buf,
					   .len = left < (long)sizeof(buf) ? left : (long)sizeof(buf)};
		left -= submit(op, "send");
	}
	op = (struct io_uring_sqe){.opcode = IORING_OP_SHUTDOWN, .fd = fd, .flags = flags, .len = SHUT_WR};
	submit(op, "shutdown");
	op = (struct io_uring_sqe){.opcode = IORING_OP_RECV, .fd = fd, .flags = flags, .addr = (uintptr_t)buf, .len = sizeof(buf)};
	while (submit(op, "recv") > 0)
		;
	close(fd);
	return 0;
}

/* ---- ways to send ---- */

static int file_of(long octets)
{
	int fd = check(memfd_create("content", 0), "memfd_create");

	check(ftruncate(fd, octets), "ftruncate");
	return fd;
}

static void send_spliced(int fd, long octets)
{
	int from = file_of(octets), pipes[2];

	check(pipe(pipes), "pipe");
	while (octets > 0) {
		long n = check(splice(from, 0, pipes[1], 0, octets < 32768 ? octets : 32768, 0), "splice in");

		for (octets -= n; n > 0;)
			n -= check(splice(pipes[0], 0, fd, 0, n, 0), "splice out");
	}
}

static void send_uncopied(int fd, long octets)
{
	static char buf[65536];
	int one = 1;

	check(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)), "SO_ZEROCOPY");
	while (octets > 0)
		octets -= check(send(fd, buf, octets < 65536 ? octets : 65536, MSG_ZEROCOPY), "send MSG_ZEROCOPY");
}

/* HOST PORT OCTETS sendfile|splice|zerocopy */
int sends(int argc, char **argv)
{
	int fd = dial(SOCK_STREAM, argv[0], argv[1]);
	long octets = atol(argv[2]);

	if (!strcmp(argv[3], "sendfile"))
		for (int from = file_of(octets); octets > 0;)
			octets -= check(sendfile(fd, from, 0, octets), "sendfile");
	else if (!strcmp(argv[3], "splice"))
		send_spliced(fd, octets);
	else
		send_uncopied(fd, octets);
	exchange(fd, 0);
	return 0;
}

/* ---- many datagrams at once ---- */

#define BATCH 16
static char room[BATCH][65536];

static void send_many(int fd, int count, long size)
{
	struct iovec iov = {room, size};
	struct mmsghdr all[BATCH];

	for (int i = 0; i < BATCH; i++)
		all[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	while (count > 0)
		count -= check(sendmmsg(fd, all, count < BATCH ? count : BATCH, 0), "sendmmsg");
}

static void send_segments(int fd, int count, long size)
{
	int segment = size;

	check(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)), "UDP_SEGMENT");
	for (; count > 0; count -= 10)
		check(send(fd, room, size * (count < 10 ? count : 10), 0), "send");
}

static long receive_many(int fd)
{
	struct mmsghdr all[BATCH];
	struct iovec iov[BATCH];
	long sum = 0;
	int n;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){room[i], sizeof(room[i])};
		all[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
	}
	n = check(recvmmsg(fd, all, BATCH, MSG_WAITFORONE, 0), "recvmmsg");
	for (int i = 0; i < n; i++)
		sum += all[i].msg_len;
	return sum;
}

/* mmsg|segments HOST PORT COUNT SIZE, or receive HOST PORT OCTETS */
int datagrams(int argc, char **argv)
{
	if (!strcmp(argv[0], "receive")) {
		int one = 1, fd = serve(SOCK_DGRAM, argv[1], argv[2]);
		long left = atol(argv[3]);

		check(setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof(one)), "UDP_GRO");
		while (left > 0)
			left -= receive_many(fd);
		tell("all");
		return 0;
	}
	int fd = dial(SOCK_DGRAM, argv[1], argv[2]);

	(!strcmp(argv[0], "mmsg") ? send_many : send_segments)(fd, atoi(argv[3]), atol(argv[4]));
	return 0;
}
