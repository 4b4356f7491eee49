/* SPDX-License-Identifier: MIT */
/* mprotect: the rights of areas, and of the entries that are there. */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/syscall.h>
#include <linux/mman.h>

#define ACCESS	   (VMA_READ | VMA_WRITE | VMA_EXEC)
#define MAY_SHIFT 4 /* from VMA_READ to VMA_MAY_READ */

_Static_assert(VMA_READ << MAY_SHIFT == VMA_MAY_READ && VMA_EXEC << MAY_SHIFT == VMA_MAY_EXEC, "the bits run in parallel");

/* An entry under new rights: never more writable than it was, a store's fault decides that. */
static void protect_entry(const struct vma *vma, pte_t *entry)
{
	pte_t old = pte_get(entry), pte;
	u32 flags = vma_map_flags(vma->flags);
	struct page *page = pte_page(old);

	if (pte_special(old)) {
		pte = pte_make(page, flags | PTE_MAP_SPECIAL);
	} else {
		if (vma->flags & VMA_WRITE && pte_dirty(old))
			flags |= PTE_MAP_WRITE;
		if (flags & PTE_MAP_EXEC && pool_is_separate() && page_test(page, PAGE_POOL))
			flags &= ~(u32)PTE_MAP_EXEC; /* an instruction fetch moves it */
		if (flags & PTE_MAP_EXEC && old & PT_UXN)
			cache_sync_executable(page_address(page), PAGE_SIZE);
		pte = pte_make(page, flags);
	}
	pte_set(entry, pte);
}

static void protect_range(struct mm *mm, const struct vma *vma)
{
	u64 address = vma->start, first = 0, last = 0;
	pte_t *entry;

	spin_lock(&mm->table_lock);
	while (address < vma->end && (entry = pte_find_next(mm, &address, vma->end))) {
		u64 stop = min(vma->end, align_down(address, PTE_TABLE_SPAN) + PTE_TABLE_SPAN);

		for (; address < stop; address += PAGE_SIZE, entry++) {
			if (!pte_present(pte_get(entry)))
				continue;
			protect_entry(vma, entry);
			if (!last)
				first = address;
			last = address + PAGE_SIZE;
		}
	}
	if (last)
		tlb_flush_range(mm, first, last);
	spin_unlock(&mm->table_lock);
}

/* One area, isolated: 0, -EACCES, -ENOMEM. */
static long protect_area(struct mm *mm, struct vma **vma, u32 access)
{
	u32 old = (*vma)->flags, new = (old & ~(u32)ACCESS) | access;

	if (access & ~(old >> MAY_SHIFT))
		return -EACCES;
	if (new == old)
		return 0;
	if ((new & (VMA_WRITE | VMA_SHARED | VMA_GROWSDOWN)) == VMA_WRITE && !(old & VMA_WRITE) &&
		mm->data_pages + vma_pages(*vma) > limit_get(RLIMIT_DATA) >> PAGE_SHIFT)
		return -ENOMEM;
	vma_set_flags(mm, *vma, new);
	/* Pages of files that become executable are other pages, perhaps: mapped anew. */
	if ((*vma)->cache && access & VMA_EXEC && !(old & VMA_EXEC))
		zap_range_of(mm, (*vma)->start, (*vma)->end, false);
	if (!(*vma)->special && !(*vma)->device)
		protect_range(mm, *vma);
	else
		zap_range(mm, (*vma)->start, (*vma)->end, true);
	*vma = vma_merge(mm, *vma);
	return 0;
}

static long protect(struct mm *mm, u64 start, u64 end, u32 prot)
{
	struct vma *vma = vma_find(mm, start);
	u64 at = start;

	if (!vma)
		return -ENOMEM;
	if (prot & PROT_GROWSDOWN) {
		if (vma->start >= end)
			return -ENOMEM;
		if (!(vma->flags & VMA_GROWSDOWN))
			return -EINVAL;
		at = vma->start;
	} else if (vma->start > start) {
		return -ENOMEM;
	}
	while (at < end) {
		u64 stop;
		long error;

		vma = vma_find(mm, at);
		if (!vma || vma->start > at)
			return -ENOMEM;
		stop = min(vma->end, end);
		error = vma_isolate(mm, at, stop);
		if (error)
			return error;
		vma = vma_find(mm, at);
		error = protect_area(mm, &vma, prot_to_flags(prot));
		if (error) {
			vma_merge(mm, vma);
			return error;
		}
		at = stop;
	}
	return 0;
}

SYSCALL_ASYNC(mprotect, 3, SYS_ARG(u64, address) SYS_ARG(u64, length) SYS_ARG(u64, prot) struct mm *mm; long error;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	if ((f->prot & (PROT_GROWSDOWN | PROT_GROWSUP)) == (PROT_GROWSDOWN | PROT_GROWSUP) || !is_aligned(f->address, PAGE_SIZE))
		ASYNC_RETURN(-EINVAL);
	if (!f->length)
		ASYNC_RETURN(0);
	f->length = align_up(f->length, PAGE_SIZE);
	if (f->address + f->length <= f->address)
		ASYNC_RETURN(-ENOMEM);
	if (f->prot & ~(u64)(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP) ||
		f->prot & PROT_GROWSUP)
		ASYNC_RETURN(-EINVAL);
	AWAIT(rwlock_write, .lock = &f->mm->lock);
	f->error = protect(f->mm, f->address, f->address + f->length, (u32)f->prot);
	rwlock_write_unlock(&f->mm->lock);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}
