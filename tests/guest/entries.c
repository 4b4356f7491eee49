// SPDX-License-Identifier: MIT
// deadline: 180
// variants: gic3 gic2 cpus8
/*
 * How often the hypervisor is entered, on all CPUs of both domains: never while nothing is done, never while Lichen
 * computes, and at most twice for a 4 KiB read. Counted by the hypervisor itself (/proc/lichen/el2). And nobody polls while
 * nothing is done.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define SECONDS 10
#define OPENING 8 /* what opening the disk and having a buffer may cost in all, allocations or bytes */
#define READS 1000
#define DISK "/dev/vda"

static int counters = -1;
static char table[16384];

/* The sum of the first column: "cpuN entries ..." a line, after a head line. */
static int64_t entries(void)
{
	int64_t sum = 0;
	ssize_t n = pread(counters, table, sizeof(table) - 1, 0);

	CHECK(n > 0);
	table[n > 0 ? n : 0] = '\0';
	for (char *at = strchr(table, '\n'); at && at[1]; at = strchr(at + 1, '\n')) {
		char *value = strchr(at + 1, ' ');

		if (value)
			sum += strtoll(value, NULL, 10);
	}
	return sum;
}

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void *compute(void *end)
{
	volatile uint64_t work = 0;

	while (seconds_now() < *(double *)end)
		for (int i = 0; i < 100000; i++)
			work += i;
	return NULL;
}

static double span = 0.1; /* seconds of computing */

static void compute_everywhere(void)
{
	double end = seconds_now() + span;
	pthread_t threads[64];
	int cpus = get_nprocs();

	for (int i = 0; i < cpus && i < 64; i++)
		CHECK(pthread_create(&threads[i], NULL, compute, &end) == 0);
	for (int i = 0; i < cpus && i < 64; i++)
		pthread_join(threads[i], NULL);
}

static void read_disk(void)
{
	int fd = open(DISK, O_RDONLY | O_DIRECT);
	void *buffer = NULL;
	unsigned int seed = 1;

	CHECK(fd >= 0);
	CHECK(posix_memalign(&buffer, 4096, 4096) == 0);
	for (int i = 0; i < READS; i++) {
		seed = seed * 1103515245 + 12345;
		CHECK(pread(fd, buffer, 4096, (off_t)(seed >> 8 & 0xffff) * 4096) == 4096);
	}
	free(buffer);
	close(fd);
}

static int64_t spins; /* instructions of polling loops, on both sides, while idle */

static void idle(void)
{
	sleep(SECONDS);
}

static char report[16384];
static size_t report_used;

/* What a request must not do: counters of the kernel and of the backend (virtio/include/lichen/abi.h). */
static const char *const costs[] = {"slab_allocations", "page_allocations", "bytes_copied", "io_bytes_copied",
	"backend_bytes_copied", "backend_allocations"};
#define COSTS (sizeof(costs) / sizeof(costs[0]))

static char counter_text[4096];

static void read_counters(void)
{
	int fd = open("/proc/lichen/counters", O_RDONLY);
	ssize_t n = read(fd, counter_text, sizeof(counter_text) - 1);

	close(fd);
	counter_text[n > 0 ? n : 0] = '\0';
}

/* Of the last read_counters(). */
static int64_t counter(const char *name)
{
	char *line = counter_text;

	while (line && (strncmp(line, name, strlen(name)) || line[strlen(name)] != ' '))
		line = (line = strchr(line, '\n')) ? line + 1 : NULL;
	CHECK(line != NULL);
	return line ? strtoll(line + strlen(name), NULL, 10) : -1;
}

static void read_costs(int64_t value[COSTS + 1])
{
	read_counters();
	for (size_t i = 0; i <= COSTS; i++)
		value[i] = counter(i < COSTS ? costs[i] : "backend_requests");
}

/* Reads of the disk move no byte by the CPU and allocate nothing, on either side. */
static void check_costs(void)
{
	int64_t first[COSTS + 1], second[COSTS + 1], last[COSTS + 1];

	read_costs(first);
	read_costs(second);
	read_disk();
	read_costs(last);
	CHECK(last[COSTS] - second[COSTS] >= READS);
	for (size_t i = 0; i < COSTS; i++) {
		int64_t cost = last[i] - second[i] - (second[i] - first[i]);

		fprintf(stderr, "%s of %d reads: %lld\n", costs[i], READS, (long long)cost);
		CHECK(cost <= OPENING);
	}
}

/* How many entries `action` caused, less those of the counting itself. */
static int64_t count(const char *name, void (*action)(void))
{
	int64_t first = entries(), second = entries(), last;

	action();
	last = entries() - second - (second - first);
	/* Shown at the end: to print is to notify. */
	report_used += (size_t)snprintf(report + report_used, sizeof(report) - report_used, "%s: %lld entries\n%s", name,
		(long long)last, table);
	return last;
}

int main(void)
{
	int64_t idling, computing, reading;

	counters = open("/proc/lichen/el2", O_RDONLY);
	CHECK(counters >= 0);
	if (counters < 0)
		return CHECK_RESULT();
	/* What the boot left behind, access times for one, is written now and not while we count. */
	sync();
	sleep(7);
	read_counters();
	spins = counter("spin_instructions");
	idling = count("idle", idle);
	read_counters();
	spins = counter("spin_instructions") - spins;
	compute_everywhere(); /* its pages are read now */
	span = SECONDS;
	computing = count("computing", compute_everywhere);
	read_disk(); /* buffers and rings find their places */
	reading = count("reads", read_disk);
	fputs(report, stderr);
	CHECK(idling == 0);
	CHECK(spins == 0);
	CHECK(computing == 0);
	CHECK(reading <= 2 * READS);
	check_costs();
	return CHECK_RESULT();
}
