// SPDX-License-Identifier: MIT
/*
 * For measurements under QEMU -icount, preloaded into QEMU itself: counts from outside what the machine does between two marks, the
 * same way under every hypervisor, also where a guest may not read the PMU and no one counts the entries into EL2.
 *
 * With `-d int` QEMU reports each exception through one function, qemu_log(); this replaces its body. The marks are supervisor
 * calls with the immediates 0x4d01 and 0x4d02, which kernels take for ordinary system calls (tests/bench/latency.c -m). At the
 * second one a line is appended to the file COUNT_ENTRIES:
 *
 *     INSTRUCTIONS EL2-ENTRIES INTERRUPTS
 *
 * instructions of all CPUs and exception levels; exceptions that were taken to EL2 from below; interrupts, physical and
 * virtual, wherever they were taken. The cost of the marks themselves (two supervisor calls) is in the figures.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "redirect.h"

#define MARK_BEGIN 0x4d01
#define MARK_END   0x4d02
#define EC_SVC64   0x15

/* QEMU's numbers of exceptions, target/arm/cpu.h */
enum { EXCEPTION_IRQ = 5, EXCEPTION_FIQ = 6, EXCEPTION_VIRQ = 14, EXCEPTION_VFIQ = 15 };

static int64_t (*instructions)(void);
static int output = -1;
static struct counts {
	int64_t instructions;
	uint64_t el2_entries, interrupts;
} all, begun;

static void mark(unsigned immediate)
{
	all.instructions = instructions();
	if (immediate == MARK_BEGIN)
		begun = all;
	else if (immediate == MARK_END)
		dprintf(output, "%lld %llu %llu\n", (long long)(all.instructions - begun.instructions),
			(unsigned long long)(all.el2_entries - begun.el2_entries),
			(unsigned long long)(all.interrupts - begun.interrupts));
}

/* In place of qemu_log(). One caller at a time: under -icount all CPUs share a thread. */
static void report(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!strncmp(format, "Taking exception ", 17)) {
		int number = va_arg(args, int);

		if (number == EXCEPTION_IRQ || number == EXCEPTION_FIQ || number == EXCEPTION_VIRQ || number == EXCEPTION_VFIQ)
			all.interrupts++;
	} else if (!strncmp(format, "...from EL", 10)) {
		int from = va_arg(args, int), to = va_arg(args, int);

		if (from < 2 && to == 2)
			all.el2_entries++;
	} else if (!strncmp(format, "...with ESR ", 12)) {
		unsigned class = va_arg(args, unsigned), syndrome = va_arg(args, unsigned);

		if (class == EC_SVC64)
			mark(syndrome & 0xffff);
	}
	va_end(args);
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("COUNT_ENTRIES");
	void *log = dlsym(RTLD_DEFAULT, "qemu_log");

	if (!path)
		return;
	*(void **)&instructions = dlsym(RTLD_DEFAULT, "icount_get_raw");
	if (!log || !instructions) {
		fprintf(stderr, "count-entries: this QEMU has other symbols; nothing is counted\n");
		return;
	}
	output = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (output < 0)
		perror(path);
	else
		redirect(log, (void *)report);
}
