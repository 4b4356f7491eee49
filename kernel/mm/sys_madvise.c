/* SPDX-License-Identifier: MIT */
/*
 * madvise. What is mere advice about speed is accepted and changes nothing; MADV_FREE frees at once. MADV_REMOVE punches a hole
 * through the file's own operation.
 */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/syscall.h>
#include <linux/falloc.h>
#include <linux/mman.h>

/* What a value does to an area. */
enum effect { INVALID, NOTHING, DROP, FREE, FLAGS, READ_AHEAD, POPULATE, REMOVE };

static enum effect effect_of(u32 advice)
{
	static const u8 effects[] = {
		[MADV_NORMAL] = NOTHING, [MADV_RANDOM] = NOTHING, [MADV_SEQUENTIAL] = NOTHING,
		[MADV_WILLNEED] = READ_AHEAD, [MADV_DONTNEED] = DROP, [MADV_FREE] = FREE,
		[MADV_REMOVE] = REMOVE, [MADV_DONTFORK] = FLAGS, [MADV_DOFORK] = FLAGS,
		[MADV_MERGEABLE] = NOTHING, [MADV_UNMERGEABLE] = NOTHING, [MADV_HUGEPAGE] = NOTHING,
		[MADV_NOHUGEPAGE] = NOTHING, [MADV_DONTDUMP] = NOTHING, [MADV_DODUMP] = NOTHING,
		[MADV_WIPEONFORK] = FLAGS, [MADV_KEEPONFORK] = FLAGS, [MADV_COLD] = NOTHING,
		[MADV_PAGEOUT] = NOTHING, [MADV_POPULATE_READ] = POPULATE, [MADV_POPULATE_WRITE] = POPULATE,
		[MADV_DONTNEED_LOCKED] = DROP,
	};

	return advice < ARRAY_SIZE(effects) ? (enum effect)effects[advice] : INVALID;
}

static long set_flags(struct mm *mm, struct vma *vma, u32 advice)
{
	u32 flags = vma->flags;

	if (advice == MADV_DONTFORK)
		flags |= VMA_DONTFORK;
	else if (advice == MADV_DOFORK && !vma->device)
		flags &= ~(u32)VMA_DONTFORK;
	else if (advice == MADV_WIPEONFORK && !vma->file && !(flags & VMA_SHARED))
		flags |= VMA_WIPEONFORK;
	else if (advice == MADV_KEEPONFORK)
		flags &= ~(u32)VMA_WIPEONFORK;
	else
		return -EINVAL;
	vma_set_flags(mm, vma, flags);
	vma_merge(mm, vma);
	return 0;
}

/* The part [start, end) of one area. FLAGS needs the lock for write, all else for read. */
static long apply(struct mm *mm, struct vma *vma, u64 start, u64 end, u32 advice)
{
	long error;

	switch (effect_of(advice)) {
	case DROP:
		if (vma->flags & VMA_SPECIAL || vma->device || (vma->flags & VMA_LOCKED && advice != MADV_DONTNEED_LOCKED))
			return -EINVAL;
		mm_note_peak(mm);
		zap_range(mm, start, end, true);
		return 0;
	case FREE:
		if (vma->cache || vma->flags & (VMA_SPECIAL | VMA_SHARED | VMA_LOCKED) || vma->device)
			return -EINVAL;
		mm_note_peak(mm);
		zap_range(mm, start, end, true);
		return 0;
	case FLAGS:
		error = vma_isolate(mm, start, end);
		return error ? error : set_flags(mm, vma_find(mm, start), advice);
	case READ_AHEAD:
		if (vma->cache)
			page_cache_will_need(vma->cache, vma->offset + (start - vma->start), vma->offset + (end - vma->start));
		return 0;
	default:
		return 0;
	}
}

static long advise(struct mm *mm, u64 start, u64 end, u32 advice)
{
	bool hole = false;

	while (start < end) {
		struct vma *vma = vma_find(mm, start);
		u64 stop;
		long error;

		if (!vma || vma->start >= end)
			return -ENOMEM;
		if (vma->start > start) {
			hole = true;
			start = vma->start;
		}
		stop = min(vma->end, end);
		error = apply(mm, vma, start, stop, advice);
		if (error)
			return error;
		start = stop;
	}
	return hole ? -ENOMEM : 0;
}

