/* SPDX-License-Identifier: MIT */
/*
 * Physical pages. Two zones: PRIVATE memory is the kernel's alone; POOL memory is also seen by the driver domain, and
 * holds what devices read and write (page cache, rings, buffers). Nothing executable and no page table lies in the pool.
 * Without a driver domain (--direct) all memory counts as both.
 */
#ifndef LICHEN_PAGE_H
#define LICHEN_PAGE_H

#include <lichen/types.h>
#include <lichen/list.h>

struct page_cache;

enum page_flag {
	PAGE_RESERVED = 1 << 0, /* never the allocator's */
	PAGE_POOL = 1 << 1,	/* lies in the pool (all pages, without a driver domain) */
	PAGE_FREE = 1 << 2,	/* in the buddy lists */
	PAGE_SLAB = 1 << 3,
	PAGE_ANON = 1 << 4,	/* mapped by address spaces, belongs to no file */
	PAGE_UPTODATE = 1 << 5, /* page cache: holds what the file says */
	PAGE_DIRTY = 1 << 6,
	PAGE_WRITEBACK = 1 << 7, /* being written; may not be changed by truncate or reclaim */
	PAGE_LOCKED = 1 << 8,	 /* being filled, truncated or reclaimed: page_lock */
	PAGE_REFERENCED = 1 << 9,
	PAGE_TABLE = 1 << 10,
	PAGE_WAITERS = 1 << 11,	 /* somebody waits for LOCKED or WRITEBACK to go */
	PAGE_COHERENT = 1 << 12, /* instruction fetch sees its contents */
	PAGE_SHMEM = 1 << 13,	 /* page cache of a file that lives in memory alone */
	PAGE_STORED = 1 << 15,	 /* its bytes may change, or did since a copy for execution was begun */
	PAGE_READAHEAD = 1 << 14, /* who reads it should start reading what follows */
};

struct page {
	_Atomic u32 refcount; /* 0: free. The page cache holds one, each mapping one, each user one */
	_Atomic u32 flags;
	_Atomic u32 mapcount; /* page-table entries that map it */
	u32 order;	      /* of the block it heads */
	struct page_cache *cache; /* page cache: owner; guarded by its lock */
	u64 index;		  /* page cache: page offset in the file. Slab: free for the slab */
	struct list list;	  /* buddy list, LRU, or whoever owns the page */
	struct page *executable;  /* the private copy that is mapped executable, or NULL */
	void *private;
};

#define ALLOC_POOL	1u /* from the pool; else from private memory */
#define ALLOC_ZERO	2u
#define ALLOC_NOFAIL_RESERVE 4u /* may use the last reserve: for what frees memory */
#define ALLOC_USER	8u /* for programs, by somebody who can wait (page_alloc_wait): fails before the kernel's own do */

/* 2^order contiguous pages with reference count 1, or NULL. Never blocks; kicks reclaim when memory gets low. */
struct page *page_alloc(unsigned order, unsigned flags);
/*
 * Up to n single pages with reference count 1 each, in as few stretches of neighbours as there is room for: how many. Fewer than n
 * when memory is short, 0 where page_alloc yields NULL. Never zeroed.
 */
u32 page_alloc_run(struct page **pages, u32 n, unsigned flags);
/* Pages allocated since boot, a block as one: for tests of hot paths. */
u64 page_allocations(void);
void page_get(struct page *page);
/* Drops a reference; the last one frees the block. */
void page_put(struct page *page);
void page_put_run(struct page **pages, u32 n); /* the same for each */

phys_addr_t page_phys(const struct page *page);
struct page *phys_page(phys_addr_t phys); /* NULL where there is no RAM of ours */
struct page *phys_page_own(phys_addr_t phys); /* the caller knows that there is */
void *page_address(const struct page *page); /* in the linear map */
struct page *address_page(const void *address);
void *phys_address(phys_addr_t phys); /* linear map */
phys_addr_t address_phys(const void *address);
static inline bool page_test(const struct page *page, u32 flag)
{
	return atomic_load_explicit(&((struct page *)(uintptr_t)page)->flags, memory_order_acquire) & flag;
}
static inline void page_set(struct page *page, u32 flag)
{
	atomic_fetch_or_explicit(&page->flags, flag, memory_order_acq_rel);
}
/* Returns whether it was set. */
static inline bool page_clear(struct page *page, u32 flag)
{
	return atomic_fetch_and_explicit(&page->flags, ~flag, memory_order_acq_rel) & flag;
}

struct memory_info {
	u64 total, free;	   /* pages, both zones */
	u64 pool_total, pool_free; /* of these, in the pool */
	u64 kept;		   /* of the free ones, private: for frames */
	u64 cached, dirty, writeback, anonymous, slab, tables;
};
void memory_info(struct memory_info *info);
/* What the owners of pages report, in pages. */
enum memory_counter { MEMORY_CACHED, MEMORY_DIRTY, MEMORY_WRITEBACK, MEMORY_ANONYMOUS, MEMORY_SLAB, MEMORY_TABLES, MEMORY_COUNTERS };
void memory_count(enum memory_counter counter, s64 delta);
/* So many more bytes (or less) of private memory are kept for ALLOC_NOFAIL_RESERVE. */
void page_reserve_frames(s64 bytes);
/* Called when free memory gets low, from any context: may wake, no more. */
void page_set_reclaim(void (*kick)(void));
bool pool_is_separate(void); /* a driver domain sees the pool */

#endif
