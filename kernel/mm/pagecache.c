/* SPDX-License-Identifier: MIT */
/*
 * The pages of a file that are in memory: found, added, locked, dirtied, taken out. A page in the cache is kept by the
 * cache's own reference. Who takes one out has it locked, so page->cache stays while one holds the page's lock.
 *
 *     absent --add--> LOCKED --filled--> UPTODATE <--> DIRTY --writeback--> WRITEBACK --> UPTODATE --remove--> absent
 */
#include "internal.h"
#include <lichen/irq.h>
#include <lichen/string.h>
#include <asm/errno.h>

#define WAIT_QUEUES 64

/* Waiters for pages share a few queues, by the page's address; they are woken by key. */
static struct wait_queue wait_queues[WAIT_QUEUES];

static void wait_queues_init(void)
{
	for (u32 i = 0; i < WAIT_QUEUES; i++)
		wait_queue_init(&wait_queues[i]);
}
INITCALL(INIT_CORE, wait_queues_init);

static struct wait_queue *queue_of(const struct page *page)
{
	return &wait_queues[((u64)page / sizeof(*page)) % WAIT_QUEUES];
}

void page_cache_init(struct page_cache *cache, struct inode *inode, const struct page_cache_ops *ops)
{
	memset(cache, 0, sizeof(*cache));
	cache->inode = inode;
	cache->ops = ops;
	spin_init(&cache->lock);
	list_init(&cache->areas);
	list_init(&cache->dirty_node);
	mutex_init(&cache->writeback);
}

/* --- waiting --- */

static bool key_is(u64 key, u64 page)
{
	return key == page;
}

void page_clear_wake(struct page *page, u32 flag)
{
	u32 old = atomic_fetch_and_explicit(&page->flags, ~(flag | PAGE_WAITERS), memory_order_acq_rel);

	if (old & PAGE_WAITERS)
		wait_wake_match(queue_of(page), ~0u, key_is, (u64)page);
}

ASYNC_DEFINE_SHALLOW(page_wait, sizeof(struct wait_on_frame))
{
	ASYNC_BEGIN;
	while (page_test(f->page, f->flags)) {
		f->ticket = wait_ticket(queue_of(f->page));
		/* Who clears the flag after this sees that somebody waits; who did before is seen here. */
		if (!(atomic_fetch_or_explicit(&f->page->flags, PAGE_WAITERS, memory_order_acq_rel) & f->flags))
			break;
		AWAIT(wait_on, .queue = queue_of(f->page), .ticket = f->ticket, .uninterruptible = true, .key = (u64)f->page);
	}
	ASYNC_END;
}

bool page_trylock(struct page *page)
{
	return !(atomic_fetch_or_explicit(&page->flags, PAGE_LOCKED, memory_order_acq_rel) & PAGE_LOCKED);
}

void page_unlock(struct page *page)
{
	page_clear_wake(page, PAGE_LOCKED);
}

void page_filled(struct page *page)
{
	u32 old = atomic_load_explicit(&page->flags, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(&page->flags, &old,
		(old | PAGE_UPTODATE) & ~(u32)(PAGE_LOCKED | PAGE_WAITERS), memory_order_acq_rel, memory_order_relaxed))
		;
	if (old & PAGE_WAITERS)
		wait_wake_match(queue_of(page), ~0u, key_is, (u64)page);
}

ASYNC_DEFINE_SHALLOW(page_lock, sizeof(struct page_wait_frame) + sizeof(struct wait_on_frame))
{
	ASYNC_BEGIN;
	while (!page_trylock(f->page))
		AWAIT(page_wait, .page = f->page, .flags = PAGE_LOCKED);
	ASYNC_END;
}

/* --- finding and adding --- */

struct page *page_cache_find(struct page_cache *cache, u64 index)
{
	struct page *page;

	spin_lock(&cache->lock);
	page = radix_find(&cache->pages, index);
	if (page && likely(page_test(page, PAGE_UPTODATE)))
		page_get(page);
	else
		page = NULL;
	spin_unlock(&cache->lock);
	if (page && !page_test(page, PAGE_REFERENCED))
		page_set(page, PAGE_REFERENCED);
	return page;
}

struct page *cache_add(struct page_cache *cache, u64 index)
{
	struct page *page;
	long error;

