// SPDX-License-Identifier: MIT
// deadline: 180
// 10,000 threads blocked in read(2) on pipes: they all start, all get their byte, and what they cost the kernel is shown
// (on standard error) and, on Lichen, at most 3 KiB each. Any of them has an async backtrace in /proc.
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <linux/futex.h>
#include <unistd.h>
#include "check.h"

#define THREADS 10000
#define PIPES	100
#define STACK	4096
#define LIMIT	3072

static int pipes[PIPES][2];
static uint32_t started, ended;
static pid_t tids[THREADS];

/* One stack each, in one mapping: only the threads themselves are measured. */
static int thread(void *arg)
{
	long i = (long)arg;
	char c = 0;

	__atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
	while (read(pipes[i % PIPES][0], &c, 1) != 1)
		;
	__atomic_fetch_add(&ended, c == 'x', __ATOMIC_SEQ_CST);
	return 0;
}

/* kB, from /proc/meminfo. */
static long meminfo(const char *name)
{
	char line[200];
	long value = -1;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = atol(line + strlen(name));
	if (file)
		fclose(file);
	return value;
}

/* Everything of the kernel's that a thread may take. */
static long kernel_memory(void)
{
	return meminfo("Slab:") + (meminfo("KernelStack:") > 0 ? meminfo("KernelStack:") : 0);
}

static int is_lichen(void)
{
	return !access("/proc/lichen", F_OK);
}

static void show_backtrace(pid_t tid)
{
	char path[100], text[2000] = "";
	int fd, n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stack", getpid(), tid);
	fd = open(path, O_RDONLY);
	if (fd >= 0)
		n = (int)read(fd, text, sizeof(text) - 1);
	/* The reference Linux is built without stack traces. */
	if (is_lichen())
		CHECK(n > 0 && strstr(text, "wait_on") && strstr(text, "pipe_read") && strstr(text, "sys_read"));
	fprintf(stderr, "%s:\n%s", path, text);
}

/* Where the kernel has such a limit; it may not. */
static void raise_limit(const char *path)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, "32768", 5) != 5)
		perror(path);
	close(fd);
}

int main(void)
{
	char *stacks = mmap(NULL, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long before, during, each;
	struct rlimit limit = {THREADS + 1000, THREADS + 1000};

	CHECK(stacks != MAP_FAILED);
	setrlimit(RLIMIT_NPROC, &limit);
	raise_limit("/proc/sys/kernel/threads-max");
	raise_limit("/proc/sys/kernel/pid_max");
	for (int i = 0; i < PIPES; i++)
		CHECK(pipe(pipes[i]) == 0);
	before = kernel_memory();
	for (long i = 0; i < THREADS; i++) {
		tids[i] = clone(thread, stacks + (i + 1) * STACK, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
					CLONE_SYSVSEM, (void *)i);
		if (tids[i] < 0) {
			printf("thread %ld: %s\n", i, strerrorname_np(errno));
			return 1;
		}
	}
	while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < THREADS)
		sched_yield();
	usleep(200000);
	during = kernel_memory();
	each = (during - before) * 1024 / THREADS;
	fprintf(stderr, "kernel memory of a thread blocked in read(2) on a pipe: %ld bytes\n", each);
	if (is_lichen())
		CHECK(each > 0 && each <= LIMIT);
	show_backtrace(tids[THREADS / 2]);
	for (int i = 0; i < THREADS; i++)
		CHECK(write(pipes[i % PIPES][1], "x", 1) == 1);
	for (int i = 0; i < 10000 && __atomic_load_n(&ended, __ATOMIC_SEQ_CST) < THREADS; i++)
		usleep(1000);
	printf("%u of %d threads got their byte\n", ended, THREADS);
	usleep(200000);
	if (is_lichen())
		CHECK((kernel_memory() - before) * 1024 / THREADS < 200); /* it comes back */
	return CHECK_RESULT();
}
