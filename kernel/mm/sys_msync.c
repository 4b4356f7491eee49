/* SPDX-License-Identifier: MIT */
/* msync and mincore: what mappings of files have in common with the files. */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/syscall.h>
#include <lichen/uaccess.h>
#include <linux/mman.h>

/* The next piece of a shared file in [*at, end): its file with a reference, or NULL; *hole if something is not mapped. */
static struct file *next_shared(struct mm *mm, u64 *at, u64 end, u32 flags, u64 *pos, u64 *bytes, long *error)
{
	while (*at < end) {
		struct vma *vma = vma_find(mm, *at);
		u64 start, stop;

		if (!vma || vma->start >= end) {
			*error = -ENOMEM;
			*at = end;
			break;
		}
		if (vma->start > *at)
			*error = -ENOMEM;
		start = max(*at, vma->start);
		stop = min(vma->end, end);
		*at = stop;
		if (flags & MS_INVALIDATE && vma->flags & VMA_LOCKED) {
			*error = -EBUSY;
			*at = end;
			break;
		}
		if (!(flags & MS_SYNC) || !vma->file || !(vma->flags & VMA_SHARED) || !vma->file->ops->fsync)
			continue;
		*pos = vma->offset + (start - vma->start);
		*bytes = stop - start;
		file_get(vma->file);
		return vma->file;
	}
	return NULL;
}

SYSCALL_ASYNC(msync, 3, SYS_ARG(u64, address) SYS_ARG(u64, length) SYS_ARG(u32, flags) struct mm *mm; u64 end; u64 pos; u64 bytes;
	struct file *file; long error; long failed;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	if (f->flags & ~(u32)(MS_ASYNC | MS_INVALIDATE | MS_SYNC) || !is_aligned(f->address, PAGE_SIZE) ||
		(f->flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		ASYNC_RETURN(-EINVAL);
	f->end = f->address + align_up(f->length, PAGE_SIZE);
	if (f->end < f->address || (f->length && !align_up(f->length, PAGE_SIZE)))
		ASYNC_RETURN(-ENOMEM);
	for (;;) {
		AWAIT(rwlock_read, .lock = &f->mm->lock);
		f->file = next_shared(f->mm, &f->address, f->end, f->flags, &f->pos, &f->bytes, &f->error);
		rwlock_read_unlock(&f->mm->lock);
		if (!f->file)
			ASYNC_RETURN(f->error);
		AWAIT_OP(f->file->ops->fsync, file_fsync, .file = f->file, .start = f->pos, .end = f->pos + f->bytes, .data_only = false);
		f->failed = RESULT;
		if (!file_put_fast(f->file))
			AWAIT(file_put, .file = f->file);
		if (f->failed)
			ASYNC_RETURN(f->failed);
	}
	ASYNC_END;
}

/* One byte a page, for at most n pages from `address`: 0, or -ENOMEM where nothing is mapped. mm->lock held. */
static long residence(struct mm *mm, u64 address, u32 n, u8 *map)
{
	for (u32 i = 0; i < n; i++, address += PAGE_SIZE) {
		struct vma *vma = vma_at(mm, address);
		struct page *page;
		pte_t *entry;

		if (!vma)
			return -ENOMEM;
		spin_lock(&mm->table_lock);
		entry = pte_find(mm, address, false);
		map[i] = entry && pte_present(pte_get(entry));
		spin_unlock(&mm->table_lock);
		if (map[i] || !vma->cache)
			continue;
		page = page_cache_find(vma->cache, vma_index(vma, address));
		map[i] = page != NULL;
		if (page)
			page_put(page);
	}
	return 0;
}

SYSCALL_ASYNC(mincore, 3, SYS_ARG(u64, address) SYS_ARG(u64, length) SYS_ARG(u8 __user *, vector) struct mm *mm; u64 pages; u32 n;
	long error; u8 map[64];)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	if (!is_aligned(f->address, PAGE_SIZE))
		ASYNC_RETURN(-EINVAL);
	if (!user_range_ok((void __user *)f->address, f->length))
		ASYNC_RETURN(-ENOMEM);
	f->pages = div_round_up(f->length, PAGE_SIZE);
	if (!user_range_ok(f->vector, f->pages))
		ASYNC_RETURN(-EFAULT);
	while (f->pages) {
		f->n = (u32)min(f->pages, (u64)sizeof(f->map));
		AWAIT(rwlock_read, .lock = &f->mm->lock);
		f->error = residence(f->mm, f->address, f->n, f->map);
		rwlock_read_unlock(&f->mm->lock);
		if (f->error)
			ASYNC_RETURN(f->error);
		AWAIT(copy_out, .to = f->vector, .from = f->map, .n = f->n);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
		f->vector += f->n;
		f->pages -= f->n;
		f->address += (u64)f->n * PAGE_SIZE;
	}
	ASYNC_END;
}
