/* SPDX-License-Identifier: MIT */
/* What /proc/meminfo says of memory, for tests that want it back. */
#ifndef MEMINFO_H
#define MEMINFO_H

#include <stdio.h>

/* KiB, or -1. */
static inline long memory_available(void)
{
	char line[128];
	long kib = -1;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %ld kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib;
}

#endif
