/* SPDX-License-Identifier: MIT */
/*
 * Page faults. fault_once() does, under mm->lock for reading, all that needs no waiting; else it says what is needed, and
 * mm_fault() gets that with no lock held and tries again. The kinds:
 *
 *     absent  anonymous        read: the zero page; write: a page of zeroes
 *             private file     read: the cached page, read-only, with cached neighbours; write: a copy of it
 *             shared file      the cached page; writable only when it is dirty, so each first store after
 *                              a writeback comes here
 *     present private          write: the page itself if nobody else has it, else a copy
 *
 * Pages of files that are mapped executable are page_executable()'s: never in the pool that the driver domain sees.
 */
#include "internal.h"
#include <lichen/irq.h>
#include <lichen/process.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <asm/errno.h>

#define STARVED_MAX 200u /* waits for memory of one fault */
#define AROUND (16 * PAGE_SIZE) /* a read of a file maps what is cached in this much around it */

enum need { NEED_NOTHING, NEED_LOCK, NEED_PAGE, NEED_PREPARE, NEED_GROW, NEED_MEMORY };

struct page *zero_page;

static void fault_init(void)
{
	zero_page = page_alloc(0, ALLOC_ZERO);
	if (!zero_page)
		panic("no memory for the zero page");
	cache_sync_executable(page_address(zero_page), PAGE_SIZE);
}
INITCALL(INIT_CORE, fault_init);

struct page *anon_page_alloc(bool zero, u32 vma_flags)
{
	struct page *page = page_alloc(0, ALLOC_USER | (zero ? ALLOC_ZERO : 0));

	if (!page)
		return NULL;
	page_set(page, PAGE_ANON);
	if (zero && vma_flags & VMA_EXEC)
		cache_sync_executable(page_address(page), PAGE_SIZE);
	return page;
}

static long needs(u32 *need, enum need what)
{
	*need = what;
	return -EAGAIN;
}

static bool permits(pte_t pte, u32 access)
{
	if (!pte_present(pte) || !pte_readable(pte))
		return false;
	return access == FAULT_WRITE ? pte_writable(pte) : access == FAULT_EXEC ? pte_executable(pte) : true;
}

/* An entry of an anonymous page for this area. */
static pte_t anon_pte(const struct vma *vma, const struct page *page)
{
	u32 flags = vma_map_flags(vma->flags);

	if (vma->flags & VMA_WRITE)
		flags |= PTE_MAP_WRITE;
	/* What devices see is never executed: an instruction fetch moves it out of the pool. */
	if (flags & PTE_MAP_EXEC && pool_is_separate() && page_test(page, PAGE_POOL))
		flags &= ~(u32)PTE_MAP_EXEC;
	return pte_make(page, flags);
}

/* A present, private page gets a copy of its own. */
static long copy_page(struct mm *mm, struct vma *vma, u64 address, pte_t *entry) REQUIRES(&mm->table_lock)
{
	pte_t old = pte_get(entry);
	bool zero = pte_special(old);
	struct page *page = anon_page_alloc(zero, vma->flags);

	if (!page)
		return -ENOMEM;
	if (!zero) {
		page_copy(page_address(page), page_address(pte_page(old)));
		if (vma->flags & VMA_EXEC)
			cache_sync_executable(page_address(page), PAGE_SIZE);
	}
	vma->anonymous = true;
	page_mapped(mm, page);
	pte_exchange(mm, address, entry, anon_pte(vma, page));
	if (!zero)
		page_unmapped(mm, pte_page(old));
	return 0;
}

/* A store to a page that is there, in a private area. */
static long fault_copy(struct mm *mm, struct vma *vma, u64 address, pte_t *entry) REQUIRES(&mm->table_lock)
{
	pte_t pte = pte_get(entry);
	struct page *page = pte_special(pte) ? NULL : pte_page(pte);

	if (!page || !page_test(page, PAGE_ANON) ||
		atomic_load_explicit(&page->refcount, memory_order_acquire) != 1)
		return copy_page(mm, vma, address, entry);
	pte_set(entry, anon_pte(vma, page));
	tlb_flush_page(mm, address);
	return 0;
}

