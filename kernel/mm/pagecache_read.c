/* SPDX-License-Identifier: MIT */
/*
 * Reading through the page cache. A miss fills a run of absent pages with one operation of the file system. Sequential
 * readers get runs that double up to READ_AHEAD_MAX, and in the middle of each a marked page: who reads that one starts
 * the next run in a task of its own, so the reader rarely waits.
 */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/string.h>
#include <lichen/task.h>
#include <asm/errno.h>

#define READ_AHEAD_MIN 4u
#define READ_AHEAD_MAX 32u /* pages: 128 KiB */

#define STARVED_MAX    20u /* waits for memory of one page */

/*
 * Fills the run of absent pages around `wanted`: at most `before` pages below it, `count` in all. 0 or -errno: then some may
 * not be UPTODATE. Nothing happens if somebody else fills `wanted`.
 */
ASYNC_STATIC(fill, struct page_cache *cache; u64 wanted; u32 before; u32 count; bool mark; long error; u32 n; u64 first;
	struct page *pages[READ_AHEAD_MAX];);

/* Adds what is absent; the pages are locked and referenced. */
static long fill_add(struct fill_frame *f)
{
	struct page_cache *cache = f->cache;
	long error = 0;

	f->first = f->wanted;
	f->n = 0;
	spin_lock(&cache->lock);
	if (!radix_find(&cache->pages, f->wanted))
		while (f->first > f->wanted - f->before && !radix_find(&cache->pages, f->first - 1))
			f->first--;
	while (f->n < f->count) {
		struct page *page = cache_add(cache, f->first + f->n);

		if (!page || IS_ERR(page)) {
			error = page ? PTR_ERR(page) : 0;
			break;
		}
		f->pages[f->n++] = page;
	}
	spin_unlock(&cache->lock);
	return f->first + f->n > f->wanted ? 0 : error;
}

static void fill_zero(struct fill_frame *f)
{
	for (u32 i = 0; i < f->n; i++) {
		page_zero(page_address(f->pages[i]));
		page_set(f->pages[i], PAGE_UPTODATE);
		page_unlock(f->pages[i]);
	}
}

ASYNC_STATIC_DEFINE(fill)
{
	ASYNC_BEGIN;
	f->error = fill_add(f);
	if (!f->n)
		ASYNC_RETURN(f->error);
	if (f->mark && f->n > READ_AHEAD_MIN)
		page_set(f->pages[f->n / 2], PAGE_READAHEAD);
	if (f->cache->ops->read) {
		AWAIT_OP(f->cache->ops->read, page_cache_read, .cache = f->cache, .pages = f->pages, .count = f->n,
			.index = f->first);
		f->error = RESULT;
	} else {
		fill_zero(f);
	}
	while (f->n)
		page_put(f->pages[--f->n]);
	ASYNC_RETURN(f->error);
	ASYNC_END;
}

/* A page that is in the cache, filled or not, with a reference. */
static struct page *find_any(struct page_cache *cache, u64 index)
{
	struct page *page;

	spin_lock(&cache->lock);
	page = radix_find(&cache->pages, index);
	if (page)
		page_get(page);
	spin_unlock(&cache->lock);
	return page;
}

/* Of the run to fill for a miss: how many pages before the one that is wanted, and in all. */
static u32 miss_before(const struct page_cache_get_frame *f)
{
	return f->fault && f->cache->ops->read ? (u32)(f->index & 15) : 0;
}

static u32 miss_count(const struct page_cache_get_frame *f)
{
	u64 pages = div_round_up(f->cache->inode->size, PAGE_SIZE), from = f->index - miss_before(f);

	if (f->index >= pages || !f->cache->ops->read)
		return miss_before(f) + 1;
	return (u32)min(pages - from, (u64)(f->fault ? READ_AHEAD_MAX : min(f->ahead + 1, READ_AHEAD_MAX)));
}

ASYNC_DEFINE(page_cache_get)
{
	ASYNC_BEGIN;
	for (;;) {
		f->page = find_any(f->cache, f->index);
		if (!f->page) {
			AWAIT(fill, .cache = f->cache, .wanted = f->index, .before = f->starved ? 0 : miss_before(f),
				.count = f->starved ? 1 : miss_count(f), .mark = f->ahead > 0);
			if (RESULT == -ENOMEM)
				goto starved;
			f->page = page_cache_find(f->cache, f->index);
			if (f->page)
				ASYNC_RETURN((long)f->page);
			if (RESULT < 0)
				ASYNC_RETURN(RESULT);
			continue;
		}
		if (page_test(f->page, PAGE_UPTODATE))
			ASYNC_RETURN((long)f->page);
		AWAIT(page_lock, .page = f->page);
		if (page_test(f->page, PAGE_UPTODATE) || f->page->cache != f->cache) {
			page_unlock(f->page);
			page_put(f->page);
			continue;
		}
		/* An earlier read failed, or a writer gave up before it had filled it. */
		if (!f->cache->ops->read) {
			page_zero(page_address(f->page));
			page_set(f->page, PAGE_UPTODATE);
			page_unlock(f->page);
			ASYNC_RETURN((long)f->page);
		}
		AWAIT_OP(f->cache->ops->read, page_cache_read, .cache = f->cache, .pages = &f->page, .count = 1, .index = f->index);
		if (page_test(f->page, PAGE_UPTODATE))
			ASYNC_RETURN((long)f->page);
		page_put(f->page);
		if (RESULT != -ENOMEM)
			ASYNC_RETURN(RESULT < 0 ? RESULT : -EIO);
starved:
		/* Later, and no more than this page. */
		if (f->starved++ == STARVED_MAX)
			ASYNC_RETURN(-ENOMEM);
		AWAIT(memory_wait_for, .flags = cache_alloc_flags(f->cache), .tries = f->starved);
		if (RESULT < 0)
			ASYNC_RETURN(-ENOMEM);
	}
	ASYNC_END;
}

