/* SPDX-License-Identifier: MIT */
/*
 * User pages for devices and for other address spaces. A page that a device is to reach must lie in the pool: an
 * anonymous one moves there at its first use, by break-before-make, and stays. In the steady state a pin is one look at the
 * page table: nothing is allocated and nothing copied.
 */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/string.h>
#include <asm/errno.h>

_Atomic u64 io_bytes_copied;

static bool reachable(const struct page *page, bool device)
{
	return !device || !pool_is_separate() || page_test(page, PAGE_POOL);
}

/* The page of an entry if it will do: referenced; else NULL. */
static __always_inline struct page *pin_entry(pte_t *entry, bool write, bool device)
{
	pte_t pte = entry ? pte_get(entry) : 0;
	struct page *page;

	if (!pte_present(pte) || !pte_readable(pte) || (write && !pte_writable(pte)))
		return NULL;
	page = pte_page(pte);
	if (!page || !reachable(page, device))
		return NULL;
	page_get(page);
	return page;
}

/* An anonymous page, or the zero page, gets a place in the pool. table_lock held. */
static struct page *move_anonymous(struct mm *mm, struct vma *vma, u64 address, pte_t *entry) REQUIRES(&mm->table_lock)
{
	pte_t old = pte_get(entry);
	bool zero = pte_special(old);
	struct page *page = page_alloc(0, ALLOC_POOL | ALLOC_USER | (zero ? ALLOC_ZERO : 0));
	u32 flags = vma_map_flags(vma->flags) & ~(u32)PTE_MAP_EXEC;

	if (!page)
		return ERR_PTR(-ENOMEM);
	page_set(page, PAGE_ANON);
	/* Nobody may store to the old one while it is copied. */
	pte_exchange(mm, address, entry, 0);
	if (!zero) {
		page_copy(page_address(page), page_address(pte_page(old)));
		atomic_fetch_add_explicit(&io_bytes_copied, PAGE_SIZE, memory_order_relaxed);
	}
	vma->anonymous = true;
	page_mapped(mm, page);
	pte_set(entry, pte_make(page, flags | (pte_writable(old) ? PTE_MAP_WRITE : 0)));
	if (!zero)
		page_unmapped(mm, pte_page(old));
	page_get(page);
	return page;
}

/* A page of a file in memory alone moves to the pool: everybody who maps it faults again. mm->lock held for reading. */
static long move_shmem(struct page_cache *cache, u64 index)
{
	struct page *old = page_cache_find(cache, index), *page;
	long error = -EAGAIN;

	if (!old)
		return -EAGAIN;
	page = page_alloc(0, ALLOC_POOL);
	if (!page || !page_trylock(old)) {
		if (page)
			page_put(page);
		page_put(old);
		return page ? -EAGAIN : -ENOMEM;
	}
	mm_unmap_file_range(cache, index, index + 1, true);
	spin_lock(&cache->lock);
	if (old->cache == cache && atomic_load_explicit(&old->refcount, memory_order_acquire) == 2) {
		page_copy(page_address(page), page_address(old));
		atomic_fetch_add_explicit(&io_bytes_copied, PAGE_SIZE, memory_order_relaxed);
		page->cache = cache;
		page->index = index;
		page_set(page, PAGE_UPTODATE | PAGE_SHMEM | (page_test(old, PAGE_DIRTY) ? PAGE_DIRTY : 0));
		radix_replace(&cache->pages, index, page);
		old->cache = NULL;
		error = 0;
	}
	spin_unlock(&cache->lock);
	page_unlock(old);
	page_put(old);
	page_put(error ? page : old); /* the cache's reference went over */
	return error;
}

static struct page *move_locked(struct mm *mm, struct vma *vma, u64 address, bool write) REQUIRES(&mm->table_lock)
{
	pte_t *entry = pte_find(mm, address, false);
	pte_t pte = entry ? pte_get(entry) : 0;

	if (!pte_present(pte) || !pte_readable(pte) || (write && !pte_writable(pte)))
		return NULL;
	if (pte_special(pte) ? pte_page(pte) == zero_page : page_test(pte_page(pte), PAGE_ANON))
		return move_anonymous(mm, vma, address, entry);
	return ERR_PTR(-EXDEV); /* a page of a file */
}

