/* Sockets that change hands, and processes that do not stay what they were. */
#include "life.h"
#include <linux/sched.h>

/* HOST PORT PROGRAM OCTETS: connects, then executes PROGRAM, which goes on */
int exec_after(int argc, char **argv)
{
	int fd = dial(SOCK_STREAM, argv[0], argv[1]);
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	execl(argv[2], argv[2], "use-fd", number, argv[3], (char *)0);
	return check(-1, "exec");
}

/* FD OCTETS */
int use_fd(int argc, char **argv)
{
	exchange(atoi(argv[0]), atol(argv[1]));
	return 0;
}

static void *dialer(void *arg)
{
	char **argv = arg;

	check(prctl(PR_SET_NAME, "another-name"), "prctl");
	exchange(dial(SOCK_STREAM, argv[0], argv[1]), atol(argv[2]));
	return 0;
}

/* HOST PORT OCTETS: a thread with a name of its own does it */
int thread_dials(int argc, char **argv)
{
	pthread_t t;

	if (pthread_create(&t, 0, dialer, argv))
		return 1;
	pthread_join(t, 0);
	return 0;
}

/* HOST PORT CONNECTIONS OCTETS: a child serves each; prints its pid */
int forks(int argc, char **argv)
{
	int fd = serve(SOCK_STREAM, argv[0], argv[1]);

	for (int n = atoi(argv[2]); n > 0; n--) {
		int c = check(accept(fd, 0, 0), "accept");
		pid_t pid = check(fork(), "fork");

		if (!pid) {
			answer(c, atol(argv[3]));
			_exit(0);
		}
		close(c);
		waitpid(pid, 0, 0);
		tell("%d", pid);
	}
	return 0;
}

static void say_pid(int fd)
{
	char text[16];

	drain(fd);
	send_all(fd, 0);
	snprintf(text, sizeof(text), "%-10d", getpid());
	check(write(fd, text, 10), "write");
	close(fd);
}

/* HOST PORT WORKERS: each accepts for itself and answers with its pid */
int prefork(int argc, char **argv)
{
	int fd = serve(SOCK_STREAM, argv[0], argv[1]);

	for (int n = atoi(argv[2]); n > 0; n--) {
		if (check(fork(), "fork"))
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) { /* every other one does not ask who calls: no getpeername hook */
			struct addr a = {.len = sizeof(a.v6)};

			say_pid(check(n % 2 ? accept(fd, &a.sa, &a.len) : accept(fd, 0, 0), "accept"));
		}
	}
	pause();
	return 0;
}

/* HOST PORT OCTETS: accepts, passes the connection on and is gone before anything is read */
int passes(int argc, char **argv)
{
	int pair[2], fd = serve(SOCK_STREAM, argv[0], argv[1]);
	pid_t receiver, sender = getpid();

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), "socketpair");
	receiver = check(fork(), "fork");
	if (receiver) {
		tell("%d", receiver);
		pass(pair[0], check(accept(fd, 0, 0), "accept"));
		return 0;
	}
	fd = take(pair[1]);
	while (getppid() == sender)
		usleep(1000);
	answer(fd, atol(argv[2]));
	return 0;
}

/* HOST PORT FIRST OCTETS: accepts and reads FIRST octets itself, as a proxy does to
 * see whom to give the connection to */
int hands_off(int argc, char **argv)
{
	int pair[2], first = atoi(argv[2]), fd = serve(SOCK_STREAM, argv[0], argv[1]);
	char buf[4096];
	pid_t worker;

	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), "socketpair");
	worker = check(fork(), "fork");
	if (worker) {
		tell("%d", worker);
		fd = check(accept(fd, 0, 0), "accept");
		while (first > 0)
			first -= check(read(fd, buf, first), "read");
		pass(pair[0], fd);
		close(fd);
		waitpid(worker, 0, 0);
		return 0;
	}
	answer(take(pair[1]), atol(argv[3]));
	return 0;
}

