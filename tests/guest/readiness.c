// SPDX-License-Identifier: MIT
// poll, select, epoll and eventfd: masks, deadlines, wake-ups, edges, one-shots, nesting, files that go.
// cflags: -Wno-stringop-overflow -Wno-stringop-overread
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static long milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int late_fd;

static void *write_late(void *arg)
{
	usleep((useconds_t)(long)arg * 1000);
	CHECK(write(late_fd, "x", 1) == 1);
	return NULL;
}

static void polls(void)
{
	int p[2];
	struct pollfd pfd[6];
	pthread_t thread;
	long start;
	char c;

	pipe(p);
	pfd[0] = (struct pollfd){.fd = p[0], .events = POLLIN};
	pfd[1] = (struct pollfd){.fd = p[1], .events = POLLOUT};
	pfd[2] = (struct pollfd){.fd = -1, .events = POLLIN};
	pfd[3] = (struct pollfd){.fd = 999, .events = POLLIN};
	pfd[4] = (struct pollfd){.fd = open("/", O_RDONLY), .events = POLLIN | POLLOUT};
	pfd[5] = (struct pollfd){.fd = p[0], .events = 0};
	SHOW(poll(pfd, 6, 0));
	for (int i = 0; i < 6; i++)
		printf("%x ", pfd[i].revents);
	printf("\n");
	start = milliseconds();
	SHOW(poll(pfd, 1, 100));
	CHECK(milliseconds() - start >= 100 && milliseconds() - start < 2000);
	late_fd = p[1];
	pthread_create(&thread, NULL, write_late, (void *)50);
	SHOW(poll(pfd, 1, -1));
	printf("%x\n", pfd[0].revents);
	pthread_join(thread, NULL);
	CHECK(read(p[0], &c, 1) == 1);
	close(p[1]);
	SHOW(poll(pfd, 1, -1));
	printf("%x\n", pfd[0].revents);
	SHOW(poll(NULL, 0, 10));
	SHOW(poll((struct pollfd *)8, 1, 0));
	SHOW(syscall(SYS_ppoll, pfd, 1, &(struct timespec){0, 2000000000}, NULL, 8));
	SHOW(syscall(SYS_ppoll, pfd, 1, &(struct timespec){0, 0}, (void *)&(uint64_t){0}, 4));
	close(p[0]);
	close(pfd[4].fd);
}

static volatile int alarms;

static void on_signal(int signal)
{
	alarms += signal == SIGUSR1;
}

static void *kill_late(void *arg)
{
	usleep(50000);
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

static void masks(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t self = pthread_self(), thread;
	sigset_t block, old, during;
	int p[2];
	struct pollfd pfd;

	pipe(p);
	pfd = (struct pollfd){.fd = p[0], .events = POLLIN};
	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, &old);
	raise(SIGUSR1);
	printf("blocked: %d\n", alarms);
	sigemptyset(&during);
	SHOW(ppoll(&pfd, 1, NULL, &during));
	printf("delivered: %d\n", alarms);
	sigprocmask(SIG_SETMASK, NULL, &during);
	CHECK(sigismember(&during, SIGUSR1));
	sigprocmask(SIG_SETMASK, &old, NULL);
	/* poll is not restarted, whatever SA_RESTART says */
	pthread_create(&thread, NULL, kill_late, &self);
	SHOW(poll(&pfd, 1, 5000));
	pthread_join(thread, NULL);
	printf("delivered: %d\n", alarms);
	close(p[0]);
	close(p[1]);
}

static void selects(void)
{
	int p[2], high;
	fd_set in, out, ex;
	struct timeval zero = {0, 0}, some = {0, 50000};

	pipe(p);
	high = dup2(p[0], 500);
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&ex);
	FD_SET(p[0], &in);
	FD_SET(high, &in);
	FD_SET(p[1], &out);
	FD_SET(p[0], &ex);
	SHOW(select(501, &in, &out, &ex, &zero));
	printf("%d %d %d\n", FD_ISSET(p[0], &in), FD_ISSET(p[1], &out), FD_ISSET(p[0], &ex));
	CHECK(write(p[1], "x", 1) == 1);
	FD_ZERO(&in);
	FD_SET(p[0], &in);
	FD_SET(high, &in);
	SHOW(select(501, &in, NULL, NULL, NULL));
	printf("%d %d\n", FD_ISSET(p[0], &in), FD_ISSET(high, &in));
	SHOW(select(0, NULL, NULL, NULL, &some));
	close(high);
	FD_ZERO(&in);
	FD_SET(500, &in);
	SHOW(select(501, &in, NULL, NULL, &zero));
	SHOW(select(-1, &in, NULL, NULL, &zero));
	close(p[0]);
	close(p[1]);
}

static void events(void)
{
	int e = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC), s;
	uint64_t v = 0;
	struct pollfd pfd = {.fd = e, .events = POLLIN | POLLOUT};

	CHECK(e >= 0);
	SHOW(read(e, &v, 4));
	SHOW(read(e, &v, 8));
	printf("%lu\n", (unsigned long)v);
	SHOW(read(e, &v, 8));
	v = 5;
	SHOW(write(e, &v, 8));
	SHOW(write(e, &v, 8));
	SHOW(read(e, &v, 8));
	printf("%lu\n", (unsigned long)v);
	v = UINT64_MAX;
	SHOW(write(e, &v, 8));
	v = UINT64_MAX - 1;
	SHOW(write(e, &v, 8));
	v = 1;
	SHOW(write(e, &v, 8));
	SHOW(poll(&pfd, 1, 0));
	printf("%x\n", pfd.revents);
	close(e);
	s = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	SHOW(read(s, &v, 8));
	printf("%lu\n", (unsigned long)v);
	SHOW(read(s, &v, 8));
	SHOW(read(s, &v, 8));
	close(s);
	SHOW(eventfd(0, 0x40));
}

