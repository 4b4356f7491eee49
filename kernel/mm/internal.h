/* SPDX-License-Identifier: MIT */
/* What the files of kernel/mm/ share, and nobody else needs. */
#ifndef MM_INTERNAL_H
#define MM_INTERNAL_H

#include <lichen/mm.h>
#include <lichen/vfs.h>

/* --- vma.c: all under mm->lock for write, unless said otherwise --- */
struct vma *vma_alloc(struct mm *mm, u64 start, u64 end, u32 flags); /* NULL without memory */
/* A vma that is in no tree; its file's reference is the caller's to drop. */
void vma_free(struct vma *vma);
/* The area that holds `address`, or NULL. Read lock. */
struct vma *vma_at(struct mm *mm, u64 address);
struct vma *vma_prev(struct vma *vma);
bool vma_range_free(struct mm *mm, u64 start, u64 end);
/* Links it, counts it, makes the file's cache know it. It overlaps nothing. -ETXTBSY. */
long vma_insert(struct mm *mm, struct vma *vma);
/* The same for one that comes after all others, whose last is `last` (NULL: none), in a tree that is being copied. */
void vma_append(struct mm *mm, struct vma *vma, struct rb_node *last);
void vma_remove(struct mm *mm, struct vma *vma);
/* Cuts it in two at `at`: the upper part is new. 0 or -ENOMEM. */
long vma_split(struct mm *mm, struct vma *vma, u64 at);
/* Joins it with neighbours that continue it: the one that is left; others are freed,. */
struct vma *vma_merge(struct mm *mm, struct vma *vma);
/* Splits at the ends of [start, end) so that areas lie inside or outside. */
long vma_isolate(struct mm *mm, u64 start, u64 end);
/* Changes the bounds of one that stays between its neighbours. */
void vma_resize(struct mm *mm, struct vma *vma, u64 start, u64 end);
void vma_set_flags(struct mm *mm, struct vma *vma, u32 flags);
u32 vma_map_flags(u32 vma_flags); /* PTE_MAP_*, without WRITE */
static inline u64 vma_index(const struct vma *vma, u64 address)
{
	return (vma->offset + (address - vma->start)) >> PAGE_SHIFT;
}
static inline u64 vma_pages(const struct vma *vma)
{
	return (vma->end - vma->start) >> PAGE_SHIFT;
}

/* --- map.c --- */
/* Takes [start, end) out: areas to `dead` (for vma_bury), entries and tables away. 0 or -ENOMEM (nothing done). */
long mm_cut(struct mm *mm, u64 start, u64 end, struct list *dead);
/* Frees areas of a list, and the files that they held. mm->lock need not be held. */
ASYNC_DECLARE(vma_bury, struct list *dead; struct vma *vma; struct file *file;);
/* vma flags of mmap's or mprotect's prot. */
u32 prot_to_flags(u32 prot);
/* Faults all of a range in: what can't be is left. */
ASYNC_DECLARE(mm_populate, struct mm *mm; u64 address; u64 end; u32 access;);

/* --- zap.c --- */
/* Takes all entries of a range away and drops their pages. flush: other CPUs may use the address space. */
void zap_range(struct mm *mm, u64 start, u64 end, bool flush);
/* The same for pages that are private copies (kind PAGE_ANON), or only for those that are not (0). */
void zap_range_of(struct mm *mm, u64 start, u64 end, bool anonymous);
/* A page is mapped no more: its count, the address space's, and its reference. */
void page_unmapped(struct mm *mm, struct page *page);
/* A page will be mapped: takes over a reference of the caller's. */
void page_mapped(struct mm *mm, struct page *page);

/* --- shmem.c --- */
/* A file without a name for shared anonymous memory; NULL without memory. */
struct file *shmem_file(const char *name, u64 bytes);
u64 shmem_pages(const struct file *file); /* in memory */

/* --- fault.c --- */
extern struct page *zero_page;
/* An anonymous page with the vma's rights, for exec mappings coherent; NULL without memory. */
struct page *anon_page_alloc(bool zero, u32 flags);

/* --- pagecache.c --- */
/* A new page for the cache, locked, with a reference: NULL if one is there already, -ENOMEM. cache->lock held. */
struct page *cache_add(struct page_cache *cache, u64 index);
/*
 * New pages for the cache from `index` on, up to the first that is there already: how many, or -ENOMEM. They are locked, which keeps them: they
 * have no reference but the cache's. cache->lock held.
 */
long cache_add_run(struct page_cache *cache, u64 index, u32 n, struct page **pages);
/* UPTODATE pages from `index` on, up to the first that is not there: how many, referenced. */
u32 cache_find_run(struct page_cache *cache, u64 index, u32 n, struct page **pages);
/* Takes a locked page out; the cache's reference is dropped. cache->lock not held. */
void cache_remove(struct page_cache *cache, struct page *page);
/* The same if it is clean and only the cache and `users` others know it: whether it went. Unmaps it first. */
bool cache_remove_unused(struct page_cache *cache, struct page *page, u32 users);
/* Its contents change, now or through a mapping: what was made executable of it is out of date. */
void cache_will_store(struct page_cache *cache, struct page *page);
/* Clears DIRTY and its mark; whether it was. cache->lock held. */
bool cache_clean(struct page_cache *cache, struct page *page);
/* LOCKED or WRITEBACK goes: wakes who waits. */
void page_clear_wake(struct page *page, u32 flag);
static inline u32 cache_alloc_flags(const struct page_cache *cache)
{
	/* Files that live in memory alone need no device: private memory, and mapped executable without a copy. */
	return ALLOC_USER | (cache->ops->read || cache->ops->write ? ALLOC_POOL : 0);
}

/* --- reclaim.c --- */
void lru_add(struct page *page);
void lru_add_run(struct page **pages, u32 n);
void lru_remove(struct page *page);

/* --- oom.c --- */
struct process;
struct thread;
/* Kills the largest process, unless one is dying already. */
ASYNC_DECLARE(oom_kill, struct process *process; struct process *largest; struct thread *thread; struct mm *mm; u64 pages; s32 pid;);

/* --- writeback.c --- */
void writeback_add(struct page_cache *cache); /* it has a dirty page now. cache->lock held */
void writeback_forget(struct page_cache *cache); /* the cache goes */
void writeback_kick(void);
u64 writeback_written(void); /* pages, since boot */
bool writeback_too_dirty(void); /* writers should write back themselves */

#endif
