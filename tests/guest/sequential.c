// SPDX-License-Identifier: MIT
// deadline: 120
/*
 * Large files through the page cache, read cold: read-ahead in long runs, holes, copies that end in the middle because user memory
 * does, readers of one file side by side, truncation while others write back.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define PAGE 4096u
#define SIZE (3u * 1024 * 1024 + 1234)

static unsigned char buf[1 << 20];

/* What byte `at` of a file says. */
static unsigned char byte_at(uint64_t at)
{
	return (unsigned char)(at * 7 + (at >> 8) * 13 + (at >> 16) * 31 + 1);
}

static bool right(const unsigned char *data, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (data[i] != byte_at(at + i))
			return false;
	return true;
}

static int make(const char *name, uint64_t size)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	uint64_t at = 0;

	CHECK(fd >= 0);
	for (unsigned round = 0; at < size; round++) {
		size_t n = 1 + (round * 40503u) % sizeof(buf);

		n = n < size - at ? n : size - at;
		for (size_t i = 0; i < n; i++)
			buf[i] = byte_at(at + i);
		CHECK(write(fd, buf, n) == (ssize_t)n);
		at += n;
	}
	return fd;
}

static void forget(int fd)
{
	CHECK(!fsync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
}

/* From start to end in calls of n bytes: whether every byte is right; the sum of bytes in *total. */
static bool read_all(int fd, size_t n, uint64_t *total)
{
	bool good = true;
	ssize_t got;

	*total = 0;
	lseek(fd, 0, SEEK_SET);
	while ((got = read(fd, buf, n)) > 0) {
		good = good && right(buf, *total, (size_t)got);
		*total += (uint64_t)got;
	}
	return good && !got;
}

static void cold_reads(void)
{
	static const size_t calls[] = {333, PAGE, 5 * PAGE + 1, 65536, sizeof(buf)};
	int fd = make("large", SIZE);
	uint64_t total;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		forget(fd);
		CHECK(read_all(fd, calls[i], &total));
		printf("calls of %zu: %llu bytes\n", calls[i], (unsigned long long)total);
	}
	/* Not in order: backwards, then with strides. */
	forget(fd);
	for (uint64_t at = SIZE - 70000; at > 70000; at -= 70000)
		CHECK(pread(fd, buf, 70000, (off_t)at) == 70000 && right(buf, at, 70000));
	forget(fd);
	for (uint64_t at = 100; at + 9000 < SIZE; at += 150000)
		CHECK(pread(fd, buf, 9000, (off_t)at) == 9000 && right(buf, at, 9000));
	close(fd);
}

/* Data in stretches of all lengths between holes of all lengths. */
static void holes(void)
{
	static const unsigned lengths[] = {1, 1, 3, 2, 40, 1, 1, 200, 130, 17, 2, 64};
	int fd = open("sparse", O_RDWR | O_CREAT | O_TRUNC, 0644);
	uint64_t at = 0;
	bool good = true;

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t n = lengths[i] * PAGE;

		for (size_t k = 0; k < n && i % 2; k++)
			buf[k] = byte_at(at + k);
		if (i % 2)
			CHECK(pwrite(fd, buf, n, (off_t)at) == (ssize_t)n);
		at += n;
	}
	CHECK(!ftruncate(fd, (off_t)at + 100));
	forget(fd);
	at = 0;
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t n = lengths[i] * PAGE;

		memset(buf, 0x55, n);
		CHECK(read(fd, buf, n) == (ssize_t)n);
		for (size_t k = 0; k < n; k++)
			good = good && buf[k] == (i % 2 ? byte_at(at + k) : 0);
		at += n;
	}
	CHECK(good);
	SHOW(read(fd, buf, sizeof(buf)));
	SHOW(read(fd, buf, sizeof(buf)));
	close(fd);
}

/* User memory ends after `room` bytes, which begin at an odd address or not. A kernel may stop a few bytes early. */
static void short_copies(void)
{
	unsigned char *area = mmap(NULL, 20 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const unsigned rooms[] = {1, 7, 63, 64, 65, 255, 256, 257, 300, 511, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 77, 12 * PAGE + 5};
	int fd = make("short", 20 * PAGE);

	CHECK(!mprotect(area + 16 * PAGE, 4 * PAGE, PROT_NONE));
	for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		unsigned char *at = area + 16 * PAGE - rooms[i];
		ssize_t n;

		memset(area, 0, 16 * PAGE);
		if (i % 3 == 0)
			forget(fd);
		n = pread(fd, at, 18 * PAGE, 5);
		CHECK(n <= (ssize_t)rooms[i] && n > (ssize_t)rooms[i] - 64 && (n >= 0 || errno == EFAULT));
		CHECK(n < 0 || right(at, 5, (size_t)n));
		/* And out of such memory into a new file, which has those bytes then and no others. */
		for (unsigned k = 0; k < rooms[i]; k++)
			at[k] = byte_at(k);
		CHECK(!ftruncate(fd, 0));
		n = pwrite(fd, at, 18 * PAGE, 0);
		CHECK(n <= (ssize_t)rooms[i] && n > (ssize_t)rooms[i] - 64 && (n >= 0 || errno == EFAULT));
		forget(fd);
		CHECK(pread(fd, buf, sizeof(buf), 0) == (n < 0 ? 0 : n) && (n < 0 || right(buf, 0, (size_t)n)));
		close(fd);
		fd = make("short", 20 * PAGE);
	}
	close(fd);
	munmap(area, 20 * PAGE);
}

/* Several readers run into each other's read-ahead. */
static void side_by_side(void)
{
	int fd = make("shared", SIZE), failed = 0;

	forget(fd);
	for (int i = 0; i < 4; i++)
		if (!fork()) {
			uint64_t total;
			int own = open("shared", O_RDONLY);

			_exit(!(read_all(own, 10000u + 30000u * (unsigned)i, &total) && total == SIZE));
		}
	for (int i = 0, status; i < 4; i++)
		failed += wait(&status) < 0 || status;
	SHOW(failed);
	close(fd);
}

/* Truncated and made longer while it is written back: what comes after the cut is zero. */
static void cut_while_written(void)
{
	int fd = open("cut", O_RDWR | O_CREAT | O_TRUNC, 0644), status;
	pid_t child = fork();
	bool good = true;

	if (!child)
		for (;;)
			fsync(fd);
	for (unsigned round = 0; round < 12; round++) {
		uint64_t keep = 100000u + round * 77777u;

		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = byte_at(i);
		CHECK(pwrite(fd, buf, sizeof(buf), 0) == sizeof(buf));
		CHECK(!ftruncate(fd, (off_t)keep) && !ftruncate(fd, sizeof(buf)));
		if (round % 2)
			forget(fd);
		CHECK(pread(fd, buf, sizeof(buf), 0) == sizeof(buf) && right(buf, 0, keep));
		for (size_t i = keep; i < sizeof(buf); i++)
			good = good && !buf[i];
		CHECK(!ftruncate(fd, 0));
	}
	CHECK(good);
	kill(child, SIGKILL);
	SHOW(waitpid(child, &status, 0) == child);
	close(fd);
}

int main(void)
{
	char work[] = "/root/sequential-XXXXXX";

	CHECK(mkdtemp(work) && !chdir(work));
	cold_reads();
	holes();
	short_copies();
	side_by_side();
	cut_while_written();
	return CHECK_RESULT();
}
