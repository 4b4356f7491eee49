/* SPDX-License-Identifier: MIT */
// deadline: 240
// variants: direct
// run: --mem 192M
/*
 * Programs that together want more memory than there is. A hog is killed, and its parent sees SIGKILL; what others write meanwhile is
 * in the file, byte for byte; files larger than memory can be mapped, written through the mapping and read back; a full tmpfs says so;
 * and in the end the memory is there again.
 */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB	 (1ul << 20)
#define FILE_MIB 24
#define THREADS	 500
#define CHILDREN 64

static unsigned long meminfo(const char *row)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	unsigned long kib = 0;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, row, strlen(row)))
			kib = strtoul(line + strlen(row) + 1, NULL, 10);
	if (file)
		fclose(file);
	return kib;
}

/* Takes all that it can get. Does not return. */
static void hog(void)
{
	size_t bytes = 8ul << 30;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	for (size_t i = 0; i < bytes; i += 4096)
		p[i] = 1;
	_exit(2);
}

static pid_t start(void (*run)(void))
{
	pid_t pid = fork();

	if (!pid)
		run();
	return pid;
}

static int end_of(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void test_hogs(void)
{
	pid_t a = start(hog), b;
	int status = end_of(a);

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	a = start(hog);
	b = start(hog);
	status = end_of(a);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = end_of(b);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	printf("hogs end\n");
}

static uint32_t word_of(uint32_t i)
{
	return i * 2654435761u ^ i >> 7;
}

static void fill(uint32_t *words, uint32_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		words[i] = word_of(first + i);
}

/* Hogs come and go until this is killed. */
static void hogs_without_end(void)
{
	for (;;)
		end_of(start(hog));
}

static void test_write(void)
{
	static uint32_t buf[65536 / 4], got[65536 / 4];
	uint32_t words = FILE_MIB * MIB / 4, at, wrong = 0;
	pid_t keeper = start(hogs_without_end);
	int fd = open("/root/shortage", O_CREAT | O_TRUNC | O_RDWR, 0600), file_error = 0;

	CHECK(fd >= 0);
	for (at = 0; at < words; at += 65536 / 4) {
		fill(buf, at, 65536 / 4);
		if (write(fd, buf, 65536) != 65536)
			file_error = 1;
	}
	CHECK(!file_error);
	CHECK(!fsync(fd));
	kill(keeper, SIGSTOP);
	for (at = 0; at < words; at += 65536 / 4) {
		fill(buf, at, 65536 / 4);
		if (pread(fd, got, 65536, (off_t)at * 4) != 65536 || memcmp(buf, got, 65536))
			wrong++;
	}
	CHECK(!wrong);
	close(fd);
	kill(keeper, SIGKILL);
	end_of(keeper);
	unlink("/root/shortage");
	printf("a file is written meanwhile\n");
}

/* A file larger than memory, through one mapping; read back through another. */
static void test_mapping(void)
{
	size_t bytes = (size_t)meminfo("MemTotal") * 1024 / 4 * 5 & ~4095ul, wrong = 0;
	int fd = open("/root/mapping", O_CREAT | O_TRUNC | O_RDWR, 0600);
	char *p;

	CHECK(fd >= 0 && !ftruncate(fd, (off_t)bytes));
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	for (size_t i = 0; i < bytes; i += 4096)
		*(uint32_t *)(p + i + i / 4096 % 1000 * 4) = word_of((uint32_t)(i / 4096));
	munmap(p, bytes);
	CHECK(!fsync(fd));
	p = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	for (size_t i = 0; i < bytes; i += 4096)
		wrong += *(uint32_t *)(p + i + i / 4096 % 1000 * 4) != word_of((uint32_t)(i / 4096));
	CHECK(!wrong);
	munmap(p, bytes);
	close(fd);
	CHECK(!unlink("/root/mapping"));
	printf("a file larger than memory is mapped\n");
}

static void test_tmpfs(void)
{
	static char buf[65536];
	int fd = open("/dev/shm/full", O_CREAT | O_TRUNC | O_WRONLY, 0600);
	ssize_t n;

	CHECK(fd >= 0);
	memset(buf, 'x', sizeof(buf));
	while ((n = write(fd, buf, sizeof(buf))) > 0)
		;
	CHECK(n < 0 && (errno == ENOSPC || errno == ENOMEM));
	close(fd);
	CHECK(!unlink("/dev/shm/full"));
	printf("tmpfs is full\n");
}

static void *sleeper(void *arg)
{
	char c;

	return (void *)(long)read(*(int *)arg, &c, 1);
}

static void test_crowd(void)
{
	static pthread_t threads[THREADS];
	static pid_t children[CHILDREN];
	pthread_attr_t attr;
	int fds[2], made = 0, forked = 0;

	CHECK(!pipe(fds));
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	while (made < THREADS && !pthread_create(&threads[made], &attr, sleeper, &fds[0]))
		made++;
	CHECK(made > 100);
	end_of(start(hog)); /* while they all wait */
	close(fds[1]);
	for (int i = 0; i < made; i++)
		pthread_join(threads[i], NULL);
	close(fds[0]);
	for (; forked < CHILDREN; forked++) {
		children[forked] = fork();
		if (children[forked] < 0)
			break;
		if (!children[forked]) {
			char *p = mmap(NULL, MIB / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			for (size_t i = 0; p != MAP_FAILED && i < MIB / 4; i += 4096)
				p[i] = 1;
			pause();
		}
	}
	CHECK(forked > 20);
	for (int i = 0; i < forked; i++) {
		kill(children[i], SIGKILL);
		CHECK(WIFSIGNALED(end_of(children[i])));
	}
	printf("a crowd comes and goes\n");
}

int main(void)
{
	unsigned long before, after = 0;

	setbuf(stdout, NULL);
	before = meminfo("MemAvailable");
	test_hogs();
	test_write();
	test_mapping();
	test_tmpfs();
	test_crowd();
	/* What ended is put away in the background. */
	for (int i = 0; i < 50 && (after = meminfo("MemAvailable")) < before - before / 10; i++)
		usleep(100000);
	fprintf(stderr, "available: %lu KiB before, %lu KiB after\n", before, after);
	CHECK(after >= before - before / 10);
	printf("memory is back\n");
	return CHECK_RESULT();
}
