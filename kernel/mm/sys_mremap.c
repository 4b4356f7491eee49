/* SPDX-License-Identifier: MIT */
/*
 * mremap: an area shrinks, grows in its place, or moves. Only anonymous pages move along: those of files are found again
 * by faults.
 */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/syscall.h>
#include <linux/mman.h>

/* Entries of anonymous pages go from one place to another of the same address space. 0 or -ENOMEM. */
static long move_entries(struct mm *mm, u64 from, u64 to, u64 bytes)
{
	u64 address = from, end = from + bytes;
	long error = 0;
	pte_t *entry;

	spin_lock(&mm->table_lock);
	while (!error && address < end && (entry = pte_find_next(mm, &address, end))) {
		u64 stop = min(end, align_down(address, PTE_TABLE_SPAN) + PTE_TABLE_SPAN);

		for (; address < stop; address += PAGE_SIZE, entry++) {
			pte_t pte = pte_get(entry), *target;

			if (!pte_present(pte) || pte_special(pte) || !page_test(pte_page(pte), PAGE_ANON))
				continue;
			target = pte_find(mm, to + (address - from), true);
			if (!target) {
				error = -ENOMEM;
				break;
			}
			pte_set(target, pte_exchange(mm, address, entry, 0));
		}
	}
	spin_unlock(&mm->table_lock);
	return error;
}

struct remap {
	struct mm *mm;
	u64 old, old_bytes, new_bytes, flags, to;
	struct list *dead;
	bool populate; /* the new part is locked */
};

static long check_room(struct mm *mm, const struct vma *vma, u64 bytes)
{
	u64 pages = bytes >> PAGE_SHIFT;

	if (mm->total_pages + pages > limit_get(RLIMIT_AS) >> PAGE_SHIFT)
		return -ENOMEM;
	if ((vma->flags & (VMA_WRITE | VMA_SHARED | VMA_GROWSDOWN)) == VMA_WRITE &&
		mm->data_pages + pages > limit_get(RLIMIT_DATA) >> PAGE_SHIFT)
		return -ENOMEM;
	if (vma->flags & VMA_LOCKED && !capable(CAP_IPC_LOCK) &&
		atomic_load_explicit(&mm->locked_pages, memory_order_relaxed) + pages > limit_get(RLIMIT_MEMLOCK) >> PAGE_SHIFT)
		return -EAGAIN;
	return 0;
}

/* The area that holds all of [old, old + old_bytes) and may become larger: or an error. */
static struct vma *check_area(const struct remap *r)
{
	struct vma *vma = vma_at(r->mm, r->old);
	long error;

	if (!vma)
		return ERR_PTR(-EFAULT);
	if (!r->old_bytes && !(vma->flags & VMA_SHARED))
		return ERR_PTR(-EINVAL);
	if (r->flags & MREMAP_DONTUNMAP && (vma->flags & VMA_SPECIAL || vma->device))
		return ERR_PTR(-EINVAL);
	if (r->old_bytes > vma->end - r->old)
		return ERR_PTR(-EFAULT);
	if (r->new_bytes <= r->old_bytes)
		return vma;
	if (vma->flags & VMA_SPECIAL || vma->device)
		return ERR_PTR(-EFAULT);
	if (vma->file && vma->offset + (r->old - vma->start) + r->new_bytes < vma->offset)
		return ERR_PTR(-EINVAL);
	error = check_room(r->mm, vma, r->new_bytes - r->old_bytes);
	return error ? ERR_PTR(error) : vma;
}

/* To a free place. The new address, or -errno. */
static long move(struct remap *r, u64 to)
{
	struct mm *mm = r->mm;
	struct vma *vma = vma_at(mm, r->old), *new;
	u64 moved = min(r->old_bytes, r->new_bytes);
	long error;

	if (mm->area_count + 3 >= VMA_COUNT_MAX)
		return -ENOMEM;
	new = vma_alloc(mm, to, to + r->new_bytes, vma->flags);
	if (!new)
		return -ENOMEM;
	new->anonymous = vma->anonymous;
	new->file = vma->file;
	new->cache = vma->cache;
	new->name = vma->name;
	new->offset = vma->offset + (r->old - vma->start);
	new->special = vma->special ? vma->special + ((r->old - vma->start) >> PAGE_SHIFT) : NULL;
	new->device = vma->device ? vma->device + (r->old - vma->start) : 0;
	if (new->file)
		file_get(new->file);
	error = vma_insert(mm, new);
	if (error) {
		list_add_tail(r->dead, &new->cache_node);
		return error;
	}
	error = move_entries(mm, r->old, to, moved);
	if (error) { /* back */
		move_entries(mm, to, r->old, moved);
		mm_cut(mm, to, to + r->new_bytes, r->dead);
		return error;
	}
	r->populate = new->flags & VMA_LOCKED && r->new_bytes > r->old_bytes;
	vma_merge(mm, new);
	if (r->flags & MREMAP_DONTUNMAP)
		zap_range(mm, r->old, r->old + r->old_bytes, true);
	else if (r->old_bytes)
		error = mm_cut(mm, r->old, r->old + r->old_bytes, r->dead);
	return error ? error : (long)to;
}

