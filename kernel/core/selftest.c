/* SPDX-License-Identifier: MIT */
/* The kernel's own tests, at boot with the word `selftest`: timers, mutexes and wakes over all CPUs. Then the machine goes off. */
#include <lichen/boot.h>
#include <lichen/irq.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/task.h>

enum { WORKERS = 32, ROUNDS = 300 };

static struct mutex mutex = MUTEX_INIT(mutex);
static struct wait_queue turn = WAIT_QUEUE_INIT(turn);
static struct completion all_done;
static _Atomic u32 left, turns;
static u64 guarded, cpus_seen;

ASYNC(deep, u32 depth; u64 filler[12];)
{
	ASYNC_BEGIN;
	f->filler[3] = f->depth;
	if (f->depth)
		AWAIT(deep, .depth = f->depth - 1);
	else
		AWAIT(sleep_until, .deadline = time_monotonic() + 1000000);
	if (f->filler[3] != f->depth)
		ASYNC_RETURN(-1);
	ASYNC_RETURN(RESULT < 0 ? RESULT : (long)f->depth);
	ASYNC_END;
}

struct worker_args {
	u32 id;
};

ASYNC(worker, u32 id; u32 round; u32 ticket; u64 seen; void *memory;)
{
	ASYNC_BEGIN;
	for (f->round = 0; f->round < ROUNDS; f->round++) {
		AWAIT(mutex_lock, .mutex = &mutex);
		f->seen = guarded;
		cpus_seen |= BIT(cpu_id());
		if (f->round % 64 == f->id)
			AWAIT(sleep_until, .deadline = time_monotonic() + 20000);
		else if (f->round % 5 == 0)
			AWAIT(task_yield);
		guarded = f->seen + 1;
		mutex_unlock(&mutex);
		f->memory = kmalloc(16 + (f->id * 97 + f->round * 31) % 5000);
		memset(f->memory, (int)f->id, 16);
		AWAIT(deep, .depth = 1);
		kfree(f->memory);
	}
	/* Turns: worker n goes after n - 1. */
	for (;;) {
		f->ticket = wait_ticket(&turn);
		if (turns == f->id)
			break;
		AWAIT(wait_on, .queue = &turn, .ticket = f->ticket, .deadline = time_monotonic() + 5 * NSEC_PER_SEC);
		if (RESULT < 0)
			log_err("selftest: worker %u: wait yields %ld", f->id, RESULT);
	}
	turns++;
	wait_wake_all(&turn);
	if (--left == 0)
		complete(&all_done);
	ASYNC_END;
}

ASYNC(selftest, u32 i; nsec_t begun;)
{
	ASYNC_BEGIN;
	f->begun = time_monotonic();
	AWAIT(deep, .depth = 40);
	if (RESULT != 40)
		panic("selftest: deep call yields %ld", RESULT);
	if (time_monotonic() - f->begun < 1000000)
		panic("selftest: woke before its deadline");
	completion_init(&all_done);
	left = WORKERS;
	for (f->i = 0; f->i < WORKERS; f->i++)
		if (!task_spawn("worker", &worker_fn, &(struct worker_args){f->i}, sizeof(struct worker_args)))
			panic("selftest: no memory");
	AWAIT(wait_for, .completion = &all_done);
	if (guarded != (u64)WORKERS * ROUNDS)
		panic("selftest: %llu of %u increments under the mutex", (unsigned long long)guarded, WORKERS * ROUNDS);
	log_info("selftest: passed in %llu us, CPUs seen %#llx, task %zu bytes, frame of wait_on %zu",
		(unsigned long long)(time_monotonic() - f->begun) / 1000, (unsigned long long)cpus_seen,
		sizeof(struct task), sizeof(struct wait_on_frame));
	machine_off();
	ASYNC_END;
}

void selftest_start(void)
{
	if (!task_spawn("selftest", &selftest_fn, NULL, 0))
		panic("selftest: no memory");
}