/* HOST PORT OCTETS: as little of a process as there can be */
int hit(int argc, char **argv)
{
	struct addr a = parse(argv[0], argv[1]);
	int fd = check(socket(a.sa.sa_family, SOCK_STREAM, 0), "socket");

	check(connect(fd, &a.sa, a.len), "connect");
	send_all(fd, atol(argv[2]));
	_exit(0);
}

/* HOST PORT COUNT PROGRAM: as many processes that hit, one after the other, each
 * with an octet more; prints their pids */
int mass(int argc, char **argv)
{
	for (int n = 1; n <= atoi(argv[2]); n++) {
		char octets[16];
		pid_t pid;
		int status;

		snprintf(octets, sizeof(octets), "%d", n);
		pid = vfork();
		if (!pid) {
			execl(argv[3], argv[3], "hit", argv[0], argv[1], octets, (char *)0);
			_exit(127);
		}
		check(waitpid(pid, &status, 0), "waitpid");
		if (status)
			return 1;
		tell("%d", pid);
	}
	return 0;
}

/* HOST PORT COUNT: processes one after the other, all with the same pid; prints it */
int reuse(int argc, char **argv)
{
	pid_t pid = 0;

	for (int n = 1; n <= atoi(argv[2]); n++) {
		struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = pid ? (uintptr_t)&pid : 0, .set_tid_size = pid ? 1 : 0};
		pid_t child = check(syscall(SYS_clone3, &args, sizeof(args)), "clone3");
		int status;

		if (!child) {
			struct addr a = parse(argv[0], argv[1]);
			int fd = check(socket(AF_INET, SOCK_STREAM, 0), "socket");

			check(connect(fd, &a.sa, a.len), "connect");
			exchange(fd, n);
			_exit(0);
		}
		check(waitpid(child, &status, 0), "waitpid");
		if (status)
			return 1;
		if (n == 1)
			tell("%d", child);
		pid = child;
	}
	return 0;
}

/* tcp|udp HOST PORT: answers everybody with its pid */
int says_pid(int argc, char **argv)
{
	int udp = !strcmp(argv[0], "udp"), fd = serve(udp ? SOCK_DGRAM : SOCK_STREAM, argv[1], argv[2]);

	for (;;) {
		struct addr a = {.len = sizeof(a.v6)};
		char buf[2048];
		int n;

		if (!udp) {
			say_pid(check(accept(fd, &a.sa, &a.len), "accept"));
			continue;
		}
		check(recvfrom(fd, buf, sizeof(buf), 0, &a.sa, &a.len), "recvfrom");
		n = snprintf(buf, sizeof(buf), "%-10d", getpid());
		check(sendto(fd, buf, n, 0, &a.sa, a.len), "sendto");
	}
}

/* HOST PORT COUNT SIZE: the parent makes the socket, a child sends through it; prints the child */
int udp_creator(int argc, char **argv)
{
	int fd = dial(SOCK_DGRAM, argv[0], argv[1]);
	pid_t child = check(fork(), "fork");

	if (!child) {
		for (int n = atoi(argv[2]); n > 0; n--)
			send_all(fd, atol(argv[3]));
		_exit(0);
	}
	waitpid(child, 0, 0);
	tell("%d", child);
	return 0;
}

/* COUNT HOST PORT: that many processes that do nothing; told to, one of them calls
 * and prints its pid */
int herd(int argc, char **argv)
{
	int bell[2];

	check(pipe(bell), "pipe");
	for (int n = atoi(argv[0]); n > 0; n--) {
		char c;

		if (check(fork(), "fork"))
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		check(read(bell[0], &c, 1), "read");
		tell("%d", getpid());
		exchange(dial(SOCK_STREAM, argv[1], argv[2]), 16);
		_exit(0);
	}
	tell("ready");
	hear();
	check(write(bell[1], "x", 1), "write");
	hear();
	return 0;
}
