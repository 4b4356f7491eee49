/* SPDX-License-Identifier: MIT */
/*
 * The page cache: the pages of a file (or block device) that are in memory, in the pool (but for files that live in memory alone). read(2), write(2), mmap(2) and
 * exec all go through it; the file system fills and cleans it with the two operations below.
 */
#ifndef LICHEN_PAGECACHE_H
#define LICHEN_PAGECACHE_H

#include <lichen/async.h>
#include <lichen/list.h>
#include <lichen/page.h>
#include <lichen/radix.h>
#include <lichen/uaccess.h>
#include <lichen/wait.h>

struct inode;
struct file;
struct page_cache;

/*
 * Fill `count` consecutive pages from index on: they are locked and in the cache; the file system reads (beyond the end of
 * file: zeroes), then lets each go, after which it may be gone: page_filled, or on errors page_unlock. 0 or -errno.
 */
#define PAGE_CACHE_READ_ARGS struct page_cache *cache; struct page **pages; u32 count; u64 index;
struct page_cache_read_args { PAGE_CACHE_READ_ARGS };
/*
 * Write `count` consecutive pages, marked WRITEBACK and clean, whose bytes lie before the end of file; allocate blocks if
 * it must. When it returns the pages are written (or the error is returned); the caller ends WRITEBACK.
 */
#define PAGE_CACHE_WRITE_ARGS struct page_cache *cache; struct page **pages; u32 count; u64 index;
struct page_cache_write_args { PAGE_CACHE_WRITE_ARGS };
/*
 * Before bytes [pos, pos + n) are dirtied (write(2), or a write fault on a shared mapping): reserve what writing back will
 * need (space, blocks) so that it can't fail later. NULL: nothing to do. 0, -ENOSPC, -EDQUOT, -EROFS. It must not take
 * inode->lock: write(2) holds it, and so may a program whose buffer is a mapping of the same file.
 */
#define PAGE_CACHE_PREPARE_ARGS struct page_cache *cache; u64 pos; u64 n;
struct page_cache_prepare_args { PAGE_CACHE_PREPARE_ARGS };

struct page_cache_ops {
	const struct async_fn *read;	/* PAGE_CACHE_READ_ARGS; NULL: pages begin as zeroes (tmpfs) */
	const struct async_fn *write;	/* PAGE_CACHE_WRITE_ARGS; NULL: never written back (tmpfs) */
	const struct async_fn *prepare; /* PAGE_CACHE_PREPARE_ARGS, or NULL */
};

struct page_cache {
	struct inode *inode;
	const struct page_cache_ops *ops;
	spinlock_t lock; /* guards pages, areas, the counts; mm->table_lock nests inside */
	struct radix_tree pages; /* dirty ones are marked */
	u64 count, dirty;
	struct list areas;	/* VMAs that map it */
	struct list dirty_node; /* caches with dirty pages, for writeback: under the lock of writeback.c */
	nsec_t dirty_since;	/* the oldest dirty page, about */
	struct mutex writeback; /* held while pages are written: who has it knows that nobody else writes */
	_Atomic s32 writable_maps; /* shared writable mappings; < 0: executed, writers get ETXTBSY */
	long error; /* of a writeback, for the next fsync */
	u32 error_sequence;
	u64 read_ahead_next; /* page index at which a sequential reader would go on */
	u32 read_ahead;	     /* pages of the last read-ahead */
};

void page_cache_init(struct page_cache *cache, struct inode *inode, const struct page_cache_ops *ops);

/* The page, with a reference, UPTODATE, or NULL: never waits. */
struct page *page_cache_find(struct page_cache *cache, u64 index);
/*
 * The same, read from the file if need be, with up to `ahead` pages that follow; fault: with what lies around. RESULT is
 * the page (as long), or -errno. Past the end: a zero page.
 */
ASYNC_DECLARE(page_cache_get, struct page_cache *cache; u64 index; u32 ahead; bool fault; u32 starved; struct page *page;);
/* Waits until none of PAGE_LOCKED, PAGE_WRITEBACK that are asked for is set. Uninterruptible. */
ASYNC_DECLARE(page_wait, struct page *page; u32 flags; u32 ticket;);
/* Locked: nobody else fills, truncates or reclaims it. */
ASYNC_DECLARE(page_lock, struct page *page;);
bool page_trylock(struct page *page);
void page_unlock(struct page *page);
/* A locked page holds what the file says: UPTODATE, and unlocked. */
void page_filled(struct page *page);
/* Under a reference. It will be written back in at most 5 s, or by sync. */
void page_cache_dirty(struct page *page);

/*
 * The file operations of files that are cached: bytes, or -errno. The inode's size rules; write extends it.
 * The caller of write holds inode->lock and has set the times.
 */
ASYNC_DECLARE(page_cache_read, struct page_cache *cache; struct kiov *to; u64 pos; u64 done; long error; struct page *page;);
ASYNC_DECLARE(page_cache_write, struct page_cache *cache; struct kiov *from; u64 pos; u64 done; u64 n; u64 copied;
	u64 limit; struct page *page; struct kiov_mark mark; long error; u32 starved; bool filling;);

/*
 * Writes dirty pages of [start, end) bytes and waits for them: 0 or the first error. What could not be written for want of memory
 * (-ENOMEM) stays dirty; after any other error it is clean, and lost.
 */
ASYNC_DECLARE(page_cache_sync, struct page_cache *cache; u64 start; u64 end; struct page **pages; u64 index; u32 count; u32 room;
	long error; long failed; u32 starved; struct page *one;);
/*
 * After inode->size was set to `size`: drops pages that lie beyond, zeroes the tail of the last one, unmaps. Waits for pages being
 * read or written. 0, or -errno if the tail could not be read.
 */
ASYNC_DECLARE(page_cache_truncate, struct page_cache *cache; u64 size; struct page *page;);
/* Drops all pages of [start, end) bytes (whole pages inside), dirty ones too, as punching a hole does. */
ASYNC_DECLARE(page_cache_discard, struct page_cache *cache; u64 start; u64 end; u64 index; struct page *page;);
/* Drops all clean, unused pages of a range, as before O_DIRECT writes and for POSIX_FADV_DONTNEED: after a sync, when wanted. */
ASYNC_DECLARE(page_cache_drop, struct page_cache *cache; u64 start; u64 end; u64 index; struct page *page;);
/* The inode goes: every page is dropped, dirty or not. */
ASYNC_DECLARE(page_cache_destroy, struct page_cache *cache;);
/* POSIX_FADV_WILLNEED, readahead(2), MADV_WILLNEED: reads what is not there, without waiting for it. */
void page_cache_will_need(struct page_cache *cache, u64 start, u64 end);
/*
 * What a program may execute of a page: the page itself without a driver domain, else its private copy, made at first use,
 * with caches made coherent. A referenced page, or -ENOMEM, or -EAGAIN: it was stored to at the same time, or truncated.
 */
struct page *page_executable(struct page *page);

#endif
