/* SPDX-License-Identifier: MIT */
/* Host: a counter that measures are taken with. */
#ifndef ARCH_CLOCK_H
#define ARCH_CLOCK_H

#include <lichen/timer.h>

static inline u64 clock_ticks_of(nsec_t ns)
{
	return ns;
}

static inline u64 clock_ticks(void)
{
	return time_monotonic();
}

#endif
