/* SPDX-License-Identifier: MIT */
/*
 * mlock and its like. Anonymous pages never leave memory; what locking adds is that everything is faulted in at once, and the
 * limit. (Clean pages of files may still be reclaimed, and come back by faults.)
 */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/syscall.h>
#include <linux/mman.h>

static long set_locked(struct mm *mm, u64 start, u64 end, bool lock)
{
	while (start < end) {
		struct vma *vma = vma_find(mm, start);
		u64 stop;
		long error;

		if (!vma || vma->start > start)
			return -ENOMEM;
		stop = min(vma->end, end);
		if (lock != !!(vma->flags & VMA_LOCKED) && !(vma->flags & VMA_SPECIAL)) {
			error = vma_isolate(mm, start, stop);
			if (error)
				return error;
			vma = vma_find(mm, start);
			vma_set_flags(mm, vma, lock ? vma->flags | VMA_LOCKED : vma->flags & ~(u32)VMA_LOCKED);
			vma_merge(mm, vma);
		}
		start = stop;
	}
	return 0;
}

/* Pages of the range that are locked already. */
static u64 locked_in(struct mm *mm, u64 start, u64 end)
{
	u64 pages = 0;

	for (struct vma *vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma))
		if (vma->flags & VMA_LOCKED)
			pages += (min(vma->end, end) - max(vma->start, start)) >> PAGE_SHIFT;
	return pages;
}

static bool may_lock(void)
{
	return limit_get(RLIMIT_MEMLOCK) || capable(CAP_IPC_LOCK);
}

static long lock_range(struct mm *mm, u64 start, u64 end)
{
	u64 locked = atomic_load_explicit(&mm->locked_pages, memory_order_relaxed) + ((end - start) >> PAGE_SHIFT);

	locked -= locked_in(mm, start, end);
	if (locked > limit_get(RLIMIT_MEMLOCK) >> PAGE_SHIFT && !capable(CAP_IPC_LOCK))
		return -ENOMEM;
	return set_locked(mm, start, end, true);
}

/* Rounds to whole pages: 0, or -EINVAL for what wraps around. An empty range: end == start. */
static long round_range(u64 *start, u64 length, u64 *end)
{
	u64 bytes = align_up(length + (*start & ~PAGE_MASK), PAGE_SIZE);

	*start &= PAGE_MASK;
	*end = *start + bytes;
	return *end < *start || (length && !bytes) ? -EINVAL : 0;
}

ASYNC(do_mlock, u64 start; u64 length; bool on_fault; u64 end; struct mm *mm; long error;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	if (!may_lock())
		ASYNC_RETURN(-EPERM);
	f->error = round_range(&f->start, f->length, &f->end);
	if (f->error || f->start == f->end)
		ASYNC_RETURN(f->error);
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	f->error = lock_range(f->mm, f->start, f->end);
	rwlock_write_unlock(&f->mm->lock);
	if (f->error || f->on_fault)
		ASYNC_RETURN(f->error);
	AWAIT(mm_populate, .mm = f->mm, .address = f->start, .end = f->end, .access = FAULT_READ);
	ASYNC_RETURN(RESULT == -ENOMEM ? -EAGAIN : 0);
	ASYNC_END;
}

SYSCALL_ASYNC(mlock, 2, SYS_ARG(u64, address) SYS_ARG(u64, length))
{
	ASYNC_BEGIN;
	AWAIT(do_mlock, .start = f->address, .length = f->length);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(mlock2, 3, SYS_ARG(u64, address) SYS_ARG(u64, length) SYS_ARG(u32, flags))
{
	ASYNC_BEGIN;
	if (f->flags & ~(u32)MLOCK_ONFAULT)
		ASYNC_RETURN(-EINVAL);
	AWAIT(do_mlock, .start = f->address, .length = f->length, .on_fault = f->flags & MLOCK_ONFAULT);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(munlock, 2, SYS_ARG(u64, address) SYS_ARG(u64, length) u64 end; struct mm *mm; long error;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	f->error = round_range(&f->address, f->length, &f->end);
	if (f->error || f->address == f->end)
		ASYNC_RETURN(f->error);
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	f->error = set_locked(f->mm, f->address, f->end, false);
	rwlock_write_unlock(&f->mm->lock);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

static void set_all(struct mm *mm, bool lock)
{
	struct vma *vma = vma_first(mm);

	while (vma) {
		u64 end = vma->end;

		if (!(vma->flags & VMA_SPECIAL)) {
			vma_set_flags(mm, vma, lock ? vma->flags | VMA_LOCKED : vma->flags & ~(u32)VMA_LOCKED);
			vma_merge(mm, vma);
		}
		vma = vma_find(mm, end);
	}
}

/* The next area to fault in after `*at`: false at the end. */
static bool next_area(struct mm *mm, u64 *at, u64 *end)
{
	struct vma *vma = vma_find(mm, *at);

	while (vma && !(vma->flags & VMA_LOCKED && vma->flags & (VMA_READ | VMA_WRITE | VMA_EXEC)))
		vma = vma_next(vma);
	if (!vma)
		return false;
	*at = max(*at, vma->start);
	*end = vma->end;
	return true;
}

SYSCALL_ASYNC(mlockall, 1, SYS_ARG(u32, flags) struct mm *mm; u64 at; u64 end; bool more;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	if (!f->flags || f->flags & ~(u32)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) || f->flags == MCL_ONFAULT)
		ASYNC_RETURN(-EINVAL);
	if (!may_lock())
		ASYNC_RETURN(-EPERM);
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	RESULT = 0;
	if (f->flags & MCL_CURRENT && f->mm->total_pages > limit_get(RLIMIT_MEMLOCK) >> PAGE_SHIFT && !capable(CAP_IPC_LOCK))
		RESULT = -ENOMEM;
	if (!RESULT) {
		f->mm->lock_future = f->flags & MCL_FUTURE ? VMA_LOCKED : 0;
		if (f->flags & MCL_CURRENT)
			set_all(f->mm, true);
	}
	rwlock_write_unlock(&f->mm->lock);
	if (RESULT || !(f->flags & MCL_CURRENT) || f->flags & MCL_ONFAULT)
		ASYNC_RETURN(RESULT);
	for (;; f->at = f->end) {
		AWAIT(rwlock_read, .lock = &f->mm->lock);
		f->more = next_area(f->mm, &f->at, &f->end);
		rwlock_read_unlock(&f->mm->lock);
		if (!f->more)
			ASYNC_RETURN(0);
		AWAIT(mm_populate, .mm = f->mm, .address = f->at, .end = f->end, .access = FAULT_READ);
	}
	ASYNC_END;
}

SYSCALL_ASYNC(munlockall, 0, struct mm *mm;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	f->mm->lock_future = 0;
	set_all(f->mm, false);
	rwlock_write_unlock(&f->mm->lock);
	ASYNC_END;
}
