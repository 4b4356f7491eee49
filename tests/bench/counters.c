// SPDX-License-Identifier: MIT
/* The PMU's counters and the hypervisor's (counters.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <lichen/pmu.h>
#include "counters.h"
#include "measure.h"

bool have_counter[COUNTERS];
static sigjmp_buf no_counter;
static cpu_set_t all, home;
static char cause_names[EL2_CAUSES][24];

static void on_sigill(int signal)
{
	siglongjmp(no_counter, signal);
}

static uint64_t counter(enum counter which)
{
	if (!have_counter[which])
		return 0;
	return which == INSTRUCTIONS ? lichen_pmu_instructions() : lichen_pmu_cycles();
}

/* Since `last`: instructions have 32 bits. */
static uint64_t counted_since(enum counter which, uint64_t value, uint64_t last)
{
	return which == INSTRUCTIONS ? (uint32_t)(value - last) : value - last;
}

/* One that is given beside the program, on Linux; what it is for may not be there. */
static void module_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST && errno != ENODEV)
		fprintf(stderr, "latency: %s: %s\n", path, strerror(errno));
	close(fd);
}

void counters_find(void)
{
	module_load("/root/pmu.ko");
	module_load("/root/frontend.ko");
	if (sched_getaffinity(0, sizeof(all), &all))
		die("sched_getaffinity");
	home = all;
	signal(SIGILL, on_sigill);
	for (int which = 0; which < COUNTERS; which++) {
		if (!sigsetjmp(no_counter, 1)) {
			uint64_t first;

			have_counter[which] = true;
			first = counter(which);
			for (volatile int i = 0; i < 1000; i++)
				;
			have_counter[which] = counter(which) != first;
		} else {
			have_counter[which] = false;
		}
	}
	signal(SIGILL, SIG_DFL);
}

void counters_bind(void)
{
	int cpu = sched_getcpu();

	CPU_ZERO(&home);
	CPU_SET(cpu < 0 ? 0 : cpu, &home);
	if (sched_setaffinity(0, sizeof(home), &home))
		die("sched_setaffinity");
}

static void read_cpu(struct counts *counts, int cpu)
{
	for (int which = 0; which < COUNTERS; which++) {
		uint64_t value = counter(which);

		counts->sum[which] += counted_since(which, value, counts->last[cpu][which]);
		counts->last[cpu][which] = value;
	}
}

static int home_cpu(void)
{
	int cpu = sched_getcpu();

	return cpu < 0 || cpu >= CPUS_MAX ? 0 : cpu;
}

/* Goes to every other CPU in turn, reads its counters, and comes back. */
static void read_others(struct counts *counts)
{
	if (!settings.every_cpu)
		return;
	for (int cpu = 0; cpu < CPUS_MAX; cpu++) {
		cpu_set_t one;

		if (!CPU_ISSET(cpu, &all) || CPU_ISSET(cpu, &home))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			die("sched_setaffinity");
		read_cpu(counts, cpu);
	}
	if (sched_setaffinity(0, sizeof(home), &home))
		die("sched_setaffinity");
}

void counts_begin(struct counts *counts)
{
	read_others(counts);
	read_cpu(counts, home_cpu());
	memset(counts->sum, 0, sizeof(counts->sum));
}

void counts_tick(struct counts *counts)
{
	read_cpu(counts, home_cpu());
}

void counts_end(struct counts *counts)
{
	counts_tick(counts);
	read_others(counts);
}

/* --- files of /proc/lichen --- */

/* The text, ended; its length, 0 if there is no such file, or -1 if it can't be read. */
static ssize_t read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n;
}

/* Of lines "NAME VALUE": -1 without such a line. */
static int64_t value_of(const char *text, const char *name)
{
	size_t length = strlen(name);

	while (text && (strncmp(text, name, length) || text[length] != ' '))
		text = (text = strchr(text, '\n')) ? text + 1 : NULL;
	return text ? strtoll(text + length, NULL, 10) : -1;
}

/* --- the driver domain's --- */

void backend_counts_read(struct backend_counts *counts)
{
	static const char *const names[COUNTERS] = {"backend_instructions", "backend_cycles"};
	char text[512];
	ssize_t n = read_text("/proc/lichen/pmu", text, sizeof(text));

	memset(counts, 0, sizeof(*counts));
	counts->known = n == 0;
	if (n <= 0)
		return;
	for (int which = 0; which < COUNTERS; which++)
		counts->value[which] = (uint64_t)value_of(text, names[which]);
	counts->cpus = (unsigned)value_of(text, "backend_cpus");
	counts->known = counts->cpus;
}

/* --- the hypervisor's --- */

/* Lines of words: "cpu entries hvc ..." names the columns, then a row a CPU. */
void el2_read(struct el2_entries *entries)
{
	char buf[8192], *line, *lines, *word, *words;
	bool head = true;

	memset(entries, 0, sizeof(*entries));
	/* Empty: Lichen without a hypervisor. */
	entries->known = read_text("/proc/lichen/el2", buf, sizeof(buf)) >= 0;
	for (line = strtok_r(buf, "\n", &lines); line; line = strtok_r(NULL, "\n", &lines), head = false) {
		strtok_r(line, " ", &words);
		for (unsigned i = 0; i < EL2_CAUSES && (word = strtok_r(NULL, " ", &words)); i++) {
			if (head)
				snprintf(cause_names[i], sizeof(cause_names[i]), "%s", word);
			else
				entries->by_cause[i] += strtoll(word, NULL, 10);
		}
	}
}

const char *el2_cause(unsigned index)
{
	return index < EL2_CAUSES && cause_names[index][0] ? cause_names[index] : NULL;
}

/* --- Lichen's --- */

static const char *const kernel_names[] = {"spin_instructions", "interrupts", "backend_doorbells", "backend_interrupts"};
static const char *const kernel_keys[] = {"spin", "interrupts", "doorbells", "device_interrupts"};

void kernel_counters_read(int64_t value[KERNEL_COUNTERS])
{
	char buf[4096];

	read_text("/proc/lichen/counters", buf, sizeof(buf));
	for (unsigned i = 0; i < KERNEL_COUNTERS; i++)
		value[i] = value_of(buf, kernel_names[i]);
}

const char *kernel_counter(unsigned index)
{
	return kernel_keys[index];
}
