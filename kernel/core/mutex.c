/* SPDX-License-Identifier: MIT */
/*
 * Async locks. Both hand over: who unlocks chooses the next owner, under the lock's spinlock, so that nobody overtakes
 * and a chosen waiter owns the lock whatever else happens to it.
 */
#include <lichen/printk.h>
#include <lichen/task.h>
#include <lichen/wait.h>
#include <asm/errno.h>

/* --- mutex: waiters.waiters is used as a plain list, under mutex->lock --- */

void mutex_init(struct mutex *mutex)
{
	spin_init(&mutex->lock);
	mutex->owner = NULL;
	wait_queue_init(&mutex->waiters);
}

bool mutex_trylock(struct mutex *mutex, struct task *self)
{
	bool taken;

	spin_lock(&mutex->lock);
	taken = !mutex->owner;
	if (taken)
		mutex->owner = self;
	spin_unlock(&mutex->lock);
	return taken;
}

ASYNC_DEFINE_SHALLOW(mutex_lock, 0)
{
	struct mutex *mutex = f->mutex;
	long result = 0;

	spin_lock(&mutex->lock);
	if (!f->waiter.task) {
		if (!mutex->owner) {
			mutex->owner = self;
			spin_unlock(&mutex->lock);
			ASYNC_RETURN(0);
		}
		f->waiter.task = self;
		list_add_tail(&mutex->waiters.waiters, &f->waiter.node);
	}
	if (mutex->owner != self) {
		if (!f->interruptible || !task_signalled(self)) {
			spin_unlock(&mutex->lock);
			return PENDING;
		}
		list_remove(&f->waiter.node);
		result = -EINTR;
	}
	spin_unlock(&mutex->lock);
	ASYNC_RETURN(result);
}

void mutex_unlock(struct mutex *mutex)
{
	spin_lock(&mutex->lock);
	kassert(mutex->owner);
	if (list_empty(&mutex->waiters.waiters)) {
		mutex->owner = NULL;
	} else {
		struct waiter *next = list_first(&mutex->waiters.waiters, struct waiter, node);

		list_remove(&next->node);
		mutex->owner = next->task;
		task_wake(next->task);
	}
	spin_unlock(&mutex->lock);
}

/* --- readers and writers: waiter.key is 1 for a writer --- */

void rwlock_init(struct rwlock *lock)
{
	atomic_init(&lock->state, 0);
	spin_init(&lock->lock);
	list_init(&lock->queue);
	lock->writer = NULL;
}

/* Gives it to the one that is first in the queue: false if it must wait on. While somebody waits nobody else takes it. */
static bool rwlock_grant(struct rwlock *lock, struct waiter *next) REQUIRES(lock->lock)
{
	u32 state = atomic_load_explicit(&lock->state, memory_order_relaxed), wanted;

	do {
		if (state & RWLOCK_WRITER || (next->key && state != RWLOCK_QUEUE))
			return false;
		wanted = next->key ? state | RWLOCK_WRITER : state + 1;
	} while (!atomic_compare_exchange_weak_explicit(
		&lock->state, &state, wanted, memory_order_acquire, memory_order_relaxed));
	if (next->key)
		lock->writer = next->task;
	return true;
}

/* Lets in who may go next: the oldest writer alone, or all readers up to the next writer. */
static void rwlock_hand_over(struct rwlock *lock) REQUIRES(lock->lock)
{
	while (!list_empty(&lock->queue)) {
		struct waiter *next = list_first(&lock->queue, struct waiter, node);

		if (!rwlock_grant(lock, next))
			return;
		list_remove(&next->node);
		if (list_empty(&lock->queue))
			atomic_fetch_and_explicit(&lock->state, ~RWLOCK_QUEUE, memory_order_relaxed);
		atomic_store_explicit(&next->woken, true, memory_order_relaxed);
		task_wake(next->task);
	}
}

void rwlock_released(struct rwlock *lock)
{
	spin_lock(&lock->lock);
	rwlock_hand_over(lock);
	spin_unlock(&lock->lock);
}

/* Steps a waiting reader or writer. */
static bool rwlock_wait(struct rwlock *lock, struct waiter *waiter, struct task *self, bool write)
{
	bool owned;

	spin_lock(&lock->lock);
	if (!waiter->task) {
		waiter->task = self;
		waiter->key = write;
		list_add_tail(&lock->queue, &waiter->node);
		/* Who gives it back after this sees that somebody waits; who did before has left it free. */
		atomic_fetch_or_explicit(&lock->state, RWLOCK_QUEUE, memory_order_acq_rel);
		rwlock_hand_over(lock);
	}
	owned = atomic_load_explicit(&waiter->woken, memory_order_acquire);
	spin_unlock(&lock->lock);
	return owned;
}

ASYNC_DEFINE_SHALLOW(rwlock_read, 0)
{
	if (!f->waiter.task && rwlock_try_read(f->lock))
		ASYNC_RETURN(0);
	if (!rwlock_wait(f->lock, &f->waiter, self, false))
		return PENDING;
	ASYNC_RETURN(0);
}

ASYNC_DEFINE_SHALLOW(rwlock_write, 0)
{
	if (!f->waiter.task && rwlock_try_write(f->lock, self))
		ASYNC_RETURN(0);
	if (!rwlock_wait(f->lock, &f->waiter, self, true))
		return PENDING;
	ASYNC_RETURN(0);
}
