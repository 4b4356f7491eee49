/* SPDX-License-Identifier: MIT */
// fails: clang|-Wthread-safety
/* A spinlock is held across an await. */
#include <lichen/task.h>
#include <lichen/wait.h>

struct counter {
	spinlock_t lock;
	u32 value;
};

ASYNC_DECLARE(wrong, struct counter *counter;);

ASYNC_DEFINE(wrong)
{
	ASYNC_BEGIN;
	spin_lock(&f->counter->lock);
	f->counter->value++;
#ifdef RIGHT
	spin_unlock(&f->counter->lock);
#endif
	AWAIT(task_yield);
#ifndef RIGHT
	spin_unlock(&f->counter->lock);
#endif
	ASYNC_END;
}
