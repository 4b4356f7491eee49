/* SPDX-License-Identifier: MIT */
/*
 * Writing dirty pages back: by sync, and by one task when they are old or many. A cache is written by one at a time
 * (cache->writeback), in runs of consecutive pages.
 *
 * The order for a page is: DIRTY off, WRITEBACK on, mappings made read-only, write, WRITEBACK off. A store that comes after
 * the protection makes it dirty again.
 */
#include "internal.h"
#include <lichen/irq.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/task.h>
#include <asm/errno.h>

#define AGE_MAX	     (5 * NSEC_PER_SEC)
#define RUN_MAX	     128u /* pages: 512 KiB a write */
#define RUN_IN_FRAME 1u
#define STARVED_MAX   50u /* tries of a run for which memory is short, and ns between them */
#define STARVED_PAUSE (NSEC_PER_SEC / 100)

static spinlock_t dirty_lock = SPINLOCK_INIT; /* guards the list, and keeps caches on it alive; nests inside cache->lock */
static struct list dirty_caches = LIST_INIT(dirty_caches); /* oldest first */
static struct wait_queue kicked = WAIT_QUEUE_INIT(kicked);
static _Atomic bool hurry; /* memory is short: do not wait for age */
static _Atomic u64 written; /* pages */

u64 writeback_written(void)
{
	return atomic_load_explicit(&written, memory_order_relaxed);
}

void writeback_add(struct page_cache *cache)
{
	bool first;

	spin_lock(&dirty_lock);
	first = list_empty(&dirty_caches);
	if (list_empty(&cache->dirty_node)) {
		cache->dirty_since = time_monotonic();
		list_add_tail(&dirty_caches, &cache->dirty_node);
	}
	spin_unlock(&dirty_lock);
	if (first)
		wait_wake_all(&kicked);
}

void writeback_forget(struct page_cache *cache)
{
	spin_lock(&dirty_lock);
	list_remove(&cache->dirty_node);
	spin_unlock(&dirty_lock);
}

void writeback_kick(void)
{
	atomic_store_explicit(&hurry, true, memory_order_release);
	wait_wake_all(&kicked);
}

bool writeback_too_dirty(void)
{
	struct memory_info info;
	static _Atomic u32 calls;

	/* Looked at once in a while: the limit is a share of memory, not exact. */
	if (atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) & 63)
		return false;
	memory_info(&info);
	if (info.dirty > info.pool_total / 8)
		writeback_kick();
	return info.dirty > info.pool_total / 4;
}

/* --- one cache --- */

/* Gathers the next run of dirty pages from f->index on; they are marked WRITEBACK and clean, and referenced. */
static void gather(struct page_cache_sync_frame *f, u32 room)
{
	struct page_cache *cache = f->cache;
	u64 index = f->index, last = f->end == ~0ull ? ~0ull : div_round_up(f->end, PAGE_SIZE);
	struct page *page;

	f->count = 0;
	spin_lock(&cache->lock);
	while (f->count < room && (page = radix_next_marked(&cache->pages, &index)) && index < last) {
		if (f->count && index != f->index + f->count)
			break;
		if (!f->count)
			f->index = index;
		cache_clean(cache, page);
		page_set(page, PAGE_WRITEBACK);
		page_get(page);
		f->pages[f->count++] = page;
		index++;
	}
	spin_unlock(&cache->lock);
	if (f->count)
		memory_count(MEMORY_WRITEBACK, f->count);
}

/* Before it is written: nobody stores without our noticing, and the file's end is followed by zeroes. */
static void prepare(struct page_cache_sync_frame *f)
{
	u64 size = f->cache->inode->size;

	for (u32 i = 0; i < f->count; i++)
		mm_protect_file_page(f->cache, f->index + i);
	if (size & ~PAGE_MASK && size >> PAGE_SHIFT >= f->index && size >> PAGE_SHIFT < f->index + f->count) {
		char *tail = page_address(f->pages[(size >> PAGE_SHIFT) - f->index]);

		memset(tail + (size & ~PAGE_MASK), 0, PAGE_SIZE - (size & ~PAGE_MASK));
	}
}

