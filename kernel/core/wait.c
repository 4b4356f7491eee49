/* SPDX-License-Identifier: MIT */
/*
 * Wait queues: eventcounts. What makes them free of lost wake-ups:
 *   - a waiter enters the queue only if the sequence is still its ticket, both under the queue's lock;
 *   - a waker advances the sequence and takes waiters out under the same lock, marks them woken and wakes their tasks
 *     before it lets go of the lock;
 *   - a waiter leaves only under that lock: when it has left, no waker can touch it or its task any more;
 *   - a wake of a task that still runs is remembered by the executor (task.h).
 */
#include <lichen/wait.h>
#include <lichen/task.h>
#include <asm/errno.h>

void wait_queue_init(struct wait_queue *queue)
{
	spin_init(&queue->lock);
	atomic_init(&queue->sequence, 0);
	list_init(&queue->waiters);
}

static bool waiter_woken(struct waiter *waiter)
{
	return atomic_load_explicit(&waiter->woken, memory_order_relaxed);
}

static void waiter_take(struct waiter *waiter)
{
	list_remove(&waiter->node);
	atomic_store_explicit(&waiter->woken, true, memory_order_relaxed);
	task_wake(waiter->task);
}

static void wait_timeout(struct timer *timer)
{
	task_wake(container_of(timer, struct wait_on_frame, timer)->waiter.task);
}

static bool interrupted(const struct wait_on_frame *f, struct task *self)
{
	return f->uninterruptible ? f->killable && task_killed(self) : task_signalled(self);
}

/* Not a switch on the resume point: the frame's state says where it is. */
ASYNC_DEFINE_SHALLOW(wait_on, 0)
{
	struct wait_queue *queue = f->queue;
	unsigned long flags;
	long result = 0;

	if (!f->waiter.task) {
		if (interrupted(f, self))
			result = -EINTR;
		f->waiter.task = self;
		f->waiter.key = f->key;
		flags = spin_lock_irqsave(&queue->lock);
		if (atomic_load_explicit(&queue->sequence, memory_order_relaxed) != f->ticket) {
			spin_unlock_irqrestore(&queue->lock, flags);
			ASYNC_RETURN(0);
		}
		if (!result && f->deadline && time_monotonic() >= f->deadline)
			result = -ETIMEDOUT;
		if (result) {
			spin_unlock_irqrestore(&queue->lock, flags);
			ASYNC_RETURN(result);
		}
		list_add_tail(&queue->waiters, &f->waiter.node);
		spin_unlock_irqrestore(&queue->lock, flags);
		if (f->deadline) {
			timer_init(&f->timer, wait_timeout);
			timer_start(&f->timer, f->deadline);
		}
		/* A signal that came before we were in the queue has set its flag before it looked at our state. */
		return PENDING;
	}

	flags = spin_lock_irqsave(&queue->lock);
	if (!waiter_woken(&f->waiter)) {
		if (interrupted(f, self))
			result = -EINTR;
		else if (f->deadline && time_monotonic() >= f->deadline)
			result = -ETIMEDOUT;
		if (!result) {
			/* Somebody else's wake. */
			spin_unlock_irqrestore(&queue->lock, flags);
			return PENDING;
		}
		list_remove(&f->waiter.node);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	if (f->deadline)
		timer_cancel(&f->timer);
	ASYNC_RETURN(result);
}

ASYNC_DEFINE_SHALLOW(sleep_until, sizeof(struct wait_on_frame))
{
	ASYNC_BEGIN;
	wait_queue_init(&f->queue);
	f->ticket = wait_ticket(&f->queue);
	AWAIT(wait_on, .queue = &f->queue, .ticket = f->ticket, .deadline = f->deadline ? f->deadline : 1,
		.uninterruptible = f->uninterruptible);
	ASYNC_RETURN(RESULT == -ETIMEDOUT ? 0 : RESULT);
	ASYNC_END;
}

static unsigned wake(struct wait_queue *queue, unsigned n, bool (*match)(u64 key, u64 arg), u64 arg, u64 key)
{
	struct waiter *waiter, *next;
	unsigned woken = 0;
	unsigned long flags = spin_lock_irqsave(&queue->lock);

	atomic_fetch_add_explicit(&queue->sequence, 1, memory_order_release);
	list_for_each_safe(waiter, next, &queue->waiters, node) {
		if (match && !match(waiter->key, arg))
			continue;
		if (waiter->wake) {
			waiter->wake(waiter, key);
		} else if (woken < n) {
			waiter_take(waiter);
			woken++;
		}
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	return woken;
}

unsigned wait_wake(struct wait_queue *queue, unsigned n)
{
	return wake(queue, n, NULL, 0, 0);
}

unsigned wait_wake_match(struct wait_queue *queue, unsigned n, bool (*match)(u64 key, u64 arg), u64 arg)
{
	return wake(queue, n, match, arg, match ? arg : 0);
}

unsigned wait_wake_poll(struct wait_queue *queue, u64 key)
{
	return wake(queue, ~0u, NULL, 0, key);
}

void wait_insert(struct wait_queue *queue, struct waiter *waiter)
{
	unsigned long flags = spin_lock_irqsave(&queue->lock);

	waiter->queue = queue;
	atomic_store_explicit(&waiter->woken, false, memory_order_relaxed);
	list_add_tail(&queue->waiters, &waiter->node);
	spin_unlock_irqrestore(&queue->lock, flags);
}

void wait_remove(struct waiter *waiter)
{
	struct wait_queue *queue = waiter->queue;
	unsigned long flags;

	if (!queue)
		return;
	flags = spin_lock_irqsave(&queue->lock);
	list_remove(&waiter->node);
	spin_unlock_irqrestore(&queue->lock, flags);
	waiter->queue = NULL;
}

void completion_init(struct completion *completion)
{
	atomic_init(&completion->done, 0);
	wait_queue_init(&completion->queue);
}

void complete(struct completion *completion)
{
	struct wait_queue *queue = &completion->queue;
	struct waiter *waiter, *next;
	unsigned long flags = spin_lock_irqsave(&queue->lock);

	/*
	 * All under the lock: the waiter may free the completion as soon as it sees it done, and it looks under
	 * the lock too.
	 */
	atomic_store_explicit(&completion->done, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&queue->sequence, 1, memory_order_release);
	list_for_each_safe(waiter, next, &queue->waiters, node)
		waiter_take(waiter);
	spin_unlock_irqrestore(&queue->lock, flags);
}

static bool completion_done(struct completion *completion)
{
	unsigned long flags = spin_lock_irqsave(&completion->queue.lock);
	bool done = atomic_load_explicit(&completion->done, memory_order_relaxed);

	spin_unlock_irqrestore(&completion->queue.lock, flags);
	return done;
}

ASYNC_DEFINE_SHALLOW(wait_for, sizeof(struct wait_on_frame))
{
	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&f->completion->queue);
		if (completion_done(f->completion))
			break;
		AWAIT(wait_on, .queue = &f->completion->queue, .ticket = f->ticket, .uninterruptible = true,
			.killable = f->killable);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}
