/* SPDX-License-Identifier: MIT */
/* mmap, munmap, brk. */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/syscall.h>
#include <lichen/task.h>
#include <linux/mman.h>

SYSCALL_ASYNC(mmap, 6, SYS_ARG(u64, address) SYS_ARG(u64, length) SYS_ARG(u32, prot) SYS_ARG(u32, flags) SYS_ARG(int, fd)
	SYS_ARG(u64, offset) struct file *file; long result;)
{
	ASYNC_BEGIN;
	if (!is_aligned(f->offset, PAGE_SIZE))
		ASYNC_RETURN(-EINVAL);
	if (!(f->flags & MAP_ANONYMOUS)) {
		f->file = fd_get(f->fd);
		if (!f->file)
			ASYNC_RETURN(-EBADF);
	}
	if (f->flags & MAP_HUGETLB) /* no file is of huge pages, and none are set aside */
		f->result = f->file ? -EINVAL : -ENOMEM;
	else {
		AWAIT(mm_map, .mm = thread_of(self)->mm, .file = f->file, .address = f->address, .length = f->length,
			.prot = f->prot, .flags = f->flags, .offset = f->file ? f->offset : 0);
		f->result = RESULT;
	}
	if (f->file && !file_put_fast(f->file))
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

SYSCALL_ASYNC(munmap, 2, SYS_ARG(u64, address) SYS_ARG(u64, length))
{
	ASYNC_BEGIN;
	AWAIT(mm_unmap, .mm = thread_of(self)->mm, .address = f->address, .length = f->length);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* mm->lock held for write: the heap grows to `brk`. */
static bool grow_heap(struct mm *mm, u64 brk)
{
	u64 start = align_up(mm->brk, PAGE_SIZE), end = align_up(brk, PAGE_SIZE), pages = (end - start) >> PAGE_SHIFT;
	struct vma *vma;

	if (!vma_range_free(mm, start, min(end + STACK_GUARD, USER_END)) || mm->area_count >= VMA_COUNT_MAX ||
		mm->total_pages + pages > limit_get(RLIMIT_AS) >> PAGE_SHIFT)
		return false;
	vma = vma_alloc(mm, start, end, VMA_READ | VMA_WRITE | VMA_MAY_READ | VMA_MAY_WRITE | VMA_MAY_EXEC | mm->lock_future);
	if (!vma)
		return false;
	vma->name = "[heap]";
	if (vma_insert(mm, vma)) {
		vma_free(vma);
		return false;
	}
	vma_merge(mm, vma);
	return true;
}

static u64 set_brk(struct mm *mm, u64 brk, struct list *dead)
{
	u64 old = align_up(mm->brk, PAGE_SIZE), new = align_up(brk, PAGE_SIZE);

	if (brk < mm->start_brk || brk > USER_END ||
		brk - mm->start_brk + (mm->end_data - mm->start_data) > limit_get(RLIMIT_DATA))
		return mm->brk;
	if (new < old ? mm_cut(mm, new, old, dead) != 0 : new > old && !grow_heap(mm, brk))
		return mm->brk;
	mm->brk = brk;
	return brk;
}

SYSCALL_ASYNC(brk, 1, SYS_ARG(u64, brk) struct list dead; u64 result; u64 from; struct mm *mm;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	list_init(&f->dead);
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	f->from = f->mm->brk;
	f->result = set_brk(f->mm, f->brk, &f->dead);
	rwlock_write_unlock(&f->mm->lock);
	if (!list_empty(&f->dead))
		AWAIT(vma_bury, .dead = &f->dead);
	if (f->mm->lock_future && f->result > f->from)
		AWAIT(mm_populate, .mm = f->mm, .address = align_up(f->from, PAGE_SIZE), .end = f->result, .access = FAULT_WRITE);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}