/* An entry is there. 0, -ENOMEM. */
static long fault_present(struct mm *mm, struct vma *vma, u64 address, pte_t *entry, u32 access) REQUIRES(&mm->table_lock)
{
	pte_t pte = pte_get(entry);

	if (permits(pte, access))
		return 0; /* another CPU was faster */
	if (access == FAULT_WRITE)
		return fault_copy(mm, vma, address, entry);
	if (access == FAULT_EXEC && !pte_special(pte) && page_test(pte_page(pte), PAGE_ANON))
		return copy_page(mm, vma, address, entry); /* out of the pool */
	/* The area's rights grew. */
	pte_set(entry, pte_special(pte) ? pte_make(zero_page, vma_map_flags(vma->flags) | PTE_MAP_SPECIAL) :
					  pte_write_protect(pte_make(pte_page(pte), vma_map_flags(vma->flags))));
	tlb_flush_page(mm, address);
	return 0;
}

static long anonymous_locked(struct mm *mm, struct vma *vma, u64 address, u32 access) REQUIRES(&mm->table_lock)
{
	pte_t *entry = pte_find(mm, address, true);
	struct page *page;

	if (!entry)
		return -ENOMEM;
	if (pte_get(entry))
		return fault_present(mm, vma, address, entry, access);
	if (access != FAULT_WRITE) {
		pte_set(entry, pte_make(zero_page, vma_map_flags(vma->flags) | PTE_MAP_SPECIAL));
		return 0;
	}
	page = anon_page_alloc(true, vma->flags);
	if (!page)
		return -ENOMEM;
	vma->anonymous = true;
	page_mapped(mm, page);
	pte_set(entry, anon_pte(vma, page));
	return 0;
}

static long fault_anonymous(struct mm *mm, struct vma *vma, u64 address, u32 access, u32 *need)
{
	long error;

	spin_lock(&mm->table_lock);
	error = anonymous_locked(mm, vma, address, access);
	spin_unlock(&mm->table_lock);
	return error == -ENOMEM ? needs(need, NEED_MEMORY) : error;
}

/* Pages of the vdso and its like, or device memory: mapped as they are. */
static long fault_special(struct mm *mm, struct vma *vma, u64 address, u32 *need)
{
	u32 flags = vma_map_flags(vma->flags) | PTE_MAP_SPECIAL | (vma->flags & VMA_WRITE ? PTE_MAP_WRITE : 0);
	u64 offset = address - vma->start;
	pte_t *entry;

	spin_lock(&mm->table_lock);
	entry = pte_find(mm, address, true);
	if (entry && !pte_get(entry))
		pte_set(entry, vma->special ? pte_make(vma->special + (offset >> PAGE_SHIFT), flags) :
					      pte_make_phys(vma->device + offset, flags | PTE_MAP_DEVICE));
	spin_unlock(&mm->table_lock);
	return entry ? 0 : needs(need, NEED_MEMORY);
}

/* --- files --- */

static u64 file_pages(const struct page_cache *cache)
{
	return div_round_up(cache->inode->size, PAGE_SIZE);
}

/* What is mapped of a cached page; NULL: it must be made ready first. cache->lock held. */
static struct page *mappable(struct page *page, bool exec)
{
	if (!exec)
		return page;
	if (pool_is_separate() && page_test(page, PAGE_POOL))
		return page->executable;
	return page_test(page, PAGE_COHERENT) ? page : NULL;
}

struct around {
	u64 index;	 /* of the page that is wanted */
	u32 below, above; /* neighbours */
};

static struct around around(const struct vma *vma, u64 address, u64 limit)
{
	u64 index = vma_index(vma, address), from = max(vma->start, align_down(address, AROUND));
	u64 to = min(vma->end, align_down(address, AROUND) + AROUND);
	struct around a = {.index = index};

	/* All lie in one leaf of the cache's tree. */
	a.below = (u32)min((address - from) >> PAGE_SHIFT, index & 63);
	a.above = (u32)min(((to - address) >> PAGE_SHIFT) - 1, 63 - (index & 63));
	a.above = (u32)min((u64)a.above, limit - 1 - index);
	return a;
}

/* Maps the page and its neighbours: cache->lock and table_lock held. */
static void map_around(struct mm *mm, const struct vma *vma, const struct around *a, void *const *slots, pte_t *entry)
{
	bool exec = vma->flags & VMA_EXEC;
	u32 flags = vma_map_flags(vma->flags), at = (u32)(a->index & 63);
	u64 file = 0, shmem = 0;

	for (u32 i = at - a->below; i <= at + a->above; i++) {
		struct page *page = slots[i];
		pte_t *target = entry + (s32)(i - at);

		if (!page || pte_get(target) || !page_test(page, PAGE_UPTODATE) || !(page = mappable(page, exec)))
			continue;
		page_get(page);
		atomic_fetch_add_explicit(&page->mapcount, 1, memory_order_relaxed);
		if (page_test(page, PAGE_SHMEM))
			shmem++;
		else
			file++;
		pte_set(target, pte_make(page, flags));
	}
	if (file)
		atomic_fetch_add_explicit(&mm->resident_file, file, memory_order_relaxed);
	if (shmem)
		atomic_fetch_add_explicit(&mm->resident_shared, shmem, memory_order_relaxed);
}

