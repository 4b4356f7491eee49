/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark counts with, on any system and machine: the PMU's two counters (virtio/include/lichen/pmu.h), the hypervisor's
 * entries by cause (/proc/lichen/el2), and what is known about the machine.
 *
 * Under QEMU -icount one counter counts the instructions of the whole machine. Elsewhere each CPU's PMU counts its own: with
 * settings.every_cpu the sum over all CPUs is taken, those of this kernel by a visit to each, the driver domain's as it tells them
 * when it is asked (/proc/lichen/pmu).
 */
#ifndef BENCH_COUNTERS_H
#define BENCH_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#define EL2_CAUSES 16
#define CPUS_MAX   64

/* Entries into the hypervisor by cause, of all CPUs; [0] is their sum. */
struct el2_entries {
	bool known;
	int64_t by_cause[EL2_CAUSES];
};

enum counter { INSTRUCTIONS, CYCLES, COUNTERS };

/* Each CPU's counters as read last, and what they have counted since counts_begin(). Of instructions 32 bits. */
struct counts {
	uint64_t last[CPUS_MAX][COUNTERS];
	uint64_t sum[COUNTERS];
};

extern bool have_counter[COUNTERS];

/* Finds and opens the counters. Once, before the program is bound to a CPU: the CPUs that it may use are those that are counted. */
void counters_find(void);

/* Binds the program to the CPU it runs on: the counter of another has another offset. */
void counters_bind(void);

void counts_begin(struct counts *counts);
/* This CPU's: the cheap one, for windows of more than 4 billion instructions. */
void counts_tick(struct counts *counts);
void counts_end(struct counts *counts);

/* What the driver domain's CPUs have counted. */
struct backend_counts {
	bool known; /* false: there is a driver domain, but it doesn't say */
	unsigned cpus;
	uint64_t value[COUNTERS];
};

/* Asks, and waits for the answer: a second at most. No CPUs where there is no driver domain. */
void backend_counts_read(struct backend_counts *counts);

/* All zero where there is no hypervisor; .known is false if there is one that does not tell. */
void el2_read(struct el2_entries *entries);
/* The column's name in /proc/lichen/el2, or NULL. */
const char *el2_cause(unsigned index);

/*
 * Of Lichen's own counters (/proc/lichen/counters), -1 elsewhere: `spin`, instructions of both domains in loops that wait for the other side (a
 * part of all instructions); `interrupts`, all that Lichen took; `doorbells`, those that the driver domain took for kicks;
 * `device_interrupts`, those of the physical device.
 */
#define KERNEL_COUNTERS 4
void kernel_counters_read(int64_t value[KERNEL_COUNTERS]);
/* Its name in the results. */
const char *kernel_counter(unsigned index);

/* One JSON object a line: CPU, clock, governor, kernel; what is not known is null. */
void machine_print(void);

#endif
