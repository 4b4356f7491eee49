// SPDX-License-Identifier: MIT
/*
 * What the figures were measured on, as the system itself tells it: for the head of the report. The governor and the clock's
 * frequency are the driver domain's business; where the system has none of its own to ask, they are null.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "counters.h"

#define CPUFREQ "/sys/devices/system/cpu/cpu0/cpufreq/"

/* The rest of the first line of a file that begins with `key`. */
static bool line_of(const char *path, const char *key, char *value, size_t size)
{
	FILE *file = fopen(path, "re");
	char line[512];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		const char *at = line + strlen(key);

		if (strncmp(line, key, strlen(key)))
			continue;
		at += strspn(at, " \t:");
		snprintf(value, size, "%.*s", (int)strcspn(at, "\n"), at);
		found = value[0] != 0;
	}
	if (file)
		fclose(file);
	return found;
}

/* No text of a kernel's needs escapes, but for those that would break the line. */
static void print_text(const char *name, const char *path, const char *key)
{
	char value[256];

	if (!line_of(path, key, value, sizeof(value))) {
		printf("\"%s\":null,", name);
		return;
	}
	for (char *at = value; *at; at++)
		if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
			*at = ' ';
	printf("\"%s\":\"%s\",", name, value);
}

static unsigned long hexadecimal(const char *key)
{
	char value[64];

	return line_of("/proc/cpuinfo", key, value, sizeof(value)) ? strtoul(value, NULL, 0) : 0;
}

void machine_print(void)
{
	struct utsname name = {0};
	uint64_t frequency;

	uname(&name);
	__asm__("mrs %0, cntfrq_el0" : "=r"(frequency));
	printf("{\"machine\":{");
	/* MIDR_EL1's fields (Arm ARM D19.2.98), as all kernels print them. */
	printf("\"midr\":\"0x%08lx\",", hexadecimal("CPU implementer") << 24 | hexadecimal("CPU variant") << 20 | 0xf0000 |
		hexadecimal("CPU part") << 4 | hexadecimal("CPU revision"));
	print_text("governor", CPUFREQ "scaling_governor", "");
	print_text("khz", CPUFREQ "scaling_cur_freq", "");
	print_text("max_khz", CPUFREQ "cpuinfo_max_freq", "");
	print_text("isolated", "/sys/devices/system/cpu/isolated", "");
	printf("\"cntfrq\":%llu,\"cpus\":%ld,\"counters\":\"%s%s\",\"kernel\":\"%s %s\"}}\n", (unsigned long long)frequency,
		sysconf(_SC_NPROCESSORS_ONLN), have_counter[INSTRUCTIONS] ? "instructions " : "",
		have_counter[CYCLES] ? "cycles" : "", name.sysname, name.release);
	fflush(stdout);
}
