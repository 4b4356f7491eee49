/* SPDX-License-Identifier: MIT */
/*
 * Taking mappings away: of an address space's range, or of a file's pages in every address space. Pages are let go only
 * after no TLB knows them any more, so they are gathered in batches.
 */
#include "internal.h"

#define BATCH 64

struct zap {
	struct mm *mm;
	u64 start, end; /* to flush */
	u32 count;
	bool flush;
	u64 anonymous, file, shared; /* unmapped, not yet subtracted */
	struct page *page[BATCH];
};

void page_mapped(struct mm *mm, struct page *page)
{
	_Atomic u64 *counter = page_test(page, PAGE_ANON) ? &mm->resident_anon :
			       page_test(page, PAGE_SHMEM) ? &mm->resident_shared :
							      &mm->resident_file;

	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
	if (!atomic_fetch_add_explicit(&page->mapcount, 1, memory_order_relaxed) && counter == &mm->resident_anon)
		memory_count(MEMORY_ANONYMOUS, 1);
}

void page_unmapped(struct mm *mm, struct page *page)
{
	_Atomic u64 *counter = page_test(page, PAGE_ANON) ? &mm->resident_anon :
			       page_test(page, PAGE_SHMEM) ? &mm->resident_shared :
							      &mm->resident_file;

	atomic_fetch_sub_explicit(counter, 1, memory_order_relaxed);
	if (atomic_fetch_sub_explicit(&page->mapcount, 1, memory_order_relaxed) == 1 && counter == &mm->resident_anon)
		memory_count(MEMORY_ANONYMOUS, -1);
	page_put(page);
}

static void finish_batch(struct zap *zap)
{
	s64 gone = 0;

	if (zap->flush && zap->end)
		tlb_flush_range(zap->mm, zap->start, zap->end);
	for (u32 i = 0; i < zap->count; i++) {
		if (atomic_fetch_sub_explicit(&zap->page[i]->mapcount, 1, memory_order_relaxed) == 1 &&
			page_test(zap->page[i], PAGE_ANON))
			gone++;
		page_put(zap->page[i]);
	}
	if (gone)
		memory_count(MEMORY_ANONYMOUS, -gone);
	zap->count = 0;
	zap->end = 0;
}

static void finish(struct zap *zap)
{
	finish_batch(zap);
	if (zap->anonymous)
		atomic_fetch_sub_explicit(&zap->mm->resident_anon, zap->anonymous, memory_order_relaxed);
	if (zap->file)
		atomic_fetch_sub_explicit(&zap->mm->resident_file, zap->file, memory_order_relaxed);
	if (zap->shared)
		atomic_fetch_sub_explicit(&zap->mm->resident_shared, zap->shared, memory_order_relaxed);
}

static void zap_entry(struct zap *zap, pte_t *entry, u64 address)
{
	pte_t pte = pte_take(entry);
	struct page *page;

	if (!zap->end)
		zap->start = address;
	zap->end = address + PAGE_SIZE;
	if (pte_special(pte))
		return;
	page = pte_page(pte);
	if (page_test(page, PAGE_ANON))
		zap->anonymous++;
	else if (page_test(page, PAGE_SHMEM))
		zap->shared++;
	else
		zap->file++;
	zap->page[zap->count++] = page;
	if (zap->count == BATCH)
		finish_batch(zap);
}

enum { ZAP_ALL, ZAP_ANONYMOUS, ZAP_FILE };

static bool zap_wanted(pte_t pte, int which)
{
	bool anonymous;

	if (which == ZAP_ALL)
		return true;
	anonymous = !pte_special(pte) && page_test(pte_page(pte), PAGE_ANON);
	return anonymous == (which == ZAP_ANONYMOUS);
}

static void zap(struct mm *mm, u64 start, u64 end, bool flush, int which) REQUIRES(&mm->table_lock)
{
	struct zap zap = {.mm = mm, .flush = flush};
	pte_t *entry;

	while (start < end && (entry = pte_find_next(mm, &start, end))) {
		u64 stop = min(end, align_down(start, PTE_TABLE_SPAN) + PTE_TABLE_SPAN);

		for (; start < stop; start += PAGE_SIZE, entry++) {
			pte_t pte = pte_get(entry);

			if (pte && zap_wanted(pte, which))
				zap_entry(&zap, entry, start);
		}
	}
	finish(&zap);
}

void zap_range(struct mm *mm, u64 start, u64 end, bool flush)
{
	spin_lock(&mm->table_lock);
	zap(mm, start, end, flush, ZAP_ALL);
	spin_unlock(&mm->table_lock);
}

void zap_range_of(struct mm *mm, u64 start, u64 end, bool anonymous)
{
	spin_lock(&mm->table_lock);
	zap(mm, start, end, true, anonymous ? ZAP_ANONYMOUS : ZAP_FILE);
	spin_unlock(&mm->table_lock);
}

/* The addresses at which an area shows pages [first, end): false if it shows none. */
static bool file_range(const struct vma *vma, u64 first, u64 end, u64 *from, u64 *to)
{
	u64 vma_from = vma->offset >> PAGE_SHIFT, vma_to = vma_from + vma_pages(vma);

	if (first >= vma_to || end <= vma_from)
		return false;
	*from = vma->start + ((max(first, vma_from) - vma_from) << PAGE_SHIFT);
	*to = vma->start + ((min(end, vma_to) - vma_from) << PAGE_SHIFT);
	return true;
}

void mm_unmap_file_range(struct page_cache *cache, u64 start, u64 end, bool only_shared)
{
	struct vma *vma;

	if (list_empty(&cache->areas))
		return;
	spin_lock(&cache->lock);
	list_for_each(vma, &cache->areas, cache_node) {
		u64 from, to;

		if (!file_range(vma, start, end, &from, &to))
			continue;
		spin_lock(&vma->mm->table_lock);
		zap(vma->mm, from, to, true, only_shared ? ZAP_FILE : ZAP_ALL);
		spin_unlock(&vma->mm->table_lock);
	}
	spin_unlock(&cache->lock);
}

void mm_protect_file_page(struct page_cache *cache, u64 index)
{
	struct vma *vma;

	if (atomic_load_explicit(&cache->writable_maps, memory_order_acquire) <= 0)
		return;
	spin_lock(&cache->lock);
	list_for_each(vma, &cache->areas, cache_node) {
		u64 from, to;
		pte_t *entry;

		if (!(vma->flags & VMA_SHARED) || !file_range(vma, index, index + 1, &from, &to))
			continue;
		spin_lock(&vma->mm->table_lock);
		entry = pte_find(vma->mm, from, false);
		if (entry && pte_dirty(pte_get(entry)) && !pte_special(pte_get(entry))) {
			pte_set(entry, pte_write_protect(pte_get(entry)));
			tlb_flush_page(vma->mm, from);
		}
		spin_unlock(&vma->mm->table_lock);
	}
	spin_unlock(&cache->lock);
}
