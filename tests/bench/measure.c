// SPDX-License-Identifier: MIT
/* The window, its samples, and the result line (measure.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "measure.h"

/* A bucket of the histogram is a sixteenth of a power of two: 6 % wide at most, and one nanosecond at least. */
#define SUBBITS 4
#define BUCKETS ((64 - SUBBITS) << SUBBITS)

/* A 32-bit counter of instructions that nobody reads in between is good for a second of a CPU that retires 4 a nanosecond. */
#define INSTRUCTIONS_TIME_MAX 1000000000ull

static uint64_t samples[MAX_SAMPLES];
static size_t n_samples;

uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void die(const char *what)
{
	fprintf(stderr, "latency: %s: %s\n", what, strerror(errno));
	exit(1);
}

unsigned scaled(unsigned n)
{
	n = n * settings.percent / 100;
	return n < 1 ? 1 : n > MAX_SAMPLES ? MAX_SAMPLES : n;
}

/* getppid, with an immediate that kernels do not look at. */
#define MARK(immediate)                                                                                          \
	do {                                                                                                     \
		register long number __asm__("x8") = SYS_getppid, result __asm__("x0");                          \
		if (settings.marks)                                                                              \
			__asm__ volatile("svc " #immediate : "=r"(result) : "r"(number) : "memory");             \
	} while (0)

/* Outermost in a window: to ask is an entry into the hypervisor, which is nobody's request. */
static void backend_begin(struct window *w)
{
	if (settings.every_cpu)
		backend_counts_read(&w->backend);
}

static void backend_end(const struct window *w, struct cost *cost)
{
	struct backend_counts last;

	cost->all_counted = true;
	if (!settings.every_cpu)
		return;
	backend_counts_read(&last);
	cost->all_counted = last.known && w->backend.known && last.cpus == w->backend.cpus;
	for (int which = 0; which < COUNTERS; which++)
		cost->counted[which] += last.value[which] - w->backend.value[which];
}

void window_begin(struct window *w)
{
	struct el2_entries before;

	n_samples = 0;
	backend_begin(w);
	el2_read(&before);
	el2_read(&w->entries);
	for (unsigned i = 0; i < EL2_CAUSES; i++)
		w->reading[i] = w->entries.by_cause[i] - before.by_cause[i];
	kernel_counters_read(w->kernel);
	counts_begin(&w->counts);
	w->time = now();
	counts_tick(&w->counts);
	memset(w->counts.sum, 0, sizeof(w->counts.sum));
	MARK(0x4d01);
}

void window_tick(struct window *w)
{
	counts_tick(&w->counts);
}

void sample(uint64_t ns)
{
	samples[n_samples++] = ns;
}

uint64_t *sample_places(size_t n)
{
	n_samples = n;
	return samples;
}

/* --- the result line --- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static unsigned bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < 1u << SUBBITS)
		return (unsigned)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - SUBBITS;
	return (shift << SUBBITS) + (unsigned)(ns >> shift);
}

static uint64_t bucket_start(unsigned bucket)
{
	unsigned shift = bucket >> SUBBITS;

	if (!shift)
		return bucket;
	return (uint64_t)((bucket & ((1u << SUBBITS) - 1)) | 1u << SUBBITS) << (shift - 1);
}

/* [[from, below, count], ...] of the buckets that are not empty, in order: the samples are sorted. */
static void print_histogram(void)
{
	printf(",\"histogram\":[");
	for (size_t i = 0, next; i < n_samples; i = next) {
		unsigned bucket = bucket_of(samples[i]);

		for (next = i; next < n_samples && bucket_of(samples[next]) == bucket; next++)
			;
		printf("%s[%llu,%llu,%zu]", i ? "," : "", (unsigned long long)bucket_start(bucket),
			(unsigned long long)bucket_start(bucket + 1), next - i);
	}
	printf("]");
}

/* The smallest sample that `per_10000` of 10,000 do not exceed; null if there are too few samples to tell it from the largest. */
static void print_percentile(const char *name, unsigned per_10000)
{
	size_t rank = (n_samples * per_10000 + 9999) / 10000;

	if (n_samples && n_samples * (10000 - per_10000) >= 10000)
		printf(",\"%s\":%llu", name, (unsigned long long)samples[rank - 1]);
	else
		printf(",\"%s\":null", name);
}

static void print_times(uint64_t time, unsigned n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n_samples; i++)
		sum += samples[i];
	qsort(samples, n_samples, sizeof(samples[0]), compare);
	print_percentile("p50", 5000);
	print_percentile("p99", 9900);
	print_percentile("p999", 9990);
	print_percentile("p9999", 9999);
	if (n_samples)
		printf(",\"max\":%llu,\"mean\":%.1f", (unsigned long long)samples[n_samples - 1], (double)sum / n_samples);
	else
		printf(",\"max\":null,\"mean\":%.1f", (double)time / n);
	printf(",\"total\":%.1f", (double)time / n);
	print_histogram();
}

