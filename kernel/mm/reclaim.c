/* SPDX-License-Identifier: MIT */
/*
 * Getting memory back: clean pages of files, by second chance. The list holds every page of a file that a device backs; a
 * page that was used since it was last looked at goes to the end once more. Taking pages back waits for nothing, so whoever needs
 * memory and holds no spinlock can reclaim for himself; a task keeps some memory free for all others. At the end: who must have memory, and
 * waits until there is some.
 */
#include "internal.h"
#include <lichen/irq.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/task.h>
#include <asm/errno.h>

#define BATCH 64u

static spinlock_t lru_lock = SPINLOCK_INIT; /* nests inside cache->lock */
static struct list lru = LIST_INIT(lru);    /* least recently looked at first */
static u64 lru_count;
static struct wait_queue kicked = WAIT_QUEUE_INIT(kicked);
static _Atomic bool running;

void lru_add(struct page *page)
{
	spin_lock(&lru_lock);
	list_add_tail(&lru, &page->list);
	lru_count++;
	spin_unlock(&lru_lock);
}

void lru_add_run(struct page **pages, u32 n)
{
	spin_lock(&lru_lock);
	for (u32 i = 0; i < n; i++)
		list_add_tail(&lru, &pages[i]->list);
	lru_count += n;
	spin_unlock(&lru_lock);
}

void lru_remove(struct page *page)
{
	spin_lock(&lru_lock);
	list_remove(&page->list);
	lru_count--;
	spin_unlock(&lru_lock);
}

/* The page at the front, which goes to the back, with a reference. What is on the list is in the cache, so it lives. */
static struct page *lru_next(void)
{
	struct page *page = NULL;

	spin_lock(&lru_lock);
	if (!list_empty(&lru)) {
		page = list_first(&lru, struct page, list);
		list_remove(&page->list);
		list_add_tail(&lru, &page->list);
		page_get(page);
	}
	spin_unlock(&lru_lock);
	return page;
}

/* What is short. Without a driver domain there is one zone, and this is of it. */
enum kind { POOL, PRIVATE };

/* Only the copy that was made for execution goes: that is the private memory which files hold. */
static u32 reclaim_copy(struct page *page)
{
	struct page_cache *cache = page->cache;

	if (!cache || !page->executable)
		return 0;
	cache_will_store(cache, page);
	return 1;
}

static u32 reclaim_page(struct page *page, enum kind kind)
{
	u32 freed = 0;

	if (kind == PRIVATE && !page->executable)
		return 0;
	if (page_test(page, PAGE_REFERENCED)) {
		page_clear(page, PAGE_REFERENCED);
		return 0;
	}
	if ((kind == POOL && page_test(page, PAGE_DIRTY | PAGE_WRITEBACK)) || !page_trylock(page))
		return 0;
	/* page->cache stays while it is locked */
	if (kind == PRIVATE)
		freed = reclaim_copy(page);
	else if (page->cache)
		freed = cache_remove_unused(page->cache, page, 1);
	page_unlock(page);
	return freed;
}

/* Tries to free `target` pages; how many it did. */
static u64 reclaim_pages(u64 target, enum kind kind)
{
	u64 freed = 0, looked = 0, limit = 2 * lru_count + 1;
	struct page *page;

	while (freed < target && looked++ < limit && (page = lru_next())) {
		freed += reclaim_page(page, kind);
		page_put(page);
	}
	return freed;
}

/* --- the task --- */

static void reclaim_kick(void)
{
	if (!atomic_exchange_explicit(&running, true, memory_order_acq_rel))
		wait_wake_all(&kicked);
}

/* Above the mark at which the allocator kicks, with room to spare. */
static bool enough_free(enum kind kind)
{
	struct memory_info info;

	memory_info(&info);
	if (kind == POOL)
		return info.pool_free > info.pool_total / 20 + (pool_is_separate() ? 0 : info.kept);
	return !pool_is_separate() || info.free - info.pool_free > (info.total - info.pool_total) / 20 + info.kept;
}

/* One round: false if nothing could be had. */
static bool reclaim_round(void)
{
	u64 freed = 0;

	if (!enough_free(POOL))
		freed += reclaim_pages(BATCH, POOL);
	if (!enough_free(PRIVATE))
		freed += reclaim_pages(BATCH, PRIVATE);
	return freed;
}

