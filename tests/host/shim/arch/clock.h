/* SPDX-License-Identifier: MIT */
/* Host: a counter that measures are taken with. */
#ifndef ARCH_CLOCK_H
#define ARCH_CLOCK_H

#include <lichen/types.h>
#include <time.h>

static inline u64 clock_ticks_of(nsec_t ns)
{
	return ns;
}

static inline u64 clock_ticks(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

#endif