static long remap_to(struct remap *r)
{
	struct vma *vma;
	u64 to = r->to;
	long error;

	if (r->flags & MREMAP_FIXED) {
		if (!is_aligned(to, PAGE_SIZE) || r->new_bytes > USER_END || to > USER_END - r->new_bytes ||
			(to < r->old + r->old_bytes && r->old < to + r->new_bytes))
			return -EINVAL;
		if (to < MMAP_MIN_ADDRESS && !capable(CAP_SYS_RAWIO))
			return -EPERM;
		error = mm_cut(r->mm, to, to + r->new_bytes, r->dead);
		if (error)
			return error;
	}
	if (r->old_bytes > r->new_bytes) {
		error = mm_cut(r->mm, r->old + r->new_bytes, r->old + r->old_bytes, r->dead);
		if (error)
			return error;
		r->old_bytes = r->new_bytes;
	}
	vma = check_area(r);
	if (IS_ERR(vma))
		return PTR_ERR(vma);
	if (!(r->flags & MREMAP_FIXED))
		to = mm_find_gap(r->mm, r->new_bytes, r->to);
	return to ? move(r, to) : -ENOMEM;
}

static long remap(struct remap *r)
{
	struct mm *mm = r->mm;
	struct vma *vma;
	long error;
	u64 to;

	if (!vma_at(mm, r->old))
		return -EFAULT;
	if (r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		return remap_to(r);
	if (r->old_bytes >= r->new_bytes) {
		error = r->old_bytes > r->new_bytes ?
				mm_cut(mm, r->old + r->new_bytes, r->old + r->old_bytes, r->dead) : 0;
		return error ? error : (long)r->old;
	}
	vma = check_area(r);
	if (IS_ERR(vma))
		return PTR_ERR(vma);
	if (r->old_bytes == vma->end - r->old && r->new_bytes <= USER_END - r->old &&
		vma_range_free(mm, vma->end, r->old + r->new_bytes)) {
		r->populate = vma->flags & VMA_LOCKED;
		vma_resize(mm, vma, vma->start, r->old + r->new_bytes);
		vma_merge(mm, vma);
		return (long)r->old;
	}
	if (!(r->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	to = mm_find_gap(mm, r->new_bytes, 0);
	return to ? move(r, to) : -ENOMEM;
}

SYSCALL_ASYNC(mremap, 5, SYS_ARG(u64, old) SYS_ARG(u64, old_bytes) SYS_ARG(u64, new_bytes) SYS_ARG(u64, flags)
	SYS_ARG(u64, to) struct remap r; struct list dead; long result;)
{
	ASYNC_BEGIN;
	if (f->flags & ~(u64)(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP) ||
		(f->flags & MREMAP_FIXED && !(f->flags & MREMAP_MAYMOVE)) ||
		(f->flags & MREMAP_DONTUNMAP && (!(f->flags & MREMAP_MAYMOVE) || f->old_bytes != f->new_bytes)) ||
		!is_aligned(f->old, PAGE_SIZE) || f->old >= USER_END || f->old_bytes > USER_END)
		ASYNC_RETURN(-EINVAL);
	f->r = (struct remap){
		.mm = thread_of(self)->mm,
		.old = f->old,
		.old_bytes = align_up(f->old_bytes, PAGE_SIZE),
		.new_bytes = align_up(f->new_bytes, PAGE_SIZE),
		.flags = f->flags,
		.to = f->to,
		.dead = &f->dead,
	};
	if (!f->r.new_bytes)
		ASYNC_RETURN(-EINVAL);
	list_init(&f->dead);
	AWAIT(rwlock_write, .lock = &f->r.mm->lock);
	f->result = remap(&f->r);
	rwlock_write_unlock(&f->r.mm->lock);
	AWAIT(vma_bury, .dead = &f->dead);
	if (f->result > 0 && f->r.populate)
		AWAIT(mm_populate, .mm = f->r.mm, .address = (u64)f->result + f->r.old_bytes,
			.end = (u64)f->result + f->r.new_bytes, .access = FAULT_READ);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}
