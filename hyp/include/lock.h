/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks between CPUs that are at EL2, and atomics on memory that a domain may write too. Nothing holds a lock while a domain runs.
 */
#ifndef HYP_LOCK_H
#define HYP_LOCK_H

#include "arm64.h"

struct spinlock {
	u32 held;
};

static inline void spin_lock(struct spinlock *lock)
{
	u32 held, failed;

	asm volatile("	sevl\n"
		     "1:	wfe\n"
		     "2:	ldaxr	%w0, %2\n"
		     "	cbnz	%w0, 1b\n"
		     "	stxr	%w1, %w3, %2\n"
		     "	cbnz	%w1, 2b\n"
		     : "=&r"(held), "=&r"(failed), "+Q"(lock->held)
		     : "r"(1)
		     : "memory");
}

static inline void spin_unlock(struct spinlock *lock)
{
	asm volatile("stlr wzr, %0" : "=Q"(lock->held) : : "memory");
}

extern bool cpu_has_lse; /* FEAT_LSE, on all CPUs */

/*
 * Sets bits with release semantics in a word that a domain may write at the same time. The other side could keep breaking an
 * exclusive pair for ever, so without FEAT_LSE the attempts are counted; false: given up.
 */
static inline bool atomic_or_shared(u64 *word, u64 bits)
{
	u64 value;
	u32 failed;

	if (cpu_has_lse) {
		asm volatile(".arch_extension lse\n"
			     "	stsetl	%1, %0\n"
			     ".arch_extension nolse\n"
			     : "+Q"(*word)
			     : "r"(bits)
			     : "memory");
		return true;
	}
	for (u32 attempt = 0; attempt < 100; attempt++) {
		asm volatile("	ldxr	%0, %2\n"
			     "	orr	%0, %0, %3\n"
			     "	stlxr	%w1, %0, %2\n"
			     : "=&r"(value), "=&r"(failed), "+Q"(*word)
			     : "r"(bits)
			     : "memory");
		if (likely(!failed))
			return true;
	}
	return false;
}

#endif