/* mm->lock held for reading. */
static long pin_moved(struct mm *mm, u64 address, bool write, struct page **page)
{
	struct vma *vma = vma_at(mm, address);

	if (!vma)
		return -EAGAIN;
	if (vma->special || vma->device)
		return -EFAULT;
	spin_lock(&mm->table_lock);
	*page = move_locked(mm, vma, address, write);
	spin_unlock(&mm->table_lock);
	if (!*page)
		return -EAGAIN;
	if (!IS_ERR(*page))
		return 0;
	if (PTR_ERR(*page) == -ENOMEM)
		return -ENOMEM;
	/* What is mapped is outside the pool, but belongs to a file: a copy for execution, or memory alone. */
	*page = page_cache_find(vma->cache, vma_index(vma, address));
	if (*page && !write && page_test(*page, PAGE_POOL))
		return 0;
	if (*page)
		page_put(*page);
	return move_shmem(vma->cache, vma_index(vma, address)) == -ENOMEM ? -ENOMEM : -EAGAIN;
}

static __noinline long pin_slow(struct mm *mm, u64 address, bool write, bool device, struct page **page)
{
	long error;

	if (address >= USER_END)
		return -EFAULT;
	address &= PAGE_MASK;
	spin_lock(&mm->table_lock);
	*page = pin_entry(pte_find(mm, address, false), write, device);
	spin_unlock(&mm->table_lock);
	if (*page)
		return 0;
	if (!device || !pool_is_separate() || !rwlock_try_read(&mm->lock))
		return -EAGAIN;
	error = pin_moved(mm, address, write, page);
	rwlock_read_unlock(&mm->lock);
	return error == -ENOMEM ? -EAGAIN : error;
}

/* The steady state is a leaf, which needs no stack: all that may call something is in pin_slow. */
long mm_pin_page_fast(struct mm *mm, u64 address, bool write, bool device, struct page **page)
{
	struct page *found;

	if (likely(address < USER_END) && likely(spin_trylock(&mm->table_lock))) {
		found = pin_entry(pte_find(mm, address & PAGE_MASK, false), write, device);
		spin_unlock(&mm->table_lock);
		if (likely(found)) {
			*page = found;
			return 0;
		}
	}
	return pin_slow(mm, address, write, device, page);
}

ASYNC_DEFINE(mm_pin_page)
{
	ASYNC_BEGIN;
	for (f->tries = 0; f->tries < 100; f->tries++) {
		RESULT = mm_pin_page_fast(f->mm, f->address, f->write, f->device, f->page);
		if (RESULT != -EAGAIN)
			ASYNC_RETURN(RESULT);
		AWAIT(mm_fault, .mm = f->mm, .address = f->address, .access = f->write ? FAULT_WRITE : FAULT_READ);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT == -ENOMEM ? -ENOMEM : -EFAULT);
		if (f->tries && f->device) {
			/* Perhaps there is no room in the pool. */
			AWAIT(memory_wait_for, .flags = ALLOC_POOL | ALLOC_USER, .tries = f->tries);
			if (RESULT < 0)
				ASYNC_RETURN(-ENOMEM);
			AWAIT(task_yield);
		}
	}
	ASYNC_RETURN(-EFAULT);
	ASYNC_END;
}

ASYNC_DEFINE(mm_access)
{
	ASYNC_BEGIN;
	while (f->done < f->n) {
		AWAIT(mm_pin_page, .mm = f->mm, .address = f->address + f->done, .write = f->write, .page = &f->page);
		if (RESULT < 0)
			ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		u64 offset = (f->address + f->done) & ~PAGE_MASK;
		size_t step = min(f->n - f->done, (size_t)(PAGE_SIZE - offset));
		char *there = (char *)page_address(f->page) + offset, *here = (char *)f->buffer + f->done;

		memcpy(f->write ? there : here, f->write ? here : there, step);
		page_put(f->page);
		f->done += step;
	}
	ASYNC_RETURN(f->done);
	ASYNC_END;
}
