/* SPDX-License-Identifier: MIT */
/*
 * Ticket locks: `next` is the ticket that the next taker draws, `owner` the one that is served. Waiting costs no
 * power: cpu_arch_relax_* sleep until the word was written.
 */
#include <lichen/lock.h>
#include <lichen/irq.h>
#include <arch/relax.h>

void spin_lock(spinlock_t *l) NO_LOCK_ANALYSIS
{
	u16 ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);

	if (likely(atomic_load_explicit(&l->owner, memory_order_acquire) == ticket))
		return;
	while (relax_load_u16(&l->owner) != ticket)
		relax_wait();
}

bool spin_trylock(spinlock_t *l) NO_LOCK_ANALYSIS
{
	u16 owner = atomic_load_explicit(&l->owner, memory_order_relaxed);
	u16 expected = owner;

	/* Free if the next ticket is the one that is served: then it is drawn. */
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
