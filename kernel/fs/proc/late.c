// SPDX-License-Identifier: MIT
/* Dropping what a look into another process counted, from code that cannot wait: a task does it if it is the last reference. */
#include "proc.h"

/* Drops one of several users; false if it is the last. */
static bool drop(_Atomic u32 *users)
{
	u32 n = atomic_load(users);

	while (n > 1)
		if (atomic_compare_exchange_weak(users, &n, n - 1))
			return true;
	return false;
}

/* The owner exited between the look and now, and left us the last reference: rare, so memory for a task is there or asked for again. */
static void put_by_task(const struct async_fn *fn, void *object)
{
	if (!task_spawn("proc-put", fn, &object, sizeof(object)))
		log_ratelimited(LOG_ERR, "no memory to take an exited process apart: its memory is lost");
}

void mm_put_later(struct mm *mm)
{
	if (!drop(&mm->users))
		put_by_task(&mm_put_fn, mm);
}

void fs_context_put_later(struct fs_context *fs)
{
	if (!drop(&fs->users))
		put_by_task(&fs_context_put_fn, fs);
}