static void finish(struct page_cache_sync_frame *f, long error)
{
	struct page_cache *cache = f->cache;

	if (error == -ENOMEM) {
		/* Nothing is wrong with them, they are only not written yet. */
		for (u32 i = 0; i < f->count; i++)
			page_cache_dirty(f->pages[i]);
	} else if (error) {
		spin_lock(&cache->lock);
		cache->error = error;
		cache->error_sequence++;
		spin_unlock(&cache->lock);
		log_ratelimited(LOG_ERR, "writeback: inode %llu, page %llu: error %ld, data lost",
			(unsigned long long)cache->inode->number, (unsigned long long)f->index, error);
		if (!f->error)
			f->error = error;
	}
	for (u32 i = 0; i < f->count; i++) {
		page_clear_wake(f->pages[i], PAGE_WRITEBACK);
		page_put(f->pages[i]);
	}
	memory_count(MEMORY_WRITEBACK, -(s64)f->count);
	if (error != -ENOMEM)
		atomic_fetch_add_explicit(&written, f->count, memory_order_relaxed);
}

/* How many of the run lie before the end of file: what is beyond is not written. */
static u32 inside(const struct page_cache_sync_frame *f)
{
	u64 pages = div_round_up(f->cache->inode->size, PAGE_SIZE);

	return f->index >= pages ? 0 : (u32)min((u64)f->count, pages - f->index);
}

ASYNC_DEFINE(page_cache_sync)
{
	ASYNC_BEGIN;
	if (!f->cache->ops || !f->cache->ops->write)
		ASYNC_RETURN(0);
	AWAIT(mutex_lock, .mutex = &f->cache->writeback);
	if (!f->cache->dirty) {
		mutex_unlock(&f->cache->writeback);
		ASYNC_RETURN(0);
	}
	f->pages = kmalloc(RUN_MAX * sizeof(*f->pages));
	f->room = f->pages ? RUN_MAX : RUN_IN_FRAME;
	if (!f->pages)
		f->pages = &f->one;
	f->index = f->start >> PAGE_SHIFT;
	for (;;) {
		gather(f, f->room);
		if (!f->count)
			break;
		prepare(f);
		if (inside(f)) {
			AWAIT_OP(f->cache->ops->write, page_cache_write, .cache = f->cache, .pages = f->pages,
				.count = inside(f), .index = f->index);
		} else {
			RESULT = 0;
		}
		f->failed = RESULT;
		finish(f, f->failed);
		if (likely(f->failed != -ENOMEM)) {
			f->index += f->count;
			f->starved = 0;
			continue;
		}
		if (f->starved++ == STARVED_MAX) {
			f->error = f->failed;
			break;
		}
		AWAIT(memory_wait);
		AWAIT(sleep_until, .deadline = time_monotonic() + STARVED_PAUSE, .uninterruptible = true);
	}
	mutex_unlock(&f->cache->writeback);
	if (f->pages != &f->one)
		kfree(f->pages);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* --- the task --- */

/* The first cache that is due, off the list, its inode referenced; else NULL, and when to look again (0: when kicked). */
static struct page_cache *next_due(bool now, nsec_t *again)
{
	struct page_cache *cache, *next, *found = NULL;
	nsec_t time = time_monotonic();

	*again = 0;
	spin_lock(&dirty_lock);
	list_for_each_safe(cache, next, &dirty_caches, dirty_node) {
		if (!now && cache->dirty_since + AGE_MAX > time) {
			*again = cache->dirty_since + AGE_MAX;
			break;
		}
		list_remove(&cache->dirty_node);
		if (!inode_get_live(cache->inode))
			continue; /* who evicts it writes it */
		found = cache;
		break;
	}
	spin_unlock(&dirty_lock);
	return found;
}

/* What was dirtied while it was written starts a new term. */
static void put_back(struct page_cache *cache)
{
	spin_lock(&cache->lock);
	if (cache->dirty)
		writeback_add(cache);
	spin_unlock(&cache->lock);
}

ASYNC(writeback_task, struct page_cache *cache; struct inode *inode; nsec_t again; u32 ticket; bool now;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&kicked);
		f->now = atomic_exchange_explicit(&hurry, false, memory_order_acq_rel);
		while ((f->cache = next_due(f->now, &f->again))) {
			f->inode = f->cache->inode;
			AWAIT(page_cache_sync, .cache = f->cache, .start = 0, .end = ~0ull);
			put_back(f->cache);
			AWAIT(inode_put, .inode = f->inode);
		}
		AWAIT(wait_on, .queue = &kicked, .ticket = f->ticket, .deadline = f->again, .uninterruptible = true);
	}
	ASYNC_END;
}

static void writeback_init(void)
{
	if (!task_spawn("writeback", &writeback_task_fn, NULL, 0))
		panic("no memory for the writeback task");
}
INITCALL(INIT_LATE, writeback_init);