static int wait_once(int ep, int timeout)
{
	struct epoll_event ev[4];
	int n = epoll_wait(ep, ev, 4, timeout);

	printf("epoll: %d:", n);
	for (int i = 0; i < n; i++)
		printf(" %x/%d", ev[i].events, ev[i].data.fd);
	printf("\n");
	return n;
}

static void epolls(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), p[2], q[2], copy;
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = 1};
	pthread_t thread;
	char c;

	pipe(p);
	pipe(q);
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, q[0], &ev));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, q[0], &ev));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, 999, &ev));
	SHOW(epoll_ctl(p[0], EPOLL_CTL_ADD, q[0], &ev));
	SHOW(epoll_ctl(ep, 77, p[0], &ev));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, q[0], NULL));
	copy = open("/tmp", O_RDONLY);
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, copy, &ev));
	close(copy);
	wait_once(ep, 0);
	CHECK(write(p[1], "ab", 2) == 2);
	/* level: again and again */
	wait_once(ep, -1);
	wait_once(ep, -1);
	CHECK(read(p[0], &c, 1) == 1);
	wait_once(ep, 0);
	CHECK(read(p[0], &c, 1) == 1);
	wait_once(ep, 20);
	/* edge: once a change */
	ev.events = EPOLLIN | EPOLLET;
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
	CHECK(write(p[1], "x", 1) == 1);
	wait_once(ep, 0);
	wait_once(ep, 0);
	CHECK(write(p[1], "y", 1) == 1);
	wait_once(ep, 0);
	wait_once(ep, 0);
	/* one shot: until armed again */
	ev.events = EPOLLIN | EPOLLONESHOT;
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
	wait_once(ep, 0);
	wait_once(ep, 0);
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
	wait_once(ep, 0);
	/* a waiter is woken */
	ev = (struct epoll_event){.events = EPOLLIN, .data.fd = 2};
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, q[0], &ev));
	late_fd = q[1];
	pthread_create(&thread, NULL, write_late, (void *)50);
	wait_once(ep, 5000);
	pthread_join(thread, NULL);
	/* a file that goes leaves; a duplicate keeps it */
	copy = dup(q[0]);
	close(q[0]);
	wait_once(ep, 0);
	close(copy);
	wait_once(ep, 0);
	/* hang-up */
	ev = (struct epoll_event){.events = EPOLLIN, .data.fd = 1};
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev));
	close(p[1]);
	wait_once(ep, -1);
	SHOW(epoll_wait(ep, &ev, 0, 0));
	SHOW(epoll_wait(p[0], &ev, 1, 0));
	SHOW(epoll_wait(ep, (void *)8, 1, 0));
	SHOW(epoll_create1(1));
	close(p[0]);
	close(q[1]);
	close(ep);
}

static void nested(void)
{
	int outer = epoll_create1(0), inner = epoll_create1(0), e = eventfd(0, 0);
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = 7};
	struct pollfd pfd = {.fd = outer, .events = POLLIN};
	uint64_t one = 1;

	SHOW(epoll_ctl(inner, EPOLL_CTL_ADD, e, &ev));
	ev.data.fd = 8;
	SHOW(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &ev));
	SHOW(epoll_ctl(inner, EPOLL_CTL_ADD, outer, &ev));
	SHOW(poll(&pfd, 1, 0));
	CHECK(write(e, &one, 8) == 8);
	SHOW(poll(&pfd, 1, 0));
	wait_once(outer, 0);
	wait_once(inner, 0);
	close(inner);
	close(outer);
	close(e);
}

/* Many threads hand a token around through eventfds and one epoll each: no wake-up may be lost. */
#define RING 8
static int ring[RING];

static void *ring_thread(void *arg)
{
	long me = (long)arg;
	int ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	uint64_t v;

	epoll_ctl(ep, EPOLL_CTL_ADD, ring[me], &ev);
	for (int i = 0; i < 300; i++) {
		if (i & 1)
			CHECK(epoll_wait(ep, &ev, 1, 10000) == 1);
		else
			CHECK(poll(&(struct pollfd){.fd = ring[me], .events = POLLIN}, 1, 10000) == 1);
		CHECK(read(ring[me], &v, 8) == 8);
		v = 1;
		CHECK(write(ring[(me + 1) % RING], &v, 8) == 8);
	}
	close(ep);
	return NULL;
}

static void token_ring(void)
{
	pthread_t threads[RING];
	uint64_t one = 1;

	for (int i = 0; i < RING; i++)
		ring[i] = eventfd(0, 0);
	for (long i = 0; i < RING; i++)
		pthread_create(&threads[i], NULL, ring_thread, (void *)i);
	CHECK(write(ring[0], &one, 8) == 8);
	for (int i = 0; i < RING; i++)
		pthread_join(threads[i], NULL);
	printf("the token went round\n");
}

int main(void)
{
	polls();
	masks();
	selects();
	events();
	epolls();
	nested();
	token_ring();
	return CHECK_RESULT();
}
