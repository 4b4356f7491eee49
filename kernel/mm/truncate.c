/* SPDX-License-Identifier: MIT */
/* Pages that leave the cache because the file says so: truncated, punched out, dropped, or the inode goes. */
#include "internal.h"
#include <lichen/string.h>
#include <lichen/task.h>
#include <asm/errno.h>

/* The first page at or after *index, with a reference; NULL: none before `end`. */
static struct page *next_page(struct page_cache *cache, u64 *index, u64 end)
{
	struct page *page;

	spin_lock(&cache->lock);
	page = radix_next(&cache->pages, index);
	if (page && *index < end)
		page_get(page);
	else
		page = NULL;
	spin_unlock(&cache->lock);
	return page;
}

/* Drops pages [index, end), dirty or not; waits for those that are being read or written. */
ASYNC(drop_range, struct page_cache *cache; u64 index; u64 end; struct page *page;)
{
	ASYNC_BEGIN;
	while ((f->page = next_page(f->cache, &f->index, f->end))) {
		if (!page_trylock(f->page))
			AWAIT(page_lock, .page = f->page);
		if (page_test(f->page, PAGE_WRITEBACK))
			AWAIT(page_wait, .page = f->page, .flags = PAGE_WRITEBACK);
		if (f->page->cache == f->cache)
			cache_remove(f->cache, f->page);
		page_unlock(f->page);
		page_put(f->page);
		f->index++;
		if (task_should_yield(self))
			AWAIT(task_yield);
	}
	ASYNC_END;
}

ASYNC_DEFINE(page_cache_truncate)
{
	ASYNC_BEGIN;
	/* Mostly before, so that pages go at once; and after, for who mapped one meanwhile. */
	mm_unmap_file_range(f->cache, div_round_up(f->size, PAGE_SIZE), ~0ull, false);
	AWAIT(drop_range, .cache = f->cache, .index = div_round_up(f->size, PAGE_SIZE), .end = ~0ull);
	mm_unmap_file_range(f->cache, div_round_up(f->size, PAGE_SIZE), ~0ull, false);
	if (!(f->size & ~PAGE_MASK))
		ASYNC_RETURN(0);
	/* The tail of the last page is zeroes on disk, too, for when the file grows again. */
	if (f->cache->ops->read) {
		AWAIT(page_cache_get, .cache = f->cache, .index = f->size >> PAGE_SHIFT);
		if (IS_ERR((void *)RESULT))
			ASYNC_RETURN(RESULT);
		f->page = (struct page *)RESULT;
	} else {
		f->page = page_cache_find(f->cache, f->size >> PAGE_SHIFT);
	}
	if (!f->page)
		ASYNC_RETURN(0);
	AWAIT(page_wait, .page = f->page, .flags = PAGE_WRITEBACK);
	memset((char *)page_address(f->page) + (f->size & ~PAGE_MASK), 0, PAGE_SIZE - (f->size & ~PAGE_MASK));
	page_cache_dirty(f->page);
	page_put(f->page);
	ASYNC_END;
}

ASYNC_DEFINE(page_cache_discard)
{
	ASYNC_BEGIN;
	f->index = div_round_up(f->start, PAGE_SIZE);
	if (f->index >= f->end >> PAGE_SHIFT)
		ASYNC_RETURN(0);
	mm_unmap_file_range(f->cache, f->index, f->end >> PAGE_SHIFT, true);
	AWAIT(drop_range, .cache = f->cache, .index = f->index, .end = f->end >> PAGE_SHIFT);
	mm_unmap_file_range(f->cache, f->index, f->end >> PAGE_SHIFT, true);
	ASYNC_END;
}

ASYNC_DEFINE(page_cache_drop)
{
	ASYNC_BEGIN;
	if (!f->cache->ops || (!f->cache->ops->read && !f->cache->ops->write))
		ASYNC_RETURN(0); /* they are all there is */
	f->index = f->start >> PAGE_SHIFT;
	while ((f->page = next_page(f->cache, &f->index, f->end == ~0ull ? ~0ull : div_round_up(f->end, PAGE_SIZE)))) {
		if (page_trylock(f->page)) {
			if (f->page->cache == f->cache)
				cache_remove_unused(f->cache, f->page, 1);
			page_unlock(f->page);
		}
		page_put(f->page);
		f->index++;
		if (task_should_yield(self))
			AWAIT(task_yield);
	}
	ASYNC_END;
}

ASYNC_DEFINE(page_cache_destroy)
{
	ASYNC_BEGIN;
	if (f->cache->count)
		AWAIT(drop_range, .cache = f->cache, .index = 0, .end = ~0ull);
	writeback_forget(f->cache);
	ASYNC_END;
}
