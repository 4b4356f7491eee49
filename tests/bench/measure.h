/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark's tests share: the window that is measured, the samples within it, and the result line.
 *
 *     struct window w;
 *     window_begin(&w);
 *     for (...) { uint64_t t = now(); request(); sample(now() - t); }
 *     window_end(&w, "name", n);
 *
 * Everything between begin and end is charged to the n requests: instructions and EL2 entries of the whole machine. A test
 * without samples has a mean only.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "counters.h"

#define MAX_SAMPLES 100000
#define BLOCK 4096

/* The command line's: what the tests work on, and how many requests. */
struct settings {
	const char *device;  /* a block device that is overwritten */
	const char *files;   /* a block device with an ext4 file system, NULL: none */
	unsigned percent;    /* of the usual number of requests */
	bool every_cpu;      /* each CPU's PMU counts its own: sum them, those of the driver domain, too */
	bool marks;          /* windows begin and end with supervisor calls for tests/bench/count-entries.c */
};
extern struct settings settings;

struct window {
	uint64_t time;                      /* ns */
	struct counts counts;
	struct backend_counts backend;
	struct el2_entries entries;
	int64_t reading[EL2_CAUSES];        /* what reading the numbers of entries itself causes */
	int64_t kernel[KERNEL_COUNTERS];
};

/* What a window has cost: differences. */
struct cost {
	uint64_t time;
	uint64_t counted[COUNTERS];
	bool all_counted;                   /* on all CPUs that settings.every_cpu asks for */
	struct el2_entries entries;
	int64_t kernel[KERNEL_COUNTERS];    /* -1: not known */
};

/* CLOCK_MONOTONIC in ns. */
uint64_t now(void);

/* Ends the program: "latency: WHAT: strerror(errno)". */
void die(const char *what) __attribute__((noreturn));

/* `n` requests as the command line scales them: 1 to MAX_SAMPLES. */
unsigned scaled(unsigned n);

/* Starts the window, with no samples. */
void window_begin(struct window *window);

/* The counter is 32 bits wide: a window of more than 4 billion instructions calls this in between. */
void window_tick(struct window *window);

/* The time of one request, in ns; at most MAX_SAMPLES of them. */
void sample(uint64_t ns);

/* Instead of sample(), for threads: the places of the window's `n` samples, to be filled before its end. */
uint64_t *sample_places(size_t n);

/* Ends the window and prints the result line of `test`, in which `n` requests were made. */
void window_end(struct window *window, const char *test, unsigned n);

/* The same in parts: so that what belongs to no request, measured in a window of its own, can be taken off. The samples are the last window's. */
void window_stop(struct window *window, struct cost *cost);
void cost_subtract(struct cost *cost, const struct cost *other);
void cost_print(const struct cost *cost, const char *test, unsigned n);

/* block.c: the device of the command line, O_DIRECT, and requests to it. */
int open_device(uint64_t *blocks);
void *block_buffer(void);
void one_block(int fd, bool write, void *buf, uint64_t block);
uint64_t random_block(uint64_t blocks);

/* The tests. */
void read_qd1(void);
void write_qd1(void);
void read_qd32(void);
void read_hot(void);
void read_cold(void);
void echo_hot(void);
void echo_cold(void);
void getppid_test(void);
void pipe_test(void);
void switch_test(void);
void fork_exec(void);
void sequential_read(void);
void sequential_write(void);

/* After the last test: leaves the scratch file system clean. */
void files_unmount(void);

#endif
