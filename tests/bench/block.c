// SPDX-License-Identifier: MIT
/* 4 KiB requests to the raw disk, O_DIRECT, at random places. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/fs.h>
#include "measure.h"

#define DEPTH 32

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

uint64_t random_block(uint64_t blocks)
{
	return next_random(&random_state) % blocks;
}

int open_device(uint64_t *blocks)
{
	uint64_t bytes = 0;
	int fd = open(settings.device, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes))
		die(settings.device);
	*blocks = bytes / BLOCK;
	return fd;
}

void *block_buffer(void)
{
	void *buf;

	if (posix_memalign(&buf, BLOCK, BLOCK))
		die("posix_memalign");
	memset(buf, 0x5a, BLOCK);
	return buf;
}

void one_block(int fd, bool write, void *buf, uint64_t block)
{
	ssize_t n = write ? pwrite(fd, buf, BLOCK, block * BLOCK) : pread(fd, buf, BLOCK, block * BLOCK);

	if (n != BLOCK)
		die(write ? "pwrite" : "pread");
}

static void block_qd1(const char *test, bool write)
{
	unsigned n = scaled(2000);
	uint64_t blocks, t;
	int fd = open_device(&blocks);
	void *buf = block_buffer();
	struct window w;

	for (unsigned i = 0; i < 100; i++)
		one_block(fd, write, buf, next_random(&random_state) % blocks);
	window_begin(&w);
	for (unsigned i = 0; i < n; i++) {
		uint64_t block = next_random(&random_state) % blocks;

		t = now();
		one_block(fd, write, buf, block);
		sample(now() - t);
	}
	window_end(&w, test, n);
	free(buf);
	close(fd);
}

void read_qd1(void)
{
	block_qd1("read4k-qd1", false);
}

void write_qd1(void)
{
	block_qd1("write4k-qd1", true);
}

struct reader {
	pthread_t thread;
	int fd;
	unsigned n;
	uint64_t blocks, state;
	uint64_t *samples;
	pthread_barrier_t *start;
};

static void *reader_run(void *arg)
{
	struct reader *reader = arg;
	void *buf = block_buffer();

	for (unsigned i = 0; i < 4; i++)
		one_block(reader->fd, false, buf, next_random(&reader->state) % reader->blocks);
	pthread_barrier_wait(reader->start);
	pthread_barrier_wait(reader->start);
	for (unsigned i = 0; i < reader->n; i++) {
		uint64_t t = now();

		one_block(reader->fd, false, buf, next_random(&reader->state) % reader->blocks);
		reader->samples[i] = now() - t;
	}
	free(buf);
	return NULL;
}

/* 32 threads with one request each in flight. */
void read_qd32(void)
{
	struct reader readers[DEPTH];
	pthread_barrier_t start;
	unsigned each = scaled(8000) / DEPTH;
	uint64_t blocks, *places;
	int fd = open_device(&blocks);
	struct window w;

	each = each ? each : 1;
	pthread_barrier_init(&start, NULL, DEPTH + 1);
	for (unsigned i = 0; i < DEPTH; i++) {
		readers[i] = (struct reader){.fd = fd, .n = each, .blocks = blocks,
			.state = 0x9e3779b97f4a7c15ull * (i + 1), .start = &start};
		if (pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]))
			die("pthread_create");
	}
	pthread_barrier_wait(&start);
	window_begin(&w);
	places = sample_places(each * DEPTH);
	for (unsigned i = 0; i < DEPTH; i++)
		readers[i].samples = places + i * each;
	pthread_barrier_wait(&start);
	for (unsigned i = 0; i < DEPTH; i++)
		pthread_join(readers[i].thread, NULL);
	window_end(&w, "read4k-qd32", each * DEPTH);
	close(fd);
}
