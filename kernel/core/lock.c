/* SPDX-License-Identifier: MIT */
/*
 * `owner` counts releases, `next` takings: the lock is free while they are equal, and whoever sees that first takes it. That
 * is not fair, on purpose: where CPUs are threads of an emulator, or virtual, a lock that is handed to the longest waiter is
 * handed to one that does not run. Waiting costs no power: relax_wait() sleeps until the word was written.
 */
#include <lichen/lock.h>
#include <lichen/irq.h>
#include <arch/relax.h>

/* Apart, so that the taking of a free lock is short enough to be inlined. */
static __noinline void spin_wait(spinlock_t *l) NO_LOCK_ANALYSIS
{
	do {
		while (relax_load_u16(&l->owner) != atomic_load_explicit(&l->next, memory_order_relaxed))
			relax_wait();
	} while (!spin_trylock(l));
}

void spin_lock(spinlock_t *l) NO_LOCK_ANALYSIS
{
	if (unlikely(!spin_trylock(l)))
		spin_wait(l);
}

bool spin_trylock(spinlock_t *l) NO_LOCK_ANALYSIS
{
	/* Acquire: what the last owner did before it counted its release is seen. */
	u16 owner = atomic_load_explicit(&l->owner, memory_order_acquire);
	u16 expected = owner;

	return atomic_compare_exchange_strong_explicit(
		&l->next, &expected, (u16)(owner + 1), memory_order_acquire, memory_order_relaxed);
}

void spin_unlock(spinlock_t *l) NO_LOCK_ANALYSIS
{
	u16 owner = atomic_load_explicit(&l->owner, memory_order_relaxed);

	atomic_store_explicit(&l->owner, (u16)(owner + 1), memory_order_release);
	relax_notify();
}

unsigned long spin_lock_irqsave(spinlock_t *l) NO_LOCK_ANALYSIS
{
	unsigned long flags = irq_save();

	spin_lock(l);
	return flags;
}

void spin_unlock_irqrestore(spinlock_t *l, unsigned long flags) NO_LOCK_ANALYSIS
{
	spin_unlock(l);
	irq_restore(flags);
}