enum { FILE_DONE, FILE_NOT_READY = 1 };

/* cache->lock held. 0; 1: the page must be made executable; -EAGAIN: it must be read; -ENOMEM. */
static long file_read_locked(struct mm *mm, struct vma *vma, u64 address, u32 access, u64 limit, struct page **page)
	REQUIRES(&vma->cache->lock)
{
	struct around a = around(vma, address, limit);
	void *const *slots = radix_leaf(&vma->cache->pages, a.index);
	pte_t *entry;
	long error = 0;

	*page = slots ? slots[a.index & 63] : NULL;
	if (!*page || !page_test(*page, PAGE_UPTODATE))
		return -EAGAIN;
	if (!mappable(*page, vma->flags & VMA_EXEC)) {
		page_get(*page);
		return FILE_NOT_READY;
	}
	if (!page_test(*page, PAGE_REFERENCED))
		page_set(*page, PAGE_REFERENCED);
	spin_lock(&mm->table_lock);
	entry = pte_find(mm, address, true);
	if (!entry)
		error = -ENOMEM;
	else if (pte_get(entry))
		error = fault_present(mm, vma, address, entry, access);
	else
		map_around(mm, vma, &a, slots, entry);
	spin_unlock(&mm->table_lock);
	return error;
}

static long fault_file_read(struct mm *mm, struct vma *vma, u64 address, u32 access, u32 *need)
{
	struct page *page, *ready;
	u64 limit = file_pages(vma->cache);
	long error;

	if (vma_index(vma, address) >= limit) {
		/* A private page that is there stays accessible. */
		bool there;
		pte_t *entry;

		spin_lock(&mm->table_lock);
		entry = pte_find(mm, address, false);
		there = entry && permits(pte_get(entry), access);
		spin_unlock(&mm->table_lock);
		return there ? 0 : -EIO;
	}
	for (;;) {
		spin_lock(&vma->cache->lock);
		error = file_read_locked(mm, vma, address, access, limit, &page);
		spin_unlock(&vma->cache->lock);
		if (error == -EAGAIN)
			return needs(need, NEED_PAGE);
		if (error == -ENOMEM)
			return needs(need, NEED_MEMORY);
		if (error != FILE_NOT_READY)
			return error;
		ready = page_executable(page);
		page_put(page);
		if (!IS_ERR(ready))
			page_put(ready);
		else
			return needs(need, PTR_ERR(ready) == -ENOMEM ? NEED_MEMORY : NEED_LOCK);
	}
}

/* A store to a private mapping of a file. */
static long fault_file_copy(struct mm *mm, struct vma *vma, u64 address, u32 *need)
{
	struct page *from = NULL, *page = NULL;
	pte_t *entry;
	long error = 0;

	spin_lock(&mm->table_lock);
	entry = pte_find(mm, address, true);
	if (entry && pte_get(entry)) {
		error = fault_present(mm, vma, address, entry, FAULT_WRITE);
		spin_unlock(&mm->table_lock);
		return error == -ENOMEM ? needs(need, NEED_MEMORY) : error;
	}
	spin_unlock(&mm->table_lock);
	if (!entry)
		return needs(need, NEED_MEMORY);
	if (vma_index(vma, address) >= file_pages(vma->cache))
		return -EIO;
	from = page_cache_find(vma->cache, vma_index(vma, address));
	if (!from)
		return needs(need, NEED_PAGE);
	page = anon_page_alloc(false, vma->flags);
	if (!page) {
		page_put(from);
		return needs(need, NEED_MEMORY);
	}
	page_copy(page_address(page), page_address(from));
	page_put(from);
	if (vma->flags & VMA_EXEC)
		cache_sync_executable(page_address(page), PAGE_SIZE);
	spin_lock(&mm->table_lock);
	if (!pte_get(entry)) { /* tables stay while mm->lock is held */
		vma->anonymous = true;
		page_mapped(mm, page);
		pte_set(entry, anon_pte(vma, page));
		page = NULL;
	}
	spin_unlock(&mm->table_lock);
	if (page)
		page_put(page);
	return 0;
}

