/* SPDX-License-Identifier: MIT */
/* Times as programs write them, checked and converted. */
#ifndef PROC_CLOCK_H
#define PROC_CLOCK_H

#include <lichen/timer.h>
#include <linux/time_types.h>

#define TIME_FOREVER (INT64_MAX / 2 * 1ull) /* far enough to add to, never reached */

static inline bool timespec_valid(const struct __kernel_timespec *t)
{
	return t->tv_sec >= 0 && (u64)t->tv_nsec < NSEC_PER_SEC;
}

/* Saturates. */
static inline nsec_t timespec_to_ns(const struct __kernel_timespec *t)
{
	if ((u64)t->tv_sec >= TIME_FOREVER / NSEC_PER_SEC)
		return TIME_FOREVER;
	return t->tv_sec * NSEC_PER_SEC + t->tv_nsec;
}

static inline struct __kernel_timespec ns_to_timespec(nsec_t ns)
{
	return (struct __kernel_timespec){.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC};
}

/* A deadline of wait_on: never 0. */
static inline nsec_t deadline_after(nsec_t ns)
{
	nsec_t now = time_monotonic();

	return ns >= TIME_FOREVER - now ? TIME_FOREVER : now + ns ? now + ns : 1;
}

#endif
