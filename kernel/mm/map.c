/* SPDX-License-Identifier: MIT */
/*
 * Mapping and unmapping: mmap(2) and munmap(2) for any address space, and what exec needs. Areas are cut out under mm->lock;
 * the files that they held are let go afterwards, without it, because that may wait.
 */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/task.h>
#include <asm/errno.h>
#include <linux/mman.h>
#include <linux/mount.h>

/* Flags that MAP_SHARED_VALIDATE knows: MAP_SYNC and others are refused. */
#define KNOWN_FLAGS                                                                                 \
	(MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_GROWSDOWN | \
		MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | (63 << 26))

u32 prot_to_flags(u32 prot)
{
	return (prot & PROT_READ ? VMA_READ : 0) | (prot & PROT_WRITE ? VMA_WRITE : 0) | (prot & PROT_EXEC ? VMA_EXEC : 0);
}

long mm_cut(struct mm *mm, u64 start, u64 end, struct list *dead)
{
	struct vma *vma = vma_find(mm, start), *next;
	u64 low, high;
	long error;

	if (!vma || vma->start >= end)
		return 0;
	error = vma_isolate(mm, start, end);
	if (error)
		return error;
	mm_note_peak(mm);
	for (vma = vma_find(mm, start); vma && vma->start < end; vma = next) {
		next = vma_next(vma);
		vma_remove(mm, vma);
		list_add_tail(dead, &vma->cache_node);
	}
	zap_range(mm, start, end, true);
	/* Tables that serve nobody else: between the neighbours. */
	vma = vma_find(mm, end);
	high = vma ? vma->start : USER_END;
	vma = vma ? vma_prev(vma) : (rb_last(&mm->areas) ? rb_entry(rb_last(&mm->areas), struct vma, node) : NULL);
	low = vma ? vma->end : 0;
	low = align_up(low, PTE_TABLE_SPAN);
	high = align_down(high, PTE_TABLE_SPAN);
	low = max(low, align_down(start, PTE_TABLE_SPAN));
	high = min(high, align_up(end, PTE_TABLE_SPAN));
	if (low < high) {
		spin_lock(&mm->table_lock);
		pte_free_tables(mm, low, high);
		spin_unlock(&mm->table_lock);
	}
	return 0;
}

ASYNC_DEFINE(vma_bury)
{
	ASYNC_BEGIN;
	while (!list_empty(f->dead)) {
		f->vma = list_first(f->dead, struct vma, cache_node);
		list_remove(&f->vma->cache_node);
		f->file = f->vma->file;
		vma_free(f->vma);
		if (f->file && !file_put_fast(f->file))
			AWAIT(file_put, .file = f->file);
	}
	ASYNC_END;
}

ASYNC_DEFINE(mm_populate)
{
	ASYNC_BEGIN;
	for (; f->address < f->end; f->address += PAGE_SIZE) {
		while (mm_fault_fast(f->mm, f->address, f->access) == -EAGAIN) {
			AWAIT(mm_fault, .mm = f->mm, .address = f->address, .access = f->access);
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
		}
		if (task_signalled(self) && signal_fatal_pending(thread_of(self)))
			ASYNC_RETURN(-EINTR);
		if (task_should_yield(self))
			AWAIT(task_yield);
	}
	ASYNC_END;
}

/* What the type of mapping and the file's mode allow: vma flags, or -errno. */
static long flags_of(struct file *file, u32 prot, u32 flags)
{
	u32 vma_flags = prot_to_flags(prot) | VMA_MAY_READ | VMA_MAY_WRITE | VMA_MAY_EXEC;
	u32 type = flags & MAP_TYPE;

	if (type == MAP_SHARED_VALIDATE) {
		if (file && flags & ~KNOWN_FLAGS)
			return -EOPNOTSUPP;
		type = MAP_SHARED;
	}
	if (type != MAP_SHARED && type != MAP_PRIVATE)
		return -EINVAL;
	if (type == MAP_SHARED)
		vma_flags |= VMA_SHARED;
	if (flags & MAP_NORESERVE)
		vma_flags |= VMA_NORESERVE;
	if (flags & MAP_LOCKED)
		vma_flags |= VMA_LOCKED;
	if (flags & MAP_GROWSDOWN) {
		if (file || type == MAP_SHARED)
			return -EINVAL;
		vma_flags |= VMA_GROWSDOWN;
	}
	if (!file)
		return vma_flags;
	if (type == MAP_SHARED) {
		if (prot & PROT_WRITE && !(file->mode & FILE_WRITE))
			return -EACCES;
		if (!(file->mode & FILE_WRITE))
			vma_flags &= ~VMA_MAY_WRITE;
	}
	if (!(file->mode & FILE_READ))
		return -EACCES;
	if (file->path.mount && file->path.mount->flags & MS_NOEXEC) {
		if (prot & PROT_EXEC)
			return -EPERM;
		vma_flags &= ~VMA_MAY_EXEC;
	}
	if (!file->ops->mmap)
		return -ENODEV;
	return vma_flags;
}

