#include "life.h"
#include <stdarg.h>

long check(long result, const char *doing)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", doing, strerror(errno));
		_exit(1);
	}
	return result;
}

void tell(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

struct addr parse(const char *host, const char *port)
{
	struct addr a = {};

	if (strchr(host, ':')) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(atoi(port));
		a.len = sizeof(a.v6);
		if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) == 1)
			return a;
	} else {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(atoi(port));
		a.len = sizeof(a.v4);
		if (inet_pton(AF_INET, host, &a.v4.sin_addr) == 1)
			return a;
	}
	errno = EINVAL;
	check(-1, host);
	return a;
}

int port_of(int fd)
{
	struct addr a = {.len = sizeof(a.v6)};

	check(getsockname(fd, &a.sa, &a.len), "getsockname");
	return ntohs(a.v4.sin_port); /* at the same place in both */
}

int dial(int type, const char *host, const char *port)
{
	struct addr a = parse(host, port);
	int fd = check(socket(a.sa.sa_family, type, 0), "socket");

	check(connect(fd, &a.sa, a.len), "connect");
	tell("%d", port_of(fd));
	return fd;
}

int serve(int type, const char *host, const char *port)
{
	struct addr a = parse(host, port);
	int one = 1, fd = check(socket(a.sa.sa_family, type, 0), "socket");

	check(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), "SO_REUSEPORT");
	if (getenv("V6ONLY"))
		check(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), "IPV6_V6ONLY");
	if (type == SOCK_DGRAM) { /* a datagram that finds no room is gone, and a test waits for it */
		int room = 8 << 20;
		check(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)), "SO_RCVBUFFORCE");
	}
	check(bind(fd, &a.sa, a.len), "bind");
	if (type == SOCK_STREAM)
		check(listen(fd, 4096), "listen");
	tell("%d", port_of(fd));
	return fd;
}

void send_all(int fd, long octets)
{
	static char buf[65536];

	while (octets > 0)
		octets -= check(send(fd, buf, octets < (long)sizeof(buf) ? octets : (long)sizeof(buf), MSG_NOSIGNAL), "send");
}

long drain(int fd)
{
	char buf[65536];
	long n, sum = 0;

	while ((n = check(read(fd, buf, sizeof(buf)), "read")) > 0)
		sum += n;
	return sum;
}

void exchange(int fd, long octets)
{
	send_all(fd, octets);
	check(shutdown(fd, SHUT_WR), "shutdown");
	drain(fd);
	close(fd);
}

void answer(int fd, long octets)
{
	drain(fd);
	send_all(fd, octets);
	close(fd);
}

void hear(void)
{
	char c;

	while (check(read(0, &c, 1), "standard input") == 1 && c != '\n')
		;
}

void pass(int via, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	check(sendmsg(via, &m, 0), "sendmsg");
}

int take(int via)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd;

	check(recvmsg(via, &m, 0), "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}

static const struct {
	const char *name;
	role *run;
} roles[] = {
	{"exec-after", exec_after}, {"use-fd", use_fd}, {"thread", thread_dials}, {"forks", forks}, {"prefork", prefork},
	{"passes", passes}, {"hands-off", hands_off}, {"hit", hit}, {"mass", mass}, {"reuse", reuse},
	{"says-pid", says_pid}, {"crowd", crowd}, {"resets", resets}, {"waits", waits}, {"slow", slow}, {"udp-creator", udp_creator},
	{"herd", herd},
	{"uring", uring}, {"sends", sends}, {"datagrams", datagrams},
};

int main(int argc, char **argv)
{
	for (unsigned i = 0; argc > 1 && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (!strcmp(roles[i].name, argv[1]))
			return roles[i].run(argc - 2, argv + 2);
	fprintf(stderr, "no such role\n");
	return 2;
}
