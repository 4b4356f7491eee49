/* SPDX-License-Identifier: MIT */
/*
 * The page cache: the pages of a file (or block device) that are in memory, in the pool. read(2), write(2), mmap(2) and
 * exec all go through it; the file system fills and cleans it with the two operations below.
 */
#ifndef LICHEN_PAGECACHE_H
#define LICHEN_PAGECACHE_H

#include <lichen/async.h>
#include <lichen/list.h>
#include <lichen/page.h>
#include <lichen/radix.h>
#include <lichen/wait.h>

struct inode;
struct kiov;
struct file;
struct page_cache;

/*
 * Fill `count` consecutive pages from index on: they are locked and in the cache; the file system reads (beyond the end of
 * file: zeroes), marks each UPTODATE or not, and unlocks it (page_unlock), also on errors. 0 or -errno.
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
 * need (space, blocks) so that it can't fail later. NULL: nothing to do. 0, -ENOSPC, -EDQUOT, -EROFS.
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
	spinlock_t lock; /* guards pages, areas, the counts */
	struct radix_tree pages;
	u64 count, dirty;
	struct list areas;	/* VMAs that map it */
	struct list dirty_node; /* caches with dirty pages, for writeback */
	struct wait_queue wait; /* page unlocked, writeback ended */
	_Atomic s32 writable_maps; /* shared writable mappings; < 0: executed, writers get ETXTBSY */
	long error; /* of a writeback, for the next fsync */
	u32 error_sequence;
	u64 read_ahead_next; /* where a sequential reader would go on */
};

void page_cache_init(struct page_cache *cache, struct inode *inode, const struct page_cache_ops *ops);

/* The page, with a reference, UPTODATE, or NULL: never waits. */
struct page *page_cache_find(struct page_cache *cache, u64 index);
/* The same, read from the file if need be (with read-ahead): RESULT is the page (as long), or -errno. Past the end: a zero page. */
ASYNC_DECLARE(page_cache_get, struct page_cache *cache; u64 index; u32 read_ahead; u64 aux[6];);
/* Locked: nobody else fills, truncates or reclaims it. */
ASYNC_DECLARE(page_lock, struct page *page; u32 ticket;);
bool page_trylock(struct page *page);
void page_unlock(struct page *page);
/* Under a reference. It will be written back in at most 5 s, or by sync. */
void page_cache_dirty(struct page *page);

/* The file operations of files that are cached: bytes, or -errno. The inode's size rules; write extends it and its times change. */
ASYNC_DECLARE(page_cache_read, struct page_cache *cache; struct kiov *to; u64 pos; u64 aux[8];);
ASYNC_DECLARE(page_cache_write, struct page_cache *cache; struct kiov *from; u64 pos; u64 aux[8];);

/* Writes dirty pages of [start, end) bytes and waits for them: 0 or the first error. */
ASYNC_DECLARE(page_cache_sync, struct page_cache *cache; u64 start; u64 end; u64 aux[8];);
/* Drops pages from byte `size` on, zeroes the tail of the last one, unmaps. Waits for pages being read or written. */
ASYNC_DECLARE(page_cache_truncate, struct page_cache *cache; u64 size; u64 aux[6];);
/* Drops all clean, unused pages of a range, as before O_DIRECT writes and for POSIX_FADV_DONTNEED: after a sync, when wanted. */
ASYNC_DECLARE(page_cache_drop, struct page_cache *cache; u64 start; u64 end; u64 aux[6];);
/* The inode goes: every page is dropped, dirty or not. */
ASYNC_DECLARE(page_cache_destroy, struct page_cache *cache; u64 aux[6];);
/*
 * What a program may execute of a page: the page itself without a driver domain, else its private copy, made at first use,
 * with caches made coherent. A referenced page, or -ENOMEM.
 */
struct page *page_executable(struct page *page);

#endif
