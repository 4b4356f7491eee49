/* SPDX-License-Identifier: MIT */
// fails: gcc|-Werror=maybe-uninitialized
/* A local variable, declared before the body and assigned in it, lives across an await: it has no value after it. */
#include <lichen/task.h>

ASYNC_DECLARE(wrong, long start; long value;);

ASYNC_DEFINE(wrong)
{
#ifndef RIGHT
	long value;
#endif

	ASYNC_BEGIN;
#ifdef RIGHT
	f->value = f->start * 2;
	AWAIT(task_yield);
	ASYNC_RETURN(f->value);
#else
	value = f->start * 2;
	AWAIT(task_yield);
	ASYNC_RETURN(value);
#endif
	ASYNC_END;
}