	if (radix_find(&cache->pages, index))
		return NULL;
	page = page_alloc(0, cache_alloc_flags(cache));
	if (!page)
		return ERR_PTR(-ENOMEM);
	page->cache = cache;
	page->index = index;
	page_set(page, PAGE_LOCKED | (cache->ops->read || cache->ops->write ? 0 : PAGE_SHMEM));
	error = radix_insert(&cache->pages, index, page);
	if (error) {
		page->cache = NULL;
		page_put(page);
		return ERR_PTR(error);
	}
	page_get(page);
	cache->count++;
	memory_count(MEMORY_CACHED, 1);
	if (!page_test(page, PAGE_SHMEM))
		lru_add(page);
	return page;
}

long cache_add_run(struct page_cache *cache, u64 index, u32 n, struct page **pages)
{
	u32 flags = PAGE_LOCKED | (cache->ops->read || cache->ops->write ? 0 : PAGE_SHMEM), count;
	u64 next = index;
	long added;

	if (radix_next(&cache->pages, &next))
		n = (u32)min((u64)n, next - index);
	if (!n)
		return 0;
	count = page_alloc_run(pages, n, cache_alloc_flags(cache));
	if (!count)
		return -ENOMEM;
	for (u32 i = 0; i < count; i++) {
		pages[i]->cache = cache;
		pages[i]->index = index + i;
		/* nobody else knows it yet */
		atomic_store_explicit(&pages[i]->flags, pages[i]->flags | flags, memory_order_relaxed);
	}
	added = radix_insert_run(&cache->pages, index, (void **)pages, count);
	for (u32 i = added > 0 ? (u32)added : 0; i < count; i++) {
		pages[i]->cache = NULL;
		page_put(pages[i]);
	}
	if (added <= 0)
		return added;
	cache->count += (u64)added;
	memory_count(MEMORY_CACHED, added);
	if (!(flags & PAGE_SHMEM))
		lru_add_run(pages, (u32)added);
	return added;
}

u32 cache_find_run(struct page_cache *cache, u64 index, u32 n, struct page **pages)
{
	u32 count = 0;

	spin_lock(&cache->lock);
	while (count < n) {
		void *const *leaf = radix_leaf(&cache->pages, index + count);
		u32 slot = (u32)((index + count) & (RADIX_LEAF - 1)), end = min(slot + n - count, RADIX_LEAF);

		if (!leaf)
			break;
		for (; slot < end; slot++) {
			struct page *page = leaf[slot];
			u32 flags = page ? atomic_load_explicit(&page->flags, memory_order_acquire) : 0;

			if (!(flags & PAGE_UPTODATE))
				goto out;
			atomic_fetch_add_explicit(&page->refcount, 1, memory_order_relaxed);
			if (!(flags & PAGE_REFERENCED))
				page_set(page, PAGE_REFERENCED);
			pages[count++] = page;
		}
	}
out:
	spin_unlock(&cache->lock);
	return count;
}

/* --- dirt --- */

void page_cache_dirty(struct page *page)
{
	struct page_cache *cache = page->cache;

	if (page_test(page, PAGE_DIRTY) || !cache)
		return;
	spin_lock(&cache->lock);
	if (page->cache == cache && !page_test(page, PAGE_DIRTY)) {
		page_set(page, PAGE_DIRTY);
		if (cache->ops->write) {
			radix_mark(&cache->pages, page->index, true);
			memory_count(MEMORY_DIRTY, 1);
			if (!cache->dirty++)
				writeback_add(cache);
		}
	}
	spin_unlock(&cache->lock);
}

bool cache_clean(struct page_cache *cache, struct page *page)
{
	if (!page_clear(page, PAGE_DIRTY))
		return false;
	if (cache->ops->write) {
		radix_mark(&cache->pages, page->index, false);
		cache->dirty--;
		memory_count(MEMORY_DIRTY, -1);
	}
	return true;
}

/* --- taking out --- */

/* cache->lock held; the cache's references are dropped by release(). */
static struct page *detach(struct page_cache *cache, struct page *page)
{
	struct page *executable = page->executable;

	cache_clean(cache, page);
	radix_remove(&cache->pages, page->index);
	cache->count--;
	page->executable = NULL;
	page->cache = NULL;
	memory_count(MEMORY_CACHED, -1);
	if (!page_test(page, PAGE_SHMEM))
		lru_remove(page);
	return executable;
}