/* The file part that [start, end) shows, for MADV_REMOVE; its file with a reference, or an error. */
static struct file *removable(struct mm *mm, u64 start, u64 end, u64 *pos)
{
	struct vma *vma = vma_at(mm, start);

	if (!vma || end > vma->end)
		return ERR_PTR(-ENOMEM);
	if (vma->flags & VMA_LOCKED || !vma->file)
		return ERR_PTR(-EINVAL);
	if ((vma->flags & (VMA_SHARED | VMA_WRITE)) != (VMA_SHARED | VMA_WRITE))
		return ERR_PTR(-EACCES);
	*pos = vma->offset + (start - vma->start);
	file_get(vma->file);
	return vma->file;
}

ASYNC(remove_range, struct mm *mm; u64 start; u64 end; u64 pos; struct file *file; long error;)
{
	ASYNC_BEGIN;
	AWAIT(rwlock_read, .lock = &f->mm->lock);
	f->file = removable(f->mm, f->start, f->end, &f->pos);
	rwlock_read_unlock(&f->mm->lock);
	if (IS_ERR(f->file))
		ASYNC_RETURN(PTR_ERR(f->file));
	f->error = -EOPNOTSUPP;
	if (f->file->ops->fallocate) {
		AWAIT_OP(f->file->ops->fallocate, file_fallocate, .file = f->file,
			.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, .pos = f->pos, .n = f->end - f->start);
		f->error = RESULT;
	}
	if (!file_put_fast(f->file))
		AWAIT(file_put, .file = f->file);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* Every page is there afterwards, or an error says why not. */
ASYNC(populate_exact, struct mm *mm; u64 start; u64 end; bool write;)
{
	ASYNC_BEGIN;
	for (; f->start < f->end; f->start += PAGE_SIZE) {
		AWAIT(mm_fault, .mm = f->mm, .address = f->start, .access = f->write ? FAULT_WRITE : FAULT_READ);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT == -EFAULT ? -ENOMEM : RESULT == -EACCES ? -EINVAL : RESULT == -EIO ? -EFAULT : RESULT);
		if (task_signalled(self) && signal_fatal_pending(thread_of(self)))
			ASYNC_RETURN(-EINTR);
		if (task_should_yield(self))
			AWAIT(task_yield);
	}
	ASYNC_END;
}

SYSCALL_ASYNC(madvise, 3, SYS_ARG(u64, address) SYS_ARG(u64, length) SYS_ARG(u32, advice) struct mm *mm; u64 end; long error;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	if (effect_of(f->advice) == INVALID || !is_aligned(f->address, PAGE_SIZE))
		ASYNC_RETURN(-EINVAL);
	f->end = f->address + align_up(f->length, PAGE_SIZE);
	if ((f->length && !align_up(f->length, PAGE_SIZE)) || f->end < f->address)
		ASYNC_RETURN(-EINVAL);
	if (f->end == f->address)
		ASYNC_RETURN(0);
	if (effect_of(f->advice) == POPULATE) {
		AWAIT(populate_exact, .mm = f->mm, .start = f->address, .end = f->end, .write = f->advice == MADV_POPULATE_WRITE);
		ASYNC_RETURN(RESULT);
	}
	if (effect_of(f->advice) == REMOVE) {
		AWAIT(remove_range, .mm = f->mm, .start = f->address, .end = f->end);
		ASYNC_RETURN(RESULT);
	}
	if (effect_of(f->advice) == FLAGS) {
		AWAIT(rwlock_write, .lock = &f->mm->lock);
		f->error = advise(f->mm, f->address, f->end, f->advice);
		rwlock_write_unlock(&f->mm->lock);
	} else {
		AWAIT(rwlock_read, .lock = &f->mm->lock);
		f->error = advise(f->mm, f->address, f->end, f->advice);
		rwlock_read_unlock(&f->mm->lock);
	}
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
