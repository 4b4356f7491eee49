/* SPDX-License-Identifier: MIT */
/*
 * Reading through the page cache. A miss fills a run of absent pages with one operation of the file system. Sequential
 * readers get runs that double up to READ_AHEAD_MAX, and in the middle of each a marked page: who reads that one starts
 * the next run in a task of its own, so the reader rarely waits.
 */
#include "internal.h"
#include <lichen/process.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/task.h>
#include <asm/errno.h>

#define READ_AHEAD_MIN 4u
#define READ_AHEAD_MAX 128u /* pages: 512 KiB */
#define FAULT_AHEAD    32u  /* of a fault, which may jump the next time */
#define FILL_IN_FRAME  8u
#define READ_BATCH     16u /* pages that read(2) holds at a time */

#define STARVED_MAX    20u /* waits for memory of one page */

/*
 * Fills the run of absent pages around `wanted`: at most `before` pages below it, `count` in all. 0 or -errno: then some may
 * not be UPTODATE. Nothing happens if somebody else fills `wanted`.
 */
ASYNC_STATIC(fill, struct page_cache *cache; u64 wanted; u32 before; u32 count; bool mark; long error; u32 n; u64 first;
	struct page **pages; struct page *few[FILL_IN_FRAME];);

/* Adds what is absent; the pages are locked. */
static long fill_add(struct fill_frame *f)
{
	struct page_cache *cache = f->cache;
	long n;

	f->first = f->wanted;
	spin_lock(&cache->lock);
	if (f->before && !radix_find(&cache->pages, f->wanted))
		while (f->first > f->wanted - f->before && !radix_find(&cache->pages, f->first - 1))
			f->first--;
	n = cache_add_run(cache, f->first, f->count, f->pages);
	spin_unlock(&cache->lock);
	f->n = n > 0 ? (u32)n : 0;
	return f->first + f->n > f->wanted || n > 0 ? 0 : n;
}

/* Room for the run, or less of a run. */
static void fill_room(struct fill_frame *f)
{
	f->pages = f->few;
	if (likely(f->count <= FILL_IN_FRAME))
		return;
	f->pages = kmalloc(f->count * sizeof(*f->pages));
	if (f->pages)
		return;
	f->pages = f->few;
	f->before = 0;
	f->count = FILL_IN_FRAME;
}

static void fill_zero(struct fill_frame *f)
{
	for (u32 i = 0; i < f->n; i++) {
		page_zero(page_address(f->pages[i]));
		page_filled(f->pages[i]);
	}
}

