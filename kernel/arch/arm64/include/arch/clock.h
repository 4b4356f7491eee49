/* SPDX-License-Identifier: MIT */
/* The counter behind time_monotonic(): monotonic ns = (counter - boot ticks) * 10^9 / frequency. */
#ifndef ARCH_CLOCK_H
#define ARCH_CLOCK_H

#include <lichen/types.h>

void clock_start_early(void); /* time_monotonic() works from here */
void clock_init(const void *dt);
void clock_cpu_init(void);
u64 clock_boot_ticks(void);
u64 clock_frequency(void); /* Hz */
u64 clock_ticks_of(nsec_t ns);

/* The counter as it is, for measuring: not ordered against anything. */
static inline u64 clock_ticks(void)
{
	u64 value;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
	return value;
}

#endif