/* --- read-ahead --- */

ASYNC(read_ahead, struct page_cache *cache; struct inode *inode; u64 from; u64 end;)
{
	ASYNC_BEGIN;
	while (f->from < f->end) {
		AWAIT(fill, .cache = f->cache, .wanted = f->from,
			.count = (u32)min(f->end - f->from, (u64)READ_AHEAD_MAX), .mark = true);
		if (RESULT < 0)
			break;
		f->from += READ_AHEAD_MAX;
	}
	AWAIT(inode_put, .inode = f->inode);
	ASYNC_END;
}

struct read_ahead_args {
	struct page_cache *cache;
	struct inode *inode;
	u64 from, end;
};

static void read_ahead_start(struct page_cache *cache, u64 from, u64 end)
{
	struct read_ahead_args args = {.cache = cache, .inode = cache->inode, .from = from};

	args.end = min(end, div_round_up(cache->inode->size, PAGE_SIZE));
	if (args.from >= args.end || !cache->ops->read)
		return;
	inode_get(args.inode); /* the caller's file holds it now */
	if (task_spawn("read-ahead", &read_ahead_fn, &args, sizeof(args)))
		return;
	/* No memory for a task: nothing is read ahead. The caller's reference is not the last. */
	atomic_fetch_sub_explicit(&args.inode->refcount, 1, memory_order_acq_rel);
}

void page_cache_will_need(struct page_cache *cache, u64 start, u64 end)
{
	u64 first = start >> PAGE_SHIFT;

	/* As much as may be read for nothing. */
	read_ahead_start(cache, first, min(div_round_up(end, PAGE_SIZE), first + 8 * READ_AHEAD_MAX));
}

/* A miss at `index` of a read of `bytes` at `pos`: how many pages to read beyond it. */
static u32 ahead_of(struct page_cache *cache, u64 index, u64 bytes)
{
	u64 request = div_round_up(bytes, PAGE_SIZE);
	bool sequential = !index || index == cache->read_ahead_next || index + 1 == cache->read_ahead_next;

	if (sequential)
		cache->read_ahead = min(READ_AHEAD_MAX, max(READ_AHEAD_MIN, cache->read_ahead * 2));
	else
		cache->read_ahead = 0;
	return (u32)min((u64)READ_AHEAD_MAX, max(request, (u64)cache->read_ahead)) - 1;
}

/* --- read(2) --- */

/* What of the current page is to be read: 0 at the end. */
static u64 read_step(const struct page_cache_read_frame *f)
{
	u64 size = f->cache->inode->size;

	if (f->pos >= size)
		return 0;
	return min(min(PAGE_SIZE - (f->pos & ~PAGE_MASK), (u64)f->to->left), size - f->pos);
}

/* Copies from f->page and lets it go: false if user memory has to be waited for. */
static bool read_copy(struct page_cache_read_frame *f, u64 n)
{
	size_t copied = kiov_write(f->to, (char *)page_address(f->page) + (f->pos & ~PAGE_MASK), n);

	page_put(f->page);
	f->pos += copied;
	f->done += copied;
	return copied == n;
}

static void read_marked(struct page_cache *cache, struct page *page)
{
	if (!page_clear(page, PAGE_READAHEAD))
		return;
	/* The run's second half is still there: twice the size from its end on. */
	cache->read_ahead = min(READ_AHEAD_MAX, max(READ_AHEAD_MIN, cache->read_ahead * 2));
	read_ahead_start(cache, page->index + 1, page->index + 1 + READ_AHEAD_MAX + cache->read_ahead / 2);
}

ASYNC_DEFINE(page_cache_read)
{
	ASYNC_BEGIN;
	while (f->to->left && read_step(f)) {
		f->page = page_cache_find(f->cache, f->pos >> PAGE_SHIFT);
		if (unlikely(!f->page)) {
			AWAIT(page_cache_get, .cache = f->cache, .index = f->pos >> PAGE_SHIFT,
				.ahead = ahead_of(f->cache, f->pos >> PAGE_SHIFT, (f->pos & ~PAGE_MASK) + f->to->left));
			if (IS_ERR((void *)RESULT))
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
			f->page = (struct page *)RESULT;
		}
		if (unlikely(page_test(f->page, PAGE_READAHEAD)))
			read_marked(f->cache, f->page);
		if (!read_copy(f, read_step(f))) {
			AWAIT(kiov_fault_in, .iov = f->to, .write = true);
			if (RESULT < 0)
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
		}
		if (unlikely(task_should_yield(self)))
			AWAIT(task_yield);
	}
	f->cache->read_ahead_next = div_round_up(f->pos, PAGE_SIZE);
	ASYNC_RETURN(f->done);
	ASYNC_END;
}
