// SPDX-License-Identifier: MIT
/*
 * What a request costs: one static arm64 program, the same on every system.
 *
 *     latency [-a] [-m] [-n PERCENT] [-d DEVICE] [-f DEVICE] [TEST...]     all tests, or those named
 *
 * -d names a block device whose content may be lost, -f one with an ext4 file system. -m: marks begin and end of what is measured by
 * supervisor calls that tests/bench/count-entries.c sees from outside. -a: a PMU counts its own CPU only (no QEMU -icount): the
 * counters of all CPUs, the driver domain's too, are added up.
 *
 * Prints one JSON object a line: the machine, then the tests. Times are CLOCK_MONOTONIC in ns, instructions, cycles and entries into the
 * hypervisor are means a request; absent figures are null. docs/latency.md has the format.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "measure.h"

struct settings settings = {.device = "/dev/vdb", .percent = 100};

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"getppid", getppid_test},
	{"pipe", pipe_test},
	{"switch", switch_test},
	{"fork-exec", fork_exec},
	{"echo-cold", echo_cold},
	{"echo-hot", echo_hot},
	{"read4k-cold", read_cold},
	{"read4k-hot", read_hot},
	{"read4k-qd1", read_qd1},
	{"write4k-qd1", write_qd1},
	{"read4k-qd32", read_qd32},
	{"seqwrite", sequential_write},
	{"seqread", sequential_read},
};
#define TESTS (sizeof(tests) / sizeof(tests[0]))

/* From the machine's reset to its first program, which tells when it began: the counter starts at zero under QEMU. */
static void boot_time(void)
{
	const char *given = getenv("BOOT_COUNTER");
	uint64_t frequency;

	if (!given)
		return;
	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
	printf("{\"test\":\"boot\",\"unit\":\"ns\",\"p50\":null,\"p99\":null,\"mean\":%.0f,\"instructions\":null,"
	       "\"el2_entries\":null,\"n\":1}\n", (double)strtoull(given, NULL, 10) * 1e9 / (double)frequency);
	fflush(stdout);
}

static bool wanted(const char *name, char **names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return true;
	return !count;
}

int main(int argc, char **argv)
{
	int option;

	if (argc > 1 && !strcmp(argv[1], "--exit"))
		_exit(0);
	while ((option = getopt(argc, argv, "amn:d:f:")) != -1) {
		if (option == 'a')
			settings.every_cpu = true;
		else if (option == 'm')
			settings.marks = true;
		else if (option == 'n')
			settings.percent = (unsigned)atoi(optarg);
		else if (option == 'd')
			settings.device = optarg;
		else if (option == 'f')
			settings.files = optarg;
		else
			return 2;
	}
	if (wanted("boot", argv + optind, argc - optind))
		boot_time();
	counters_find();
	machine_print();
	counters_bind();
	for (unsigned i = 0; i < TESTS; i++)
		if (wanted(tests[i].name, argv + optind, argc - optind))
			tests[i].run();
	files_unmount();
	return 0;
}
