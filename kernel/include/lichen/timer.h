/* SPDX-License-Identifier: MIT */
/* Kernel timers and clocks. Timers are kept per CPU in order of deadline; there is no periodic tick. */
#ifndef LICHEN_TIMER_H
#define LICHEN_TIMER_H

#include <lichen/types.h>
#include <lichen/rbtree.h>

struct timer {
	struct rb_node node;
	nsec_t deadline;
	void (*expire)(struct timer *timer); /* in interrupt context: may wake, may re-arm itself */
	_Atomic int cpu; /* whose tree it is in; -1: none */
};

void timer_init(struct timer *timer, void (*expire)(struct timer *timer));
/* Arms (or moves) a timer on this CPU. The memory stays the caller's and must live until it expired or was cancelled. */
void timer_start(struct timer *timer, nsec_t deadline);
/* Any context; may be out of date at once, unless the caller holds what keeps others from starting it. */
static inline bool timer_pending(const struct timer *timer)
{
	return atomic_load_explicit(&((struct timer *)(uintptr_t)timer)->cpu, memory_order_relaxed) >= 0;
}
/* After it returns, expire is not running and will not run. True: it was pending. Any CPU, any context but its own expire. */
bool timer_cancel(struct timer *timer);

nsec_t time_monotonic(void); /* since boot */
nsec_t time_realtime(void);  /* since 1970 */
nsec_t time_realtime_offset(void); /* what it is ahead of time_monotonic() */
/* Sets CLOCK_REALTIME. */
void time_set_realtime(nsec_t now);
#define NSEC_PER_SEC 1000000000ull

#endif