static void print_entries(const struct cost *cost, unsigned n)
{
	const char *between = "";

	if (!cost->entries.known) {
		printf(",\"el2_entries\":null");
		return;
	}
	printf(",\"el2_entries\":%.4f,\"el2\":{", (double)cost->entries.by_cause[0] / n);
	for (unsigned i = 1; i < EL2_CAUSES; i++) {
		if (!el2_cause(i) || !cost->entries.by_cause[i])
			continue;
		printf("%s\"%s\":%.4f", between, el2_cause(i), (double)cost->entries.by_cause[i] / n);
		between = ",";
	}
	printf("}");
}

void window_stop(struct window *w, struct cost *cost)
{
	struct el2_entries last;
	int64_t kernel[KERNEL_COUNTERS];

	MARK(0x4d02);
	counts_tick(&w->counts);
	cost->time = now() - w->time;
	counts_end(&w->counts);
	el2_read(&last);
	kernel_counters_read(kernel);
	memcpy(cost->counted, w->counts.sum, sizeof(cost->counted));
	cost->entries.known = last.known && w->entries.known;
	for (unsigned i = 0; i < EL2_CAUSES; i++)
		cost->entries.by_cause[i] = last.by_cause[i] - w->entries.by_cause[i] - w->reading[i];
	for (unsigned i = 0; i < KERNEL_COUNTERS; i++)
		cost->kernel[i] = kernel[i] < 0 ? -1 : kernel[i] - w->kernel[i];
	backend_end(w, cost);
}

void cost_subtract(struct cost *cost, const struct cost *other)
{
	for (unsigned i = 0; i < COUNTERS; i++)
		cost->counted[i] -= other->counted[i];
	cost->all_counted &= other->all_counted;
	for (unsigned i = 0; i < EL2_CAUSES; i++)
		cost->entries.by_cause[i] -= other->entries.by_cause[i];
	for (unsigned i = 0; i < KERNEL_COUNTERS; i++)
		if (cost->kernel[i] >= 0 && other->kernel[i] >= 0)
			cost->kernel[i] -= other->kernel[i];
}

void cost_print(const struct cost *cost, const char *test, unsigned n)
{
	printf("{\"test\":\"%s\",\"unit\":\"ns\"", test);
	print_times(cost->time, n);
	if (have_counter[INSTRUCTIONS] && cost->all_counted && (!settings.every_cpu || cost->time < INSTRUCTIONS_TIME_MAX))
		printf(",\"instructions\":%.1f", (double)cost->counted[INSTRUCTIONS] / n);
	else
		printf(",\"instructions\":null");
	if (have_counter[CYCLES] && cost->all_counted && settings.every_cpu)
		printf(",\"cycles\":%.1f", (double)cost->counted[CYCLES] / n);
	else
		printf(",\"cycles\":null");
	print_entries(cost, n);
	for (unsigned i = 0; i < KERNEL_COUNTERS; i++) {
		if (cost->kernel[i] < 0)
			printf(",\"%s\":null", kernel_counter(i));
		else
			printf(",\"%s\":%.4f", kernel_counter(i), (double)cost->kernel[i] / n);
	}
	printf(",\"n\":%u}\n", n);
	fflush(stdout);
}

void window_end(struct window *w, const char *test, unsigned n)
{
	struct cost cost;

	window_stop(w, &cost);
	cost_print(&cost, test, n);
}
