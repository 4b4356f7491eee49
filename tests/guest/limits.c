// SPDX-License-Identifier: MIT
// deadline: 120
/*
 * RLIMIT_CPU, whose timer lives as long as its process: set for another process, inherited by fork, and left behind by no fork
 * that fails.
 */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"
#include "meminfo.h"

#define NOBODY	 65534
#define FAILURES 10000
#define PAGES	 4096
#define SLACK_KIB 4096 /* of memory; what a failing fork lost once was about 800 bytes */

static void cpu_limit(pid_t pid, rlim_t soft, rlim_t hard)
{
	struct rlimit limits = { soft, hard };

	CHECK(prlimit(pid, RLIMIT_CPU, &limits, NULL) == 0);
}

static pid_t burner(void)
{
	fflush(stdout);
	pid_t pid = fork();

	while (!pid)
		;
	return pid;
}

/* How it ended; killed if it has not after `ms`. */
static const char *end_of(pid_t pid, int ms)
{
	int status;

	for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
		if (i == ms / 10)
			kill(pid, SIGKILL);
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	}
	return WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : "exit";
}

static void other_process(void)
{
	pid_t limited = burner();

	cpu_limit(limited, 1, 10);
	printf("a process whose limit another one set: %s\n", end_of(limited, 20000));
	limited = burner();
	cpu_limit(limited, 1, 10);
	cpu_limit(limited, RLIM_INFINITY, RLIM_INFINITY);
	printf("whose limit was lifted again: %s\n", end_of(limited, 2500));
}

static void inherited(void)
{
	fflush(stdout);
	pid_t pid = fork();

	if (!pid) {
		cpu_limit(0, 1, 10);
		_exit(!strcmp(end_of(burner(), 20000), "XCPU") ? 0 : 1);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	printf("a child inherits it: %s\n", status ? "no" : "yes");
}

/* As nobody, who may not have another process: each fork fails late, when nearly all of the child is made. */
static int failing_forks(void)
{
	struct rlimit one = { 1, 1 };

	cpu_limit(0, 1, RLIM_INFINITY);
	signal(SIGXCPU, SIG_IGN);
	if (setrlimit(RLIMIT_NPROC, &one) || setresuid(NOBODY, NOBODY, NOBODY))
		return 1;
	for (int i = 0; i < FAILURES; i++) {
		long pid = syscall(SYS_clone, CLONE_VM | SIGCHLD, 0, 0, 0, 0);

		if (!pid)
			syscall(SYS_exit_group, 2);
		if (pid > 0)
			return 2;
		if (errno != EAGAIN)
			return 3;
	}
	return 0;
}

static int round_of_forks(void)
{
	int status = -1;

	fflush(stdout);
	pid_t pid = fork();
	if (!pid)
		_exit(failing_forks());
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

static void forks_that_fail(void)
{
	/* The first ones fill caches that a kernel may keep. */
	int status = round_of_forks();
	long before = memory_available();

	status |= round_of_forks();
	printf("%d forks fail: %s\n", FAILURES, status ? "no" : "yes");
	/* What they were made of serves others now; their limits would be looked at after a second. */
	char *memory = mmap(NULL, PAGES * 4096ul, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(memory != MAP_FAILED);
	nanosleep(&(struct timespec){ 2, 0 }, NULL);
	munmap(memory, PAGES * 4096ul);
	long after = memory_available();
	for (int tries = 0; after <= before - SLACK_KIB && tries < 100; tries++) {
		nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
		after = memory_available();
	}
	fprintf(stderr, "available: %ld KiB before, %ld KiB after\n", before, after);
	CHECK(before > 0 && after > before - SLACK_KIB);
}

int main(void)
{
	other_process();
	inherited();
	forks_that_fail();
	return CHECK_RESULT();
}
