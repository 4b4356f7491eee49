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

ASYNC_DEFINE(mutex_lock)
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
	spin_init(&lock->lock);
	lock->readers = 0;
	list_init(&lock->queue);
	lock->writer = NULL;
}

bool rwlock_try_read(struct rwlock *lock)
{
	bool taken;

	spin_lock(&lock->lock);
	taken = lock->readers >= 0 && list_empty(&lock->queue);
	if (taken)
		lock->readers++;
	spin_unlock(&lock->lock);
	return taken;
}

bool rwlock_try_write(struct rwlock *lock, struct task *self)
{
	bool taken;

	spin_lock(&lock->lock);
	taken = !lock->readers && list_empty(&lock->queue);
	if (taken) {
		lock->readers = -1;
		lock->writer = self;
	}
	spin_unlock(&lock->lock);
	return taken;
}

/* Lets in who may go next: the oldest writer alone, or all readers up to the next writer. */
static void rwlock_hand_over(struct rwlock *lock) REQUIRES(lock->lock)
{
	while (!list_empty(&lock->queue)) {
		struct waiter *next = list_first(&lock->queue, struct waiter, node);

		if (next->key) {
			if (lock->readers)
				break;
			lock->readers = -1;
			lock->writer = next->task;
		} else {
			if (lock->readers < 0)
				break;
			lock->readers++;
		}
		list_remove(&next->node);
		atomic_store_explicit(&next->woken, true, memory_order_relaxed);
		task_wake(next->task);
	}
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
		rwlock_hand_over(lock);
	}
	owned = atomic_load_explicit(&waiter->woken, memory_order_relaxed);
	spin_unlock(&lock->lock);
	return owned;
}

ASYNC_DEFINE(rwlock_read)
{
	if (!f->waiter.task && rwlock_try_read(f->lock))
		ASYNC_RETURN(0);
	if (!rwlock_wait(f->lock, &f->waiter, self, false))
		return PENDING;
	ASYNC_RETURN(0);
}

ASYNC_DEFINE(rwlock_write)
{
	if (!f->waiter.task && rwlock_try_write(f->lock, self))
		ASYNC_RETURN(0);
	if (!rwlock_wait(f->lock, &f->waiter, self, true))
		return PENDING;
	ASYNC_RETURN(0);
}

void rwlock_read_unlock(struct rwlock *lock)
{
	spin_lock(&lock->lock);
	kassert(lock->readers > 0);
	lock->readers--;
	rwlock_hand_over(lock);
	spin_unlock(&lock->lock);
}

void rwlock_write_unlock(struct rwlock *lock)
{
	spin_lock(&lock->lock);
	kassert(lock->readers == -1);
	lock->readers = 0;
	lock->writer = NULL;
	rwlock_hand_over(lock);
	spin_unlock(&lock->lock);
}
