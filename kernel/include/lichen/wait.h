/* SPDX-License-Identifier: MIT */
/*
 * The one wait primitive, free of lost wake-ups, with the deadline and the signal built in. Locks, futexes, timers, poll,
 * children and I/O completion are all built on it.
 *
 * A wait queue is an eventcount: every wake advances its sequence number. A waiter reads the number (its ticket) *before*
 * it checks its condition; wait_on() returns at once if the number has moved since:
 *
 *     for (;;) {
 *             f->ticket = wait_ticket(&q);
 *             if (condition)
 *                     break;
 *             AWAIT(wait_on, .queue = &q, .ticket = f->ticket);
 *             if (RESULT < 0) ASYNC_RETURN(RESULT);
 *     }
 *
 * The waker makes the condition true, then calls wait_wake*(). Wakes may come from interrupt handlers. A wait that was
 * chosen by a wake reports 0 even if a signal or the deadline came too, so no wake-up is swallowed.
 */
#ifndef LICHEN_WAIT_H
#define LICHEN_WAIT_H

#include <lichen/async.h>
#include <lichen/list.h>
#include <lichen/lock.h>
#include <lichen/timer.h>

struct wait_queue {
	spinlock_t lock; /* guards waiters; taken with interrupts masked */
	_Atomic u32 sequence;
	struct list waiters;
};

#define WAIT_QUEUE_INIT(name) { SPINLOCK_INIT, 0, LIST_INIT((name).waiters) }
void wait_queue_init(struct wait_queue *queue);

/*
 * One entry of a wait queue. wait_on() has one in its frame; poll and epoll put their own in, with a callback that
 * runs under the queue's lock, interrupts masked: it may wake another queue, no more.
 */
struct waiter {
	struct list node; /* in wait_queue.waiters */
	struct wait_queue *queue;
	struct task *task;
	void (*wake)(struct waiter *waiter, u64 key); /* NULL: wake the task and leave the queue */
	u64 key;				      /* what it waits for: wait_wake_key() */
	_Atomic bool woken;
};

static inline u32 wait_ticket(struct wait_queue *queue)
{
	return atomic_load_explicit(&queue->sequence, memory_order_acquire);
}

/*
 * Waits for a wake later than `ticket`. 0: woken, or the ticket was stale; -EINTR: a signal is pending (not if
 * uninterruptible; if killable, too, one that ends the thread); -ETIMEDOUT: `deadline` has passed (0 = none). Spurious zeroes are possible.
 */
ASYNC_DECLARE(wait_on, struct wait_queue *queue; u32 ticket; bool uninterruptible; bool killable; nsec_t deadline;
	u64 key; struct waiter waiter; struct timer timer;);

/* Sleeps until `deadline`: 0 when it has passed, or -EINTR. */
ASYNC_DECLARE(sleep_until, nsec_t deadline; bool uninterruptible; struct wait_queue queue; u32 ticket;);

/* Wake at most n waiters (oldest first; waiters with a callback are all called and do not count). Returns how many. */
unsigned wait_wake(struct wait_queue *queue, unsigned n);
static inline unsigned wait_wake_all(struct wait_queue *queue)
{
	return wait_wake(queue, ~0u);
}
/* The same among waiters whose key satisfies match(key, arg); others stay. Callbacks get `key`. match NULL: all; callbacks get 0. */
unsigned wait_wake_match(struct wait_queue *queue, unsigned n, bool (*match)(u64 key, u64 arg), u64 arg);
/* For poll masks: calls callbacks with `key` and wakes all plain waiters. */
unsigned wait_wake_poll(struct wait_queue *queue, u64 key);

/* Puts a waiter with a callback in, takes it out (harmless if it is not in). After wait_remove no callback runs. */
void wait_insert(struct wait_queue *queue, struct waiter *waiter);
void wait_remove(struct waiter *waiter);

/*
 * Async mutex: may be held across awaits. Fair: unlock hands over to the oldest waiter. Not recursive. A waiter that is
 * interrupted after it was chosen owns the lock and says so (0).
 */
struct mutex {
	spinlock_t lock;
	struct task *owner; /* NULL: free; for backtraces and assertions */
	struct wait_queue waiters;
};
#define MUTEX_INIT(name) { SPINLOCK_INIT, NULL, WAIT_QUEUE_INIT((name).waiters) }
void mutex_init(struct mutex *mutex);
bool mutex_trylock(struct mutex *mutex, struct task *self);
/* Uninterruptible unless asked: 0, or -EINTR with .interruptible. */
ASYNC_DECLARE(mutex_lock, struct mutex *mutex; bool interruptible; struct waiter waiter;);
void mutex_unlock(struct mutex *mutex);

/*
 * Async readers-writer lock. Writers do not starve: new readers queue behind a waiting writer. Uninterruptible. One that
 * nobody waits for is taken and given back by one atomic operation.
 */
struct rwlock {
	_Atomic u32 state; /* readers, RWLOCK_WRITER, RWLOCK_QUEUE */
	spinlock_t lock;   /* guards the queue */
	struct list queue;
	struct task *writer;
};
#define RWLOCK_WRITER (1u << 31)
#define RWLOCK_QUEUE  (1u << 30) /* somebody waits */
void rwlock_init(struct rwlock *lock);
/* The state says that somebody waits, and may go now, perhaps. */
void rwlock_released(struct rwlock *lock);

static inline bool rwlock_try_read(struct rwlock *lock)
{
	u32 state = atomic_load_explicit(&lock->state, memory_order_relaxed);

	while (likely(!(state & (RWLOCK_WRITER | RWLOCK_QUEUE))))
		if (likely(atomic_compare_exchange_weak_explicit(
			    &lock->state, &state, state + 1, memory_order_acquire, memory_order_relaxed)))
			return true;
	return false;
}

static inline bool rwlock_try_write(struct rwlock *lock, struct task *self)
{
	u32 state = 0;

	if (unlikely(!atomic_compare_exchange_strong_explicit(
		    &lock->state, &state, RWLOCK_WRITER, memory_order_acquire, memory_order_relaxed)))
		return false;
	lock->writer = self;
	return true;
}

static inline void rwlock_read_unlock(struct rwlock *lock)
{
	/* The last reader lets a writer in; readers that wait do so behind one. */
	if (unlikely(atomic_fetch_sub_explicit(&lock->state, 1, memory_order_acq_rel) == (RWLOCK_QUEUE | 1)))
		rwlock_released(lock);
}

static inline void rwlock_write_unlock(struct rwlock *lock)
{
	lock->writer = NULL;
	if (unlikely(atomic_fetch_and_explicit(&lock->state, ~RWLOCK_WRITER, memory_order_acq_rel) & RWLOCK_QUEUE))
		rwlock_released(lock);
}

ASYNC_DECLARE(rwlock_read, struct rwlock *lock; struct waiter waiter;);
ASYNC_DECLARE(rwlock_write, struct rwlock *lock; struct waiter waiter;);

/* One event to come, as the end of some I/O. Uninterruptible, unless killable: then 0 or -EINTR. */
struct completion {
	_Atomic u32 done;
	struct wait_queue queue;
};
void completion_init(struct completion *completion);
void complete(struct completion *completion); /* from any context */
ASYNC_DECLARE(wait_for, struct completion *completion; bool killable; u32 ticket;);

#endif
