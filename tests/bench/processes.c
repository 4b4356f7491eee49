// SPDX-License-Identifier: MIT
/* The kernel itself: the null system call, pipes, switches, processes. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "measure.h"

void getppid_test(void)
{
	unsigned n = scaled(20000);
	struct window w;

	for (unsigned i = 0; i < 100; i++)
		syscall(SYS_getppid);
	window_begin(&w);
	for (unsigned i = 0; i < n; i++)
		syscall(SYS_getppid);
	window_end(&w, "getppid", n);
}

/* One byte to another process and back. */
void pipe_test(void)
{
	unsigned n = scaled(2000);
	int to[2], from[2];
	struct window w;
	char byte = 0;
	pid_t child;

	if (pipe(to) || pipe(from))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		close(to[1]);
		close(from[0]);
		while (read(to[0], &byte, 1) == 1)
			if (write(from[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	for (unsigned i = 0; i < 100; i++)
		if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
			die("pipe");
	window_begin(&w);
	for (unsigned i = 0; i < n; i++) {
		uint64_t t = now();

		if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
			die("pipe");
		sample(now() - t);
	}
	window_end(&w, "pipe", n);
	close(to[1]);
	close(from[0]);
	waitpid(child, NULL, 0);
}

/* Two processes on one CPU that yield to each other: the cost of one switch. */
void switch_test(void)
{
	unsigned n = scaled(5000);
	pid_t child = fork();
	struct window w;

	if (child < 0)
		die("fork");
	if (!child)
		for (;;)
			sched_yield();
	for (unsigned i = 0; i < 100; i++)
		sched_yield();
	window_begin(&w);
	for (unsigned i = 0; i < n; i++)
		sched_yield();
	window_end(&w, "switch", 2 * n);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* fork, exec of this static program, which ends at once, and wait. */
void fork_exec(void)
{
	unsigned n = scaled(200);
	struct window w = {0};

	for (int round = 0; round < 2; round++) {
		unsigned rounds = round ? n : 5;

		if (round)
			window_begin(&w);
		for (unsigned i = 0; i < rounds; i++) {
			uint64_t t = now();
			int status;
			pid_t child = fork();

			if (child < 0)
				die("fork");
			if (!child) {
				execl("/proc/self/exe", "latency", "--exit", NULL);
				_exit(127);
			}
			if (waitpid(child, &status, 0) != child || status)
				die("fork-exec: child");
			sample(now() - t);
		}
	}
	window_end(&w, "fork-exec", n);
}
