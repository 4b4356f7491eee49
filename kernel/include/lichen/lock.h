/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks, as capabilities of clang's thread safety analysis. The kernel is not preemptible, so a plain spinlock excludes
 * other CPUs only; one that an interrupt handler takes too is always taken with interrupts masked (_irqsave).
 *
 * A spinlock is never held across an await: AWAIT contains a `return`, and clang -Wthread-safety makes that an error.
 * What must be held across awaits is a `struct mutex` (wait.h).
 */
#ifndef LICHEN_LOCK_H
#define LICHEN_LOCK_H

#include <lichen/types.h>

#if defined(__clang__)
#define CAPABILITY(name)	__attribute__((capability(name)))
#define ACQUIRES(...)		__attribute__((acquire_capability(__VA_ARGS__)))
#define RELEASES(...)		__attribute__((release_capability(__VA_ARGS__)))
#define TRY_ACQUIRES(...)	__attribute__((try_acquire_capability(__VA_ARGS__)))
#define REQUIRES(...)		__attribute__((requires_capability(__VA_ARGS__)))
#define EXCLUDES(...)		__attribute__((locks_excluded(__VA_ARGS__)))
#define GUARDED_BY(x)		__attribute__((guarded_by(x)))
#define NO_LOCK_ANALYSIS	__attribute__((no_thread_safety_analysis))
#else
#define CAPABILITY(name)
#define ACQUIRES(...)
#define RELEASES(...)
#define TRY_ACQUIRES(...)
#define REQUIRES(...)
#define EXCLUDES(...)
#define GUARDED_BY(x)
#define NO_LOCK_ANALYSIS
#endif

/* Free while next == owner (lock.c says why it is not fair); a contended CPU waits with WFE. */
typedef struct CAPABILITY("spinlock") spinlock {
	_Atomic u16 next, owner;
} spinlock_t;

#define SPINLOCK_INIT { 0, 0 }

static inline void spin_init(spinlock_t *l)
{
	atomic_init(&l->next, 0);
	atomic_init(&l->owner, 0);
}

void spin_lock(spinlock_t *l) ACQUIRES(l);
bool spin_trylock(spinlock_t *l) TRY_ACQUIRES(true, l);
void spin_unlock(spinlock_t *l) RELEASES(l);
/* Masks interrupts first; the returned state is for the matching _irqrestore. */
unsigned long spin_lock_irqsave(spinlock_t *l) ACQUIRES(l);
void spin_unlock_irqrestore(spinlock_t *l, unsigned long flags) RELEASES(l);

#endif
