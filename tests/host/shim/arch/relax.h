/* SPDX-License-Identifier: MIT */
/* Host: waiting gives the other threads a chance. */
#ifndef ARCH_RELAX_H
#define ARCH_RELAX_H

#include <lichen/types.h>
#include <sched.h>

static inline u16 relax_load_u16(_Atomic u16 *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static inline void relax_wait(void)
{
	sched_yield();
}

static inline void relax_notify(void)
{
}

static inline void relax(void)
{
	sched_yield();
}

#endif
