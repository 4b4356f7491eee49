/* SPDX-License-Identifier: MIT */
// kernel: none
/* The async core on one CPU: frames, overflow segments, results, timeouts, backtraces. */
#include "check.h"
#include "shim/shim.h"
#include <lichen/slab.h>
#include <lichen/string.h>
#include <errno.h>

ASYNC(sum, u32 depth; u64 local[20];)
{
	ASYNC_BEGIN;
	memset(f->local, (int)f->depth, sizeof(f->local));
	if (!f->depth)
		ASYNC_RETURN(0);
	if (f->depth % 7 == 0)
		AWAIT(task_yield);
	AWAIT(sum, .depth = f->depth - 1);
	for (u32 i = 0; i < 20; i++)
		CHECK(((u8 *)f->local)[i * 8] == (u8)f->depth);
	ASYNC_RETURN(RESULT < 0 ? RESULT : RESULT + f->depth);
	ASYNC_END;
}

ASYNC(timeout, struct wait_queue queue; u32 ticket; nsec_t begun;)
{
	ASYNC_BEGIN;
	wait_queue_init(&f->queue);
	f->begun = time_monotonic();
	f->ticket = wait_ticket(&f->queue);
	AWAIT(wait_on, .queue = &f->queue, .ticket = f->ticket, .deadline = f->begun + 2000000);
	CHECK(RESULT == -ETIMEDOUT);
	CHECK(time_monotonic() - f->begun >= 2000000);
	CHECK(list_empty(&f->queue.waiters));
	/* A ticket that is stale returns at once. */
	f->ticket = wait_ticket(&f->queue);
	wait_wake_all(&f->queue);
	AWAIT(wait_on, .queue = &f->queue, .ticket = f->ticket);
	CHECK(RESULT == 0);
	/* A signal ends an interruptible wait, and no other. */
	atomic_fetch_or(&self->flags, TASK_SIGNALLED);
	f->ticket = wait_ticket(&f->queue);
	AWAIT(wait_on, .queue = &f->queue, .ticket = f->ticket);
	CHECK(RESULT == -EINTR);
	AWAIT(wait_on, .queue = &f->queue, .ticket = f->ticket, .uninterruptible = true,
		.deadline = time_monotonic() + 1000000);
	CHECK(RESULT == -ETIMEDOUT);
	ASYNC_END;
}

static char trace[512];

ASYNC(watch, struct task *task;)
{
	ASYNC_BEGIN;
	AWAIT(sleep_until, .deadline = time_monotonic() + 1000000);
	task_backtrace(f->task, trace, sizeof(trace));
	ASYNC_END;
}

struct watch_args {
	struct task *task;
};

ASYNC(sleeper, u32 unused;)
{
	ASYNC_BEGIN;
	task_spawn("watch", &watch_fn, &(struct watch_args){self}, sizeof(struct watch_args));
	AWAIT(sleep_until, .deadline = time_monotonic() + 5000000);
	ASYNC_END;
}

int main(void)
{
	size_t before;

	shim_start(1);
	before = shim_allocated();
	CHECK(async_run(sum, .depth = 100) == 5050);
	CHECK(async_run(timeout) == 0);
	CHECK(shim_allocated() == before);
	CHECK(async_run(sleeper) == 0);
	CHECK(strstr(trace, "wait_on ("));
	CHECK(strstr(trace, "sleep_until ("));
	CHECK(strstr(trace, "sleeper ("));
	/* Without memory a call yields -ENOMEM, at any depth, and nothing leaks. */
	for (unsigned every = 2; every < 12; every++) {
		long result;

		shim_fail_allocations(every);
		result = async_run(sum, .depth = 60);
		shim_fail_allocations(0);
		CHECK(result == -ENOMEM || result == 1830);
		CHECK(shim_allocated() == before);
	}
	return CHECK_RESULT();
}
