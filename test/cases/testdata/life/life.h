/* What the programs of the lifetime cases share. Every role prints what the test
 * has to know, a line each, and ends the process with 1 when something fails. */
#ifndef LIFE_H
#define LIFE_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len;
};

long check(long result, const char *doing);
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct addr parse(const char *host, const char *port);
int port_of(int fd);
int dial(int type, const char *host, const char *port); /* prints the local port */
int serve(int type, const char *host, const char *port); /* binds, listens, prints the port */
void send_all(int fd, long octets);
long drain(int fd);
/* sends octets, says so with a FIN, reads to the end and closes */
void exchange(int fd, long octets);
/* reads to the end, answers with octets and closes */
void answer(int fd, long octets);
void hear(void); /* waits for a line of standard input */
void pass(int via, int fd);
int take(int via);

typedef int role(int argc, char **argv); /* argv without program and role */
role exec_after, use_fd, thread_dials, forks, prefork, passes, hands_off, hit, mass, reuse, says_pid, crowd,
	resets, waits, slow, udp_creator, herd, uring, sends, datagrams;

#endif