/* Limits that count what is mapped. The running process's, as for exec's new address space. */
static long check_limits(struct mm *mm, u64 length, u32 vma_flags)
{
	u64 pages = length >> PAGE_SHIFT;

	if (mm->area_count >= VMA_COUNT_MAX)
		return -ENOMEM;
	if (mm->total_pages + pages > limit_get(RLIMIT_AS) >> PAGE_SHIFT)
		return -ENOMEM;
	if ((vma_flags & (VMA_WRITE | VMA_SHARED | VMA_GROWSDOWN)) == VMA_WRITE &&
		mm->data_pages + pages > limit_get(RLIMIT_DATA) >> PAGE_SHIFT)
		return -ENOMEM;
	return 0;
}

static long check_locked(struct mm *mm, u64 length, u32 vma_flags)
{
	u64 locked = atomic_load_explicit(&mm->locked_pages, memory_order_relaxed);

	if (!(vma_flags & VMA_LOCKED))
		return 0;
	if (limit_get(RLIMIT_MEMLOCK) == 0 && !capable(CAP_IPC_LOCK))
		return -EPERM;
	if (locked + (length >> PAGE_SHIFT) > limit_get(RLIMIT_MEMLOCK) >> PAGE_SHIFT && !capable(CAP_IPC_LOCK))
		return -EAGAIN;
	return 0;
}

/* Pages that the range's areas count already: MAP_FIXED replaces them. */
static u64 mapped_bytes(struct mm *mm, u64 start, u64 end)
{
	u64 bytes = 0;

	for (struct vma *vma = vma_find(mm, start); vma && vma->start < end; vma = vma_next(vma))
		bytes += min(vma->end, end) - max(vma->start, start);
	return bytes;
}

/* mm->lock held for write; everything was checked that needs no lock. The address, or -errno. */
static long map_locked(struct mm *mm, struct mm_map_frame *f)
{
	bool fixed = f->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	u64 at = f->address, replaced = 0;
	struct vma *vma = f->vma;
	long error;

	if (fixed) {
		if (f->flags & MAP_FIXED_NOREPLACE && !vma_range_free(mm, at, at + f->length))
			return -EEXIST;
		replaced = mapped_bytes(mm, at, at + f->length);
	} else {
		at = mm_find_gap(mm, f->length, at);
		if (!at)
			return -ENOMEM;
	}
	f->vma_flags |= mm->lock_future;
	error = check_locked(mm, f->length, f->vma_flags);
	if (!error)
		error = check_limits(mm, f->length - replaced, f->vma_flags);
	if (!error && replaced)
		error = mm_cut(mm, at, at + f->length, &f->dead);
	if (error)
		return error;
	vma->start = at;
	vma->end = at + f->length;
	vma->flags = f->vma_flags;
	vma->offset = f->offset;
	if (f->file) {
		vma->file = f->file;
		file_get(f->file);
		error = f->file->ops->mmap(f->file, vma);
		if (!error && !vma->cache && !vma->device && !vma->special && f->file->inode)
			vma->cache = &f->file->inode->cache;
	}
	if (!error)
		error = vma_insert(mm, vma);
	if (error) { /* buried with what was replaced: the file must not be put here */
		list_add_tail(&f->dead, &vma->cache_node);
		f->vma = NULL;
		return error;
	}
	f->vma = NULL;
	vma_merge(mm, vma);
	return (long)at;
}

static long check_place(const struct mm_map_frame *f)
{
	if (!f->length || f->length > USER_END)
		return f->length ? -ENOMEM : -EINVAL;
	if (!is_aligned(f->offset, PAGE_SIZE))
		return -EINVAL;
	if (f->offset + f->length < f->offset)
		return -EOVERFLOW;
	if (!(f->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)))
		return 0;
	if (!is_aligned(f->address, PAGE_SIZE))
		return -EINVAL;
	if (f->address > USER_END - f->length)
		return -ENOMEM;
	if (f->address < MMAP_MIN_ADDRESS && !capable(CAP_SYS_RAWIO))
		return -EPERM;
	return 0;
}

