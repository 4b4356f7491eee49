/* SPDX-License-Identifier: MIT */
/*
 * write(2) through the page cache, page by page: the page is read first only if a part of what the file holds stays. User
 * memory may be a mapping of the very page that is written, so a copy never waits while the page is locked: it is undone
 * and made again after the fault. If the fault cannot be resolved, what comes before it is written all the same.
 */
#include "internal.h"
#include <lichen/string.h>
#include <lichen/process.h>
#include <lichen/task.h>
#include <asm/errno.h>

#define STARVED_MAX 200u /* waits for memory of one page */

/* Bytes of this page that are written now. */
static u64 write_step(const struct page_cache_write_frame *f)
{
	return min(min(PAGE_SIZE - (f->pos & ~PAGE_MASK), (u64)f->from->left), f->limit);
}

/* Does the write cover all that the file has in this page? */
static bool covers(const struct page_cache_write_frame *f)
{
	u64 start = f->pos & PAGE_MASK, size = f->cache->inode->size;

	return start >= size || (f->pos == start && (f->n == PAGE_SIZE || f->pos + f->n >= size));
}

/* A page that is there, or a new one that is locked and not UPTODATE; -EAGAIN: it must be read or waited for. */
static struct page *write_page(struct page_cache_write_frame *f)
{
	struct page_cache *cache = f->cache;
	struct page *page;

	spin_lock(&cache->lock);
	page = radix_find(&cache->pages, f->pos >> PAGE_SHIFT);
	if (page && page_test(page, PAGE_UPTODATE)) {
		page_get(page);
	} else if (!page && covers(f)) {
		page = cache_add(cache, f->pos >> PAGE_SHIFT);
	} else {
		page = ERR_PTR(-EAGAIN);
	}
	spin_unlock(&cache->lock);
	return page;
}

/* Fills a new page: what the file does not have is zero. False: the copy was short, only `from` has moved. */
static bool fill_new(struct page_cache_write_frame *f)
{
	char *to = page_address(f->page);
	u64 offset = f->pos & ~PAGE_MASK;

	f->copied = kiov_read(f->from, to + offset, f->n);
	if (f->copied != f->n)
		return false;
	memset(to, 0, offset);
	memset(to + offset + f->n, 0, PAGE_SIZE - offset - f->n);
	page_set(f->page, PAGE_UPTODATE | PAGE_REFERENCED);
	return true;
}

/* The fault at which a page's filling stopped is resolved, or is not (error): back to the page's beginning. */
static long refill(struct page_cache_write_frame *f, long error)
{
	kiov_rewind(f->from, &f->mark);
	if (!error || !f->copied)
		return error;
	f->limit = f->copied; /* as much as there is, then to the fault again */
	return 0;
}

/* n bytes of this page are in: the file has grown by them, and must be written. */
static void written(struct page_cache_write_frame *f, u64 n)
{
	struct inode *inode = f->cache->inode;

	if (!n)
		return;
	cache_will_store(f->cache, f->page);
	page_cache_dirty(f->page);
	f->starved = 0;
	f->limit = ~0ull;
	f->pos += n;
	f->done += n;
	if (f->pos > inode->size) {
		inode->size = f->pos;
		inode_dirty(inode);
	}
}

ASYNC_DEFINE(page_cache_write)
{
	ASYNC_BEGIN;
	f->limit = ~0ull;
	while (f->from->left) {
		f->n = write_step(f);
		if (f->cache->ops->prepare) {
			AWAIT_OP(f->cache->ops->prepare, page_cache_prepare, .cache = f->cache, .pos = f->pos, .n = f->n);
			if (RESULT == -ENOMEM)
				goto starved;
			if (RESULT < 0) {
				f->error = RESULT;
				break;
			}
		}
		f->page = write_page(f);
		if (IS_ERR(f->page)) {
			if (PTR_ERR(f->page) == -ENOMEM) {
starved:
				AWAIT(memory_wait_for, .flags = cache_alloc_flags(f->cache), .tries = f->starved);
				if (RESULT < 0 || f->starved++ == STARVED_MAX) {
					f->error = -ENOMEM;
					break;
				}
				continue;
			}
			AWAIT(page_cache_get, .cache = f->cache, .index = f->pos >> PAGE_SHIFT);
			if (IS_ERR((void *)RESULT)) {
				f->error = RESULT;
				break;
			}
			f->page = (struct page *)RESULT;
		}
		if (page_test(f->page, PAGE_UPTODATE)) {
			u64 n = kiov_read(f->from, (char *)page_address(f->page) + (f->pos & ~PAGE_MASK), f->n);

			written(f, n);
			f->error = n == f->n ? 0 : -EAGAIN;
			f->filling = false;
		} else {
			f->mark = kiov_mark(f->from);
			f->filling = true;
			/* It is ours: nobody else sees it before it is UPTODATE. */
			f->error = fill_new(f) ? 0 : -EAGAIN;
			if (f->error)
				cache_remove(f->cache, f->page);
			page_unlock(f->page);
			if (!f->error)
				written(f, f->n);
		}
		page_put(f->page);
		if (f->error) {
			AWAIT(kiov_fault_in, .iov = f->from, .write = false);
			f->error = f->filling ? refill(f, RESULT) : RESULT;
			if (f->error)
				break;
		}
		if (unlikely(task_should_yield(self))) {
			if (task_signalled(self) && signal_fatal_pending(thread_of(self))) {
				f->error = -EINTR;
				break;
			}
			AWAIT(task_yield);
		}
		if (unlikely(f->cache->ops->write && writeback_too_dirty()))
			AWAIT(page_cache_sync, .cache = f->cache, .start = 0, .end = ~0ull);
	}
	ASYNC_RETURN(f->done ? (long)f->done : f->error);
	ASYNC_END;
}
