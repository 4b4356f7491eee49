/* SPDX-License-Identifier: MIT */
// fails: gcc|-Werror=jump-misses-init
/* A local variable with an initial value lives across an await: the resumed function jumps past its initialisation. */
#include <lichen/task.h>

ASYNC_DECLARE(wrong, long start; long value;);

ASYNC_DEFINE(wrong)
{
	ASYNC_BEGIN;
#ifdef RIGHT
	f->value = f->start * 2;
	AWAIT(task_yield);
	ASYNC_RETURN(f->value);
#else
	long value = f->start * 2;

	AWAIT(task_yield);
	ASYNC_RETURN(value);
#endif
	ASYNC_END;
}