ASYNC_STATIC_DEFINE(fill)
{
	ASYNC_BEGIN;
	fill_room(f);
	f->error = fill_add(f);
	if (!f->n)
		goto out;
	if (f->mark && f->n > READ_AHEAD_MIN)
		page_set(f->pages[f->n / 2], PAGE_READAHEAD);
	if (f->cache->ops->read) {
		AWAIT_OP(f->cache->ops->read, page_cache_read, .cache = f->cache, .pages = f->pages, .count = f->n,
			.index = f->first);
		f->error = RESULT;
	} else {
		fill_zero(f);
	}
out:
	if (f->pages != f->few)
		kfree(f->pages);
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
	return (u32)min(pages - from, (u64)(f->fault ? FAULT_AHEAD : min(f->ahead + 1, READ_AHEAD_MAX)));
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

/* The first page of [from, end) that is absent; `end`: all are there. */
static u64 first_absent(struct page_cache *cache, u64 from, u64 end)
{
	void *const *leaf;

	spin_lock(&cache->lock);
	while (from < end && (leaf = radix_leaf(&cache->pages, from)) && leaf[from % RADIX_LEAF])
		do
			from++;
		while (from < end && from % RADIX_LEAF && leaf[from % RADIX_LEAF]);
	spin_unlock(&cache->lock);
	return from;
}

ASYNC(read_ahead, struct page_cache *cache; struct inode *inode; u64 from; u64 end; u32 count;)
{
	ASYNC_BEGIN;
	while ((f->from = first_absent(f->cache, f->from, f->end)) < f->end) {
		f->count = (u32)min(f->end - f->from, (u64)READ_AHEAD_MAX);
		AWAIT(fill, .cache = f->cache, .wanted = f->from, .count = f->count, .mark = true);
		if (RESULT < 0)
			break;
		f->from += f->count;
	}
	AWAIT(inode_put, .inode = f->inode);
	ASYNC_END;
}

struct read_ahead_args {
	struct page_cache *cache;
	struct inode *inode;
	u64 from, end;
};

static void read_ahead_start(struct page_cache *cache, u64 from, u64 count)
{
	struct read_ahead_args args = {.cache = cache, .inode = cache->inode, .from = from};

	args.end = min(from + count, div_round_up(cache->inode->size, PAGE_SIZE));
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
	read_ahead_start(cache, first, min(div_round_up(end, PAGE_SIZE) - first, 2ull * READ_AHEAD_MAX));
}

/* The size of a sequential reader's next run: twice the last, and at least what is asked for at once. */
static u32 read_ahead_next(const struct page_cache *cache, u64 request)
{
	return (u32)min((u64)READ_AHEAD_MAX, max((u64)max(READ_AHEAD_MIN, cache->read_ahead * 2), request));
}

/* A miss at `index` of a read of `bytes` at `pos`: how many pages to read beyond it. */
static u32 ahead_of(struct page_cache *cache, u64 index, u64 bytes)
{
	u64 request = div_round_up(bytes, PAGE_SIZE);
	bool sequential = !index || index == cache->read_ahead_next || index + 1 == cache->read_ahead_next;

	if (sequential)
		cache->read_ahead = read_ahead_next(cache, request);
	else
		cache->read_ahead = 0;
	return (u32)min((u64)READ_AHEAD_MAX, max(request, (u64)cache->read_ahead)) - 1;
}

/* --- read(2) --- */

/* What is to be read from `pos` on: 0 at the end. */
static u64 read_left(const struct page_cache_read_frame *f)
{
	u64 size = f->cache->inode->size;

	return f->pos >= size ? 0 : min((u64)f->to->left, size - f->pos);
}

static void read_marked(struct page_cache *cache, struct page *page)
{
	if (!page_clear(page, PAGE_READAHEAD))
		return;
	/* The run's second half is still there: twice the size from its end on. */
	cache->read_ahead = read_ahead_next(cache, 0);
	read_ahead_start(cache, first_absent(cache, page->index + 1, page->index + 1 + READ_AHEAD_MAX), cache->read_ahead);
}

/* Copies from neighbours in memory, `n` bytes from f->pos on: false if user memory has to be waited for. */
static bool read_copy(struct page_cache_read_frame *f, struct page *page, u64 n)
{
	size_t copied = kiov_write(f->to, (char *)page_address(page) + (f->pos & ~PAGE_MASK), n);

	f->pos += copied;
	f->done += copied;
	return copied == n;
}

/*
 * Copies from a run of pages, which are let go. False if user memory has to be waited for. Pages that are neighbours in memory, too, are
 * copied as one.
 */
static bool read_run(struct page_cache_read_frame *f, struct page **pages, u32 count)
{
	u64 left = read_left(f);
	bool whole = true;

	for (u32 i = 0; i < count; i++)
		if (unlikely(page_test(pages[i], PAGE_READAHEAD)))
			read_marked(f->cache, pages[i]);
	for (u32 i = 0, next; i < count && left && whole; i = next) {
		u64 n;

		for (next = i + 1; next < count && pages[next] == pages[i] + (next - i);)
			next++;
		n = min((u64)(next - i) * PAGE_SIZE - (f->pos & ~PAGE_MASK), left);
		whole = read_copy(f, pages[i], n);
		left -= n;
	}
	page_put_run(pages, count);
	return whole;
}

/* All that is there from f->pos on, READ_BATCH pages at most: 0, -ENOENT if there is nothing, -EFAULT if user memory has to be waited for. */
static long read_cached(struct page_cache_read_frame *f)
{
	struct page *pages[READ_BATCH];
	u64 wanted = div_round_up((f->pos & ~PAGE_MASK) + read_left(f), PAGE_SIZE);
	u32 count = cache_find_run(f->cache, f->pos >> PAGE_SHIFT, (u32)min(wanted, (u64)READ_BATCH), pages);

	if (!count)
		return -ENOENT;
	return read_run(f, pages, count) ? 0 : -EFAULT;
}

ASYNC_DEFINE(page_cache_read)
{
	ASYNC_BEGIN;
	while (read_left(f)) {
		f->error = read_cached(f);
		if (unlikely(f->error == -ENOENT)) {
			AWAIT(page_cache_get, .cache = f->cache, .index = f->pos >> PAGE_SHIFT,
				.ahead = ahead_of(f->cache, f->pos >> PAGE_SHIFT, (f->pos & ~PAGE_MASK) + f->to->left));
			if (IS_ERR((void *)RESULT))
				ASYNC_RETURN(f->done ? (long)f->done : RESULT);
			f->page = (struct page *)RESULT;
			f->error = read_run(f, &f->page, 1) ? 0 : -EFAULT;
		}
		if (f->error) {
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
