// SPDX-License-Identifier: MIT
/* What once made the kernel hang, die or leak; found by wild.c and by stress. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static long page;

/* `good` pages that are there, and one that is not. */
static char *pages_and_a_hole(int good)
{
	char *p = mmap(NULL, (good + 1) * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 'x', good * page);
	munmap(p + good * page, page);
	return p;
}

static long size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : (long)st.st_size;
}

/* A write whose buffer ends within a page of a new file: what is there is written. */
static void write_from_a_hole(const char *path)
{
	char *p = pages_and_a_hole(1);
	char back[64];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	SHOW(pwrite(fd, p + page - 64, 65536, 0));
	SHOW(size_of(fd));
	SHOW(pwrite(fd, p + page - 64, 65536, 4096));
	SHOW(size_of(fd));
	SHOW(pwrite(fd, p + 64, 65536, 65536 + 64));
	SHOW(size_of(fd));
	SHOW(pwrite(fd, p + page, 65536, 3 * 65536));
	SHOW(size_of(fd));
	SHOW(pread(fd, back, 64, 4096 + 32));
	SHOW(back[31] == 'x' && !back[32]);
	close(fd);
	unlink(path);
	munmap(p, page);
}

/* A parent that waits for its vfork child can be killed before the child lets it go. */
static void killed_in_vfork(void)
{
	int gate[2], status;
	char byte;

	CHECK(!pipe(gate));
	pid_t parent = fork();
	if (!parent) {
		close(gate[1]);
		pid_t child = vfork();
		if (!child) {
			while (read(gate[0], &byte, 1) > 0)
				;
			_exit(0);
		}
		_exit(1);
	}
	close(gate[0]);
	usleep(100000);
	kill(parent, SIGKILL);
	CHECK(waitpid(parent, &status, 0) == parent);
	SHOW(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(gate[1]);
}

/* clone(2) takes a number for the signal of the child's end that is no signal: there is none then. */
static void child_with_odd_signal(void)
{
	int status;

	for (int number = 60; number < 256; number += 5) {
		pid_t child = (pid_t)syscall(SYS_clone, number, 0, 0, 0, 0);
		if (!child)
			_exit(number & 7);
		CHECK(child > 0);
		if (waitpid(child, &status, __WALL) != child || !WIFEXITED(status) || WEXITSTATUS(status) != (number & 7))
			printf("signal %d: %#x\n", number, status);
	}
}

static void *wait_for_ever(void *unused)
{
	(void)unused;
	for (;;)
		pause();
	return NULL;
}

/* SIGKILL to a thread ends its process. */
static void killed_thread(void)
{
	pthread_t thread;
	int status;
	pid_t child = fork();

	if (!child) {
		pthread_create(&thread, NULL, wait_for_ever, NULL);
		usleep(20000);
		pthread_kill(thread, SIGKILL);
		wait_for_ever(NULL);
	}
	CHECK(waitpid(child, &status, 0) == child);
	SHOW(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* RLIMIT_NPROC counts threads. */
static void limited_threads(void)
{
	struct rlimit limit = { 5, 5 };
	pthread_t threads[10];
	int made = 0, status;
	pid_t child = fork();

	if (!child) {
		setrlimit(RLIMIT_NPROC, &limit);
		if (setresuid(60001, 60001, 60001))
			_exit(100);
		while (made < 10 && !pthread_create(&threads[made], NULL, wait_for_ever, NULL))
			made++;
		_exit(made);
	}
	CHECK(waitpid(child, &status, 0) == child);
	SHOW(WEXITSTATUS(status));
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	page = sysconf(_SC_PAGESIZE);
	write_from_a_hole("/tmp/robust");
	write_from_a_hole("/root/robust");
	write_from_a_hole("/dev/shm/robust");
	for (int number = 60; number <= 64; number++)
		signal(number, SIG_IGN);
	child_with_odd_signal();
	killed_in_vfork();
	killed_thread();
	limited_threads();
	return CHECK_RESULT();
}
