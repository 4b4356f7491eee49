/* SPDX-License-Identifier: MIT */
/*
 * Included before everything else: stands in for the hypervisor's arm64.h and lock.h, so that its portable code runs on this machine.
 */
#ifndef HYP_SHIM_H
#define HYP_SHIM_H

#define HYP_ARM64_H
#define HYP_LOCK_H
#define REGS_SIZE 256

#include "types.h"

#define dsb(scope) __atomic_thread_fence(__ATOMIC_SEQ_CST)

static inline void mmio_write32(u64 addr, u32 value)
{
	*(volatile u32 *)addr = value;
}

#define HYP_STAGE2_H

struct domain;
static inline void stage2_map(struct domain *domain, u64 base, u64 size, u64 attributes)
{
	(void)domain, (void)base, (void)size, (void)attributes;
}

struct spinlock {
	u32 held;
};

/* One thread: a lock that is taken twice is a mistake of the code. */
static inline void spin_lock(struct spinlock *lock)
{
	if (lock->held)
		__builtin_trap();
	lock->held = 1;
}

static inline void spin_unlock(struct spinlock *lock)
{
	lock->held = 0;
}

static inline bool atomic_or_shared(u64 *word, u64 bits)
{
	__atomic_fetch_or(word, bits, __ATOMIC_RELEASE);
	return true;
}

#endif