/* Makes a dirty page of a shared file writable here. False: it was cleaned or truncated meanwhile. */
static bool map_shared_dirty(struct mm *mm, struct vma *vma, u64 address, pte_t *entry, struct page *page)
	REQUIRES(&mm->table_lock)
{
	u32 flags = vma_map_flags(vma->flags) | PTE_MAP_WRITE;
	pte_t old = pte_get(entry);

	/* Whoever cleans it clears the bit first, and takes this lock to write-protect it after. */
	if (page->cache != vma->cache || !page_test(page, PAGE_DIRTY) || (pool_is_separate() && !page_test(page, PAGE_STORED)))
		return false;
	if (flags & PTE_MAP_EXEC && pool_is_separate() && page_test(page, PAGE_POOL))
		flags &= ~(u32)PTE_MAP_EXEC; /* an instruction fetch will map the copy, a store again this */
	if (pte_present(old) && pte_page(old) == page) {
		pte_set(entry, pte_make(page, flags));
		tlb_flush_page(mm, address);
		return true;
	}
	page_get(page);
	page_mapped(mm, page);
	pte_exchange(mm, address, entry, pte_make(page, flags));
	if (pte_present(old) && !pte_special(old))
		page_unmapped(mm, pte_page(old));
	return true;
}

static long fault_shared_write(struct mm *mm, struct vma *vma, u64 address, u32 *need)
{
	struct page_cache *cache = vma->cache;
	struct page *page;
	pte_t *entry;
	bool done = false;

	if (vma_index(vma, address) >= file_pages(cache))
		return -EIO;
	page = page_cache_find(cache, vma_index(vma, address));
	if (!page)
		return needs(need, NEED_PAGE);
	if (!page_test(page, PAGE_DIRTY)) {
		if (cache->ops->prepare) {
			page_put(page);
			return needs(need, NEED_PREPARE);
		}
		page_cache_dirty(page);
	}
	cache_will_store(cache, page);
	spin_lock(&mm->table_lock);
	entry = pte_find(mm, address, true);
	if (entry)
		done = map_shared_dirty(mm, vma, address, entry, page);
	spin_unlock(&mm->table_lock);
	page_put(page);
	return !entry ? needs(need, NEED_MEMORY) : done ? 0 : needs(need, NEED_LOCK);
}

/* An instruction fetch from a shared, writable mapping whose page is mapped from the pool: the copy takes its place. */
static void drop_unexecutable(struct mm *mm, u64 address)
{
	struct page *page = NULL;
	pte_t *entry;

	spin_lock(&mm->table_lock);
	entry = pte_find(mm, address, false);
	if (entry && pte_present(pte_get(entry)) && !pte_executable(pte_get(entry)) && !pte_special(pte_get(entry)))
		page = pte_page(pte_exchange(mm, address, entry, 0));
	spin_unlock(&mm->table_lock);
	if (page)
		page_unmapped(mm, page);
}

/* --- all kinds --- */

static bool access_allowed(const struct vma *vma, u32 access)
{
	u32 wanted = access == FAULT_WRITE ? VMA_WRITE :
		     access == FAULT_EXEC  ? VMA_EXEC :
					     VMA_READ | VMA_WRITE | VMA_EXEC;

	return vma->flags & wanted;
}

/* mm->lock held for reading. 0; -EAGAIN: see *need; or an error of mm_fault. */
static long fault_once(struct mm *mm, u64 address, u32 access, u32 *need)
{
	struct vma *vma = vma_at(mm, address);

	address &= PAGE_MASK;
	if (unlikely(!vma)) {
		vma = vma_find(mm, address);
		return vma && vma->flags & VMA_GROWSDOWN ? needs(need, NEED_GROW) : -EFAULT;
	}
	if (unlikely(!access_allowed(vma, access)))
		return -EACCES;
	if (unlikely(vma->special || vma->device))
		return fault_special(mm, vma, address, need);
	if (!vma->cache)
		return fault_anonymous(mm, vma, address, access, need);
	if (access == FAULT_WRITE)
		return vma->flags & VMA_SHARED ? fault_shared_write(mm, vma, address, need) :
						 fault_file_copy(mm, vma, address, need);
	if (access == FAULT_EXEC && vma->flags & VMA_SHARED && vma->flags & VMA_WRITE && pool_is_separate())
		drop_unexecutable(mm, address);
	return fault_file_read(mm, vma, address, access, need);
}

