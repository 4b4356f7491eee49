/* SPDX-License-Identifier: MIT */
// kernel: none
// sanitize: thread
/*
 * Wait queues, async locks and timers on several CPUs, under ThreadSanitizer: tokens that pass from task to task are never
 * lost nor doubled, whatever wakes, deadlines and signals cross each other; locks exclude.
 */
#include "check.h"
#include "shim/shim.h"
#include <lichen/slab.h>
#include <stdio.h>
#include <errno.h>
#include <unistd.h>

enum { CPUS = 4, TASKS = 24, ROUNDS = 2000 };

static struct mutex mutex = MUTEX_INIT(mutex);
static struct rwlock rwlock;
static u64 guarded, shared_value;

/* A pool of tokens: take waits for one, give adds one and wakes one. */
static spinlock_t pool_lock = SPINLOCK_INIT;
static u32 pool = 3;
static struct wait_queue pool_queue = WAIT_QUEUE_INIT(pool_queue);
static _Atomic u32 timeouts, interrupts;

static bool pool_take(void)
{
	bool taken;

	spin_lock(&pool_lock);
	taken = pool > 0;
	if (taken)
		pool--;
	spin_unlock(&pool_lock);
	return taken;
}

static void pool_give(void)
{
	spin_lock(&pool_lock);
	pool++;
	spin_unlock(&pool_lock);
	wait_wake(&pool_queue, 1);
}

ASYNC(token_take, u32 ticket; nsec_t deadline;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&pool_queue);
		if (pool_take())
			ASYNC_RETURN(0);
		AWAIT(wait_on, .queue = &pool_queue, .ticket = f->ticket, .deadline = f->deadline);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

static struct task *_Atomic tasks[TASKS];
static struct completion ended;
static _Atomic u32 left = TASKS;

struct worker_args {
	u32 id;
};

ASYNC(worker, u32 id; u32 round; u64 seen;)
{
	ASYNC_BEGIN;
	atomic_store(&tasks[f->id], self);
	for (f->round = 0; f->round < ROUNDS; f->round++) {
		AWAIT(mutex_lock, .mutex = &mutex, .interruptible = f->round & 1);
		if (RESULT == 0) {
			f->seen = guarded;
			if (f->round % 3 == 0)
				AWAIT(task_yield);
			guarded = f->seen + 1;
			mutex_unlock(&mutex);
		} else {
			atomic_fetch_and(&self->flags, ~(u32)TASK_SIGNALLED);
			f->round--;
			continue;
		}
		for (;;) {
			AWAIT(token_take, .deadline = f->round % 4 ? 0 : time_monotonic() + 20000);
			if (RESULT == 0)
				break;
			if (RESULT == -EINTR) {
				atomic_fetch_and(&self->flags, ~(u32)TASK_SIGNALLED);
				interrupts++;
			} else {
				CHECK(RESULT == -ETIMEDOUT);
				timeouts++;
			}
		}
		if (f->round % 2)
			AWAIT(sleep_until, .deadline = time_monotonic() + 10000, .uninterruptible = true);
		pool_give();
		if (f->round % 5 == f->id % 5) {
			AWAIT(rwlock_write, .lock = &rwlock);
			f->seen = shared_value;
			AWAIT(task_yield);
			shared_value = f->seen + 1;
			rwlock_write_unlock(&rwlock);
		} else {
			AWAIT(rwlock_read, .lock = &rwlock);
			f->seen = shared_value;
			AWAIT(task_yield);
			CHECK(shared_value == f->seen);
			rwlock_read_unlock(&rwlock);
		}
	}
	atomic_store(&tasks[f->id], NULL);
	if (atomic_fetch_sub(&left, 1) == 1)
		complete(&ended);
	ASYNC_END;
}

/* Sends "signals" to tasks that still run. The lock of task_for_each keeps them from going away meanwhile. */
static void poke(struct task *task, void *arg)
{
	u32 *n = arg;

	for (u32 i = 0; i < TASKS; i++)
		if (atomic_load(&tasks[i]) == task && i == *n % TASKS) {
			atomic_fetch_or(&task->flags, TASK_SIGNALLED);
			task_wake(task);
		}
}

ASYNC(poker, u32 n;)
{
	ASYNC_BEGIN;
	while (atomic_load(&left)) {
		f->n++;
		task_for_each(poke, &f->n);
		AWAIT(sleep_until, .deadline = time_monotonic() + 30000);
	}
	ASYNC_END;
}

ASYNC(all, u32 i;)
{
	ASYNC_BEGIN;
	completion_init(&ended);
	rwlock_init(&rwlock);
	for (f->i = 0; f->i < TASKS; f->i++)
		CHECK(task_spawn("worker", &worker_fn, &(struct worker_args){f->i}, sizeof(struct worker_args)));
	CHECK(task_spawn("poker", &poker_fn, NULL, 0));
	AWAIT(wait_for, .completion = &ended);
	/* The poker's last sleep, and the last tasks' memory. */
	AWAIT(sleep_until, .deadline = time_monotonic() + 20000000);
	ASYNC_END;
}

int main(void)
{
	alarm(120);
	shim_start(CPUS);
	CHECK(async_run(all) == 0);
	shim_stop();
	CHECK(guarded == (u64)TASKS * ROUNDS);
	CHECK(pool == 3);
	CHECK(shared_value == (u64)TASKS * ROUNDS / 5);
	CHECK(shim_allocated() == 0);
	printf("%u timeouts, %u interrupts\n", timeouts, interrupts);
	return CHECK_RESULT();
}
