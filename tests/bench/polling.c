// SPDX-License-Identifier: MIT
/* Both ends of a ring: asleep before each request (cold), or polling (hot); the disk, and the echo device, which is the transport alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "measure.h"

/*
 * Requests to a backend that sleeps, and with it the whole machine, before each: it has given up to expect one. What the pauses
 * cost themselves is measured without requests, and taken off.
 */
#define PAUSE_NS 2000000

static void pause_for(long ns)
{
	struct timespec t = {0, ns};

	nanosleep(&t, NULL);
}

static void cold(const char *test, void (*request)(int fd, void *buf), int fd)
{
	unsigned n = scaled(400);
	void *buf = block_buffer();
	struct cost pauses, all;
	struct window w;

	for (unsigned i = 0; i < 20; i++) {
		pause_for(PAUSE_NS);
		request(fd, buf);
	}
	window_begin(&w);
	for (unsigned i = 0; i < n; i++) {
		uint64_t t;

		pause_for(PAUSE_NS);
		t = now();
		sample(now() - t);
	}
	window_stop(&w, &pauses);
	window_begin(&w);
	for (unsigned i = 0; i < n; i++) {
		uint64_t t;

		pause_for(PAUSE_NS);
		t = now();
		request(fd, buf);
		sample(now() - t);
	}
	window_stop(&w, &all);
	cost_subtract(&all, &pauses);
	cost_print(&all, test, n);
	free(buf);
	close(fd);
}

static uint64_t disk_blocks;

static void cold_read(int fd, void *buf)
{
	one_block(fd, false, buf, random_block(disk_blocks));
}

void read_cold(void)
{
	int fd = open_device(&disk_blocks);

	cold("read4k-cold", cold_read, fd);
}

/* --- the transport alone: lichen/abi.h, the echo device; only Lichen with a driver domain has one --- */

#define ECHO "/dev/echo"

static void echo_once(int fd, void *buf)
{
	if (read(fd, buf, BLOCK) != BLOCK)
		die(ECHO);
}

static int open_echo(void)
{
	int fd = open(ECHO, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno != ENOENT && errno != ENXIO)
		die(ECHO);
	return fd;
}

void echo_cold(void)
{
	int fd = open_echo();

	if (fd >= 0)
		cold("echo-cold", echo_once, fd);
}

/* Times and counts one after the other: to read the clock takes instructions, too. */
void echo_hot(void)
{
	unsigned n = scaled(20000);
	int fd = open_echo();
	struct window w;
	struct cost cost;
	void *buf;

	if (fd < 0)
		return;
	buf = block_buffer();
	for (unsigned i = 0; i < 500; i++)
		echo_once(fd, buf);
	window_begin(&w);
	for (unsigned i = 0; i < n; i++)
		echo_once(fd, buf);
	window_stop(&w, &cost);
	for (unsigned i = 0; i < n; i++) {
		uint64_t t = now();

		echo_once(fd, buf);
		sample(now() - t);
	}
	cost_print(&cost, "echo-hot", n);
	free(buf);
	close(fd);
}

/* One at a time, asked to be polled for. */
void read_hot(void)
{
	unsigned n = scaled(2000);
	uint64_t blocks;
	int fd = open_device(&blocks);
	void *buf = block_buffer();
	struct iovec vector = {buf, BLOCK};
	struct window w;

	for (unsigned i = 0; i < n + 100; i++) {
		uint64_t t, at = random_block(blocks) * BLOCK;

		if (i == 100)
			window_begin(&w);
		t = now();
		if (preadv2(fd, &vector, 1, at, RWF_HIPRI) != BLOCK)
			die("preadv2");
		if (i >= 100)
			sample(now() - t);
	}
	window_end(&w, "read4k-hot", n);
	free(buf);
	close(fd);
}