ASYNC(reclaim_task, u32 ticket;)
{
	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&kicked);
		AWAIT(vfs_shrink, .n = 128);
		while (!(enough_free(POOL) && enough_free(PRIVATE)) && reclaim_round())
			AWAIT(task_yield);
		if (!(enough_free(POOL) && enough_free(PRIVATE))) {
			/* What is left is dirty or in use: write, and look again soon. */
			writeback_kick();
			AWAIT(sleep_until, .deadline = time_monotonic() + NSEC_PER_SEC / 20, .uninterruptible = true);
		}
		atomic_store_explicit(&running, false, memory_order_release);
		AWAIT(wait_on, .queue = &kicked, .ticket = f->ticket, .uninterruptible = true);
	}
	ASYNC_END;
}

/* A batch of private memory, for somebody's frame. */
static bool reclaim_for_frames(void)
{
	return reclaim_pages(BATCH, pool_is_separate() ? PRIVATE : POOL);
}

static void reclaim_init(void)
{
	if (!task_spawn("reclaim", &reclaim_task_fn, NULL, 0))
		panic("no memory for the reclaim task");
	page_set_reclaim(reclaim_kick);
	async_set_reclaim(reclaim_for_frames);
}
INITCALL(INIT_LATE, reclaim_init);

/* --- who must have a page --- */

#define TRIES_BEFORE_KILL 20u
#define TRIES_AFTER_KILL  200u

static struct wait_queue nobody_wakes = WAIT_QUEUE_INIT(nobody_wakes);

/*
 * Pages on their way to a device will be free: however long it takes, that is no reason to kill. Dirty ones will be as long as some
 * were written since the last look: *written.
 */
static bool help_is_coming(enum kind kind, u64 *written)
{
	struct memory_info info;
	u64 before = *written;

	if (kind != POOL)
		return false;
	memory_info(&info);
	*written = writeback_written();
	return info.writeback > 4 * BATCH || (info.dirty + info.writeback > 4 * BATCH && *written != before);
}

static bool is_dying(struct task *self)
{
	return atomic_load_explicit(&self->flags, memory_order_relaxed) & TASK_THREAD && signal_fatal_pending(thread_of(self));
}

ASYNC_DEFINE_SHALLOW(page_alloc_wait, sizeof(struct wait_on_frame))
{
	enum kind kind = f->flags & ALLOC_POOL || !pool_is_separate() ? POOL : PRIVATE;
	struct page *page;

	ASYNC_BEGIN;
	for (;; f->tries++) {
		page = page_alloc(f->order, f->flags);
		if (page)
			ASYNC_RETURN((long)page);
		if (reclaim_pages(BATCH << f->order, kind) && f->tries < TRIES_BEFORE_KILL)
			continue;
		if (!f->must && (f->tries > TRIES_AFTER_KILL || is_dying(self)))
			ASYNC_RETURN(-ENOMEM); /* its end gives memory back */
		if (f->tries >= TRIES_BEFORE_KILL && help_is_coming(kind, &f->written))
			f->tries = TRIES_BEFORE_KILL;
		else if (f->tries >= TRIES_BEFORE_KILL && f->tries % TRIES_BEFORE_KILL == 0)
			AWAIT_TRY(oom_kill);
		writeback_kick();
		AWAIT_TRY(wait_on, .queue = &nobody_wakes, .ticket = wait_ticket(&nobody_wakes),
			.deadline = time_monotonic() + NSEC_PER_SEC / 100, .uninterruptible = true);
	}
	ASYNC_END;
}

/* What frames, objects and tables are made of. */
ASYNC_DEFINE_SHALLOW(memory_wait, sizeof(struct page_alloc_wait_frame) + sizeof(struct wait_on_frame))
{
	ASYNC_BEGIN;
	AWAIT_TRY(page_alloc_wait, .must = true);
	page_put((struct page *)RESULT);
	if (task_should_yield(self))
		AWAIT_TRY(task_yield);
	ASYNC_RETURN(f->result);
	ASYNC_END;
}

ASYNC_DEFINE(memory_wait_for)
{
	ASYNC_BEGIN;
	AWAIT(page_alloc_wait, .flags = f->flags, .tries = f->tries);
	if (IS_ERR((void *)RESULT))
		ASYNC_RETURN(-ENOMEM);
	page_put((struct page *)RESULT);
	if (pool_is_separate() && f->flags & ALLOC_POOL) {
		AWAIT(page_alloc_wait, .flags = ALLOC_USER, .tries = f->tries);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(-ENOMEM);
		page_put((struct page *)RESULT);
	}
	if (task_should_yield(self))
		AWAIT(task_yield);
	ASYNC_RETURN(0);
	ASYNC_END;
}