ASYNC_DEFINE(mm_map)
{
	ASYNC_BEGIN;
	list_init(&f->dead);
	if (!f->length)
		ASYNC_RETURN(-EINVAL);
	f->length = align_up(f->length, PAGE_SIZE);
	if (!f->length)
		ASYNC_RETURN(-ENOMEM);
	RESULT = check_place(f);
	if (RESULT)
		ASYNC_RETURN(RESULT);
	RESULT = flags_of(f->file, f->prot, f->flags);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->vma_flags = (u32)RESULT;
	if (!f->file && f->vma_flags & VMA_SHARED) {
		/* Shared anonymous memory is a file that has no name. */
		f->file = f->shared = shmem_file("/dev/zero (deleted)", f->length);
		if (!f->shared)
			ASYNC_RETURN(-ENOMEM);
		f->offset = 0;
	}
	f->vma = vma_alloc(f->mm, 0, 0, 0);
	if (f->vma) {
		AWAIT(rwlock_write, .lock = &f->mm->lock);
		f->result = (u64)map_locked(f->mm, f);
		rwlock_write_unlock(&f->mm->lock);
		if (f->vma)
			vma_free(f->vma);
	} else {
		f->result = (u64)-ENOMEM;
	}
	AWAIT(vma_bury, .dead = &f->dead);
	if (f->shared && !file_put_fast(f->shared))
		AWAIT(file_put, .file = f->shared);
	if ((s64)f->result > 0 && (f->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE)
		f->vma_flags |= VMA_LOCKED; /* faulted in as locked ones are */
	if ((s64)f->result > 0 && f->vma_flags & VMA_LOCKED && f->vma_flags & (VMA_READ | VMA_WRITE | VMA_EXEC))
		AWAIT(mm_populate, .mm = f->mm, .address = f->result, .end = f->result + f->length,
			.access = (f->vma_flags & (VMA_WRITE | VMA_SHARED)) == VMA_WRITE ? FAULT_WRITE :
				  f->vma_flags & (VMA_READ | VMA_WRITE)			 ? FAULT_READ :
											   FAULT_EXEC);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

ASYNC_DEFINE(mm_unmap)
{
	ASYNC_BEGIN;
	list_init(&f->dead);
	f->length = align_up(f->length, PAGE_SIZE);
	if (!is_aligned(f->address, PAGE_SIZE) || !f->length || f->length > USER_END || f->address > USER_END - f->length)
		ASYNC_RETURN(-EINVAL);
	f->end = f->address + f->length;
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	if (f->mm->area_count >= VMA_COUNT_MAX) {
		/* Cutting a hole into one makes two. */
		struct vma *vma = vma_find(f->mm, f->address);

		f->error = vma && vma->start < f->address && vma->end > f->end ? -ENOMEM : 0;
	}
	if (!f->error)
		f->error = mm_cut(f->mm, f->address, f->end, &f->dead);
	rwlock_write_unlock(&f->mm->lock);
	AWAIT(vma_bury, .dead = &f->dead);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* A free, fixed place. */
static long insert_fixed(struct mm *mm, struct vma *vma)
{
	long error = vma_range_free(mm, vma->start, vma->end) ? vma_insert(mm, vma) : -EEXIST;

	if (error)
		vma_free(vma);
	return error;
}

ASYNC_DEFINE(mm_map_anonymous)
{
	ASYNC_BEGIN;
	if (!is_aligned(f->address | f->length, PAGE_SIZE) || !f->length || f->length > USER_END ||
		f->address > USER_END - f->length)
		ASYNC_RETURN(-EINVAL);
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	struct vma *vma = vma_alloc(f->mm, f->address, f->address + f->length,
		f->vma_flags | VMA_MAY_READ | VMA_MAY_WRITE | VMA_MAY_EXEC);

	RESULT = -ENOMEM;
	if (vma) {
		vma->name = f->name;
		RESULT = insert_fixed(f->mm, vma);
	}
	rwlock_write_unlock(&f->mm->lock);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

ASYNC_DEFINE(mm_map_special)
{
	ASYNC_BEGIN;
	if (!is_aligned(f->address, PAGE_SIZE) || !f->pages || f->address > USER_END - f->pages * PAGE_SIZE)
		ASYNC_RETURN(-EINVAL);
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	struct vma *vma = vma_alloc(f->mm, f->address, f->address + f->pages * PAGE_SIZE,
		f->vma_flags | VMA_SPECIAL | VMA_MAY_READ | VMA_MAY_EXEC);

	RESULT = -ENOMEM;
	if (vma) {
		vma->name = f->name;
		vma->special = f->page;
		RESULT = insert_fixed(f->mm, vma);
	}
	rwlock_write_unlock(&f->mm->lock);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