/* The stack above grows down to `address`. mm->lock held for write. */
static long grow_stack(struct mm *mm, u64 address)
{
	struct vma *vma = vma_find(mm, address), *prev;
	u64 start = address & PAGE_MASK, floor;

	if (vma && vma->start <= address)
		return 0;
	if (!vma || !(vma->flags & VMA_GROWSDOWN) || start < MMAP_MIN_ADDRESS)
		return -EFAULT;
	prev = vma_prev(vma);
	floor = !prev ? 0 : prev->flags & VMA_GROWSDOWN || !access_allowed(prev, FAULT_READ) ? prev->end : prev->end + STACK_GUARD;
	if (start < floor || vma->end - start > limit_get(RLIMIT_STACK) ||
		mm->total_pages + ((vma->start - start) >> PAGE_SHIFT) > limit_get(RLIMIT_AS) >> PAGE_SHIFT)
		return -EFAULT;
	vma_resize(mm, vma, start, vma->end);
	return 0;
}

/* Addresses of user mode may carry a tag in their top byte. */
static inline u64 untagged(u64 address)
{
	return address & BIT(55) ? address : address & 0x00ffffffffffffffull;
}

long mm_fault_fast(struct mm *mm, u64 address, enum fault_access access)
{
	u32 need = NEED_NOTHING;
	long error;

	address = untagged(address);
	if (unlikely(address >= USER_END))
		return -EFAULT;
	if (unlikely(!rwlock_try_read(&mm->lock)))
		return -EAGAIN;
	error = fault_once(mm, address, access, &need);
	rwlock_read_unlock(&mm->lock);
	return error;
}

ASYNC_DEFINE(mm_fault)
{
	ASYNC_BEGIN;
	f->address = untagged(f->address);
	if (f->address >= USER_END)
		ASYNC_RETURN(-EFAULT);
	for (;;) {
		AWAIT(rwlock_read, .lock = &f->mm->lock);
		f->error = fault_once(f->mm, f->address, f->access, &f->need);
		if (f->error == -EAGAIN && (f->need == NEED_PAGE || f->need == NEED_PREPARE)) {
			struct vma *vma = vma_at(f->mm, f->address);

			f->cache = vma->cache;
			f->file = vma->file;
			f->index = vma_index(vma, f->address & PAGE_MASK);
			file_get(f->file);
		}
		rwlock_read_unlock(&f->mm->lock);
		if (f->error != -EAGAIN)
			ASYNC_RETURN(f->error);
		if (f->need == NEED_GROW) {
			AWAIT(rwlock_write, .lock = &f->mm->lock);
			f->error = grow_stack(f->mm, f->address);
			rwlock_write_unlock(&f->mm->lock);
			if (f->error)
				ASYNC_RETURN(f->error);
			continue;
		}
		if (f->need == NEED_MEMORY) {
			/* Others may take what there is, again and again: then it is not enough for all. */
			if (f->starved++ == STARVED_MAX)
				ASYNC_RETURN(-ENOMEM);
			AWAIT(memory_wait_for, .flags = ALLOC_USER, .tries = f->starved);
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
			continue;
		}
		if (f->need == NEED_LOCK) {
			/* Lost a race: the next try sees the new state. */
			if (task_should_yield(self))
				AWAIT(task_yield);
			continue;
		}
		if (!f->tries++ && atomic_load_explicit(&self->flags, memory_order_relaxed) & TASK_THREAD)
			thread_of(self)->major_faults++;
		AWAIT(page_cache_get, .cache = f->cache, .index = f->index, .fault = true);
		f->error = RESULT < 0 && IS_ERR((void *)RESULT) ? RESULT : 0;
		f->page = f->error ? NULL : (struct page *)RESULT;
		if (!f->error && f->need == NEED_PREPARE) {
			AWAIT_OP(f->cache->ops->prepare, page_cache_prepare, .cache = f->cache,
				.pos = f->index << PAGE_SHIFT,
				.n = min((u64)PAGE_SIZE, f->cache->inode->size - (f->index << PAGE_SHIFT)));
			f->error = RESULT;
			/* Who dirties by stores waits for the disk as one does who writes. */
			if (!f->error && writeback_too_dirty())
				AWAIT(page_cache_sync, .cache = f->cache, .start = 0, .end = ~0ull);
			if (!f->error) {
				page_cache_dirty(f->page);
				inode_touch(f->cache->inode, ATTR_MTIME | ATTR_CTIME);
			}
		}
		if (f->page)
			page_put(f->page);
		if (!file_put_fast(f->file))
			AWAIT(file_put, .file = f->file);
		if (f->error == -ENOMEM && f->starved++ < STARVED_MAX) {
			AWAIT(memory_wait_for, .flags = ALLOC_POOL | ALLOC_USER, .tries = f->starved);
			if (!RESULT)
				continue;
		}
		if (f->error)
			ASYNC_RETURN(f->error == -ENOMEM ? -ENOMEM : -EIO);
	}
	ASYNC_END;
}