static void release(struct page *page, struct page *executable)
{
	if (executable)
		page_put(executable);
	page_put(page);
}

void cache_remove(struct page_cache *cache, struct page *page)
{
	struct page *executable;

	spin_lock(&cache->lock);
	executable = detach(cache, page);
	spin_unlock(&cache->lock);
	release(page, executable);
}

bool cache_remove_unused(struct page_cache *cache, struct page *page, u32 users)
{
	struct page *executable = page->executable;
	bool removed = false;

	if (page_test(page, PAGE_DIRTY | PAGE_WRITEBACK))
		return false;
	if (atomic_load_explicit(&page->mapcount, memory_order_relaxed) ||
		(executable && atomic_load_explicit(&executable->mapcount, memory_order_relaxed)))
		mm_unmap_file_range(cache, page->index, page->index + 1, true);
	spin_lock(&cache->lock);
	/* Whoever finds it does so under the lock; who maps it had found it. */
	if (!page_test(page, PAGE_DIRTY | PAGE_WRITEBACK) &&
		atomic_load_explicit(&page->refcount, memory_order_acquire) == users + 1) {
		executable = detach(cache, page);
		removed = true;
	}
	spin_unlock(&cache->lock);
	if (removed)
		release(page, executable);
	return removed;
}

/* --- execution --- */

/*
 * With a driver domain a cached page is never mapped executable: a private copy is (page->executable). Copy and page must
 * not differ, so a page is either mapped writable somewhere, or has a copy:
 *   - to make a copy: STORED off, mappings write-protected, copied; thrown away if STORED is on again;
 *   - to store (a write, or a writable mapping): STORED on, and the copy, if there is one, is unmapped and goes. A mapping is
 *     made writable only while STORED is on, under the table lock that the protection takes too.
 */

static struct page *copy_for_execution(struct page *page)
{
	struct page *copy = page_alloc(0, 0);

	if (!copy)
		return NULL;
	page_copy(page_address(copy), page_address(page));
	cache_sync_executable(page_address(copy), PAGE_SIZE);
	return copy;
}

/* The copy that there is now, referenced, or NULL. */
static struct page *existing_copy(struct page_cache *cache, struct page *page)
{
	struct page *copy;

	spin_lock(&cache->lock);
	copy = page->executable;
	if (copy)
		page_get(copy);
	else
		page_clear(page, PAGE_STORED);
	spin_unlock(&cache->lock);
	return copy;
}

/* Gives the page its copy: false if it was stored to meanwhile, or there is another copy. */
static bool adopt_copy(struct page_cache *cache, struct page *page, struct page *copy)
{
	bool adopted;

	spin_lock(&cache->lock);
	adopted = page->cache == cache && !page->executable && !page_test(page, PAGE_STORED);
	if (adopted) {
		page->executable = copy;
		page_get(copy);
	}
	spin_unlock(&cache->lock);
	return adopted;
}

struct page *page_executable(struct page *page)
{
	struct page_cache *cache = page->cache;
	struct page *copy;

	if (!pool_is_separate() || !page_test(page, PAGE_POOL)) {
		if (!page_test(page, PAGE_COHERENT)) {
			cache_sync_executable(page_address(page), PAGE_SIZE);
			page_set(page, PAGE_COHERENT);
		}
		page_get(page);
		return page;
	}
	if (!cache)
		return ERR_PTR(-EAGAIN); /* truncated */
	copy = existing_copy(cache, page);
	if (copy)
		return copy;
	mm_protect_file_page(cache, page->index);
	copy = copy_for_execution(page);
	if (!copy)
		return ERR_PTR(-ENOMEM);
	if (adopt_copy(cache, page, copy))
		return copy;
	page_put(copy);
	return ERR_PTR(-EAGAIN);
}

void cache_will_store(struct page_cache *cache, struct page *page)
{
	struct page *executable;

	if (page_test(page, PAGE_COHERENT))
		page_clear(page, PAGE_COHERENT);
	if (likely(!pool_is_separate()))
		return;
	spin_lock(&cache->lock);
	page_set(page, PAGE_STORED);
	executable = page->executable;
	page->executable = NULL;
	spin_unlock(&cache->lock);
	if (!executable)
		return;
	mm_unmap_file_range(cache, page->index, page->index + 1, true);
	page_put(executable);
}
