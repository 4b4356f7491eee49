/* SPDX-License-Identifier: MIT */
/*
 * Areas: the tree of an address space by start, free places, splitting and merging. Everything runs under mm->lock (write,
 * but for searches); what a file's page cache reads of an area changes under the cache's lock too.
 */
#include "internal.h"
#include <lichen/irq.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/slab.h>
#include <asm/errno.h>

static struct slab_cache *vma_slab;

static void vma_init(void)
{
	vma_slab = slab_cache_create("vma", sizeof(struct vma), 0);
}
INITCALL(INIT_CORE, vma_init);

struct vma *vma_alloc(struct mm *mm, u64 start, u64 end, u32 flags)
{
	struct vma *vma = slab_zalloc(vma_slab);

	if (!vma)
		return NULL;
	vma->mm = mm;
	vma->start = start;
	vma->end = end;
	vma->flags = flags;
	list_init(&vma->cache_node);
	return vma;
}

void vma_free(struct vma *vma)
{
	slab_free(vma_slab, vma);
}

/* --- searching --- */

struct vma *vma_find(struct mm *mm, u64 address)
{
	struct rb_node *node = mm->areas.root;
	struct vma *best = NULL;

	while (node) {
		struct vma *vma = rb_entry(node, struct vma, node);

		if (address < vma->end) {
			best = vma;
			if (address >= vma->start)
				break;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return best;
}

struct vma *vma_at(struct mm *mm, u64 address)
{
	struct vma *vma = atomic_load_explicit(&mm->last_found, memory_order_relaxed);

	if (vma && address >= vma->start && address < vma->end)
		return vma;
	vma = vma_find(mm, address);
	if (!vma || vma->start > address)
		return NULL;
	atomic_store_explicit(&mm->last_found, vma, memory_order_relaxed);
	return vma;
}

struct vma *vma_first(struct mm *mm)
{
	struct rb_node *node = rb_first(&mm->areas);

	return node ? rb_entry(node, struct vma, node) : NULL;
}

struct vma *vma_next(struct vma *vma)
{
	struct rb_node *node = rb_next(&vma->node);

	return node ? rb_entry(node, struct vma, node) : NULL;
}

struct vma *vma_prev(struct vma *vma)
{
	struct rb_node *node = rb_prev(&vma->node);

	return node ? rb_entry(node, struct vma, node) : NULL;
}

/* Where the free room below an area ends: a stack keeps its guard. */
static u64 gap_end_below(const struct vma *vma)
{
	if (!(vma->flags & VMA_GROWSDOWN))
		return vma->start;
	return vma->start > STACK_GUARD ? vma->start - STACK_GUARD : 0;
}

bool vma_range_free(struct mm *mm, u64 start, u64 end)
{
	struct vma *vma = vma_find(mm, start);

	return !vma || vma->start >= end;
}

static u64 gap_bottom_up(struct mm *mm, u64 length)
{
	u64 at = align_up(mm->mmap_base, PAGE_SIZE);

	for (struct vma *vma = vma_find(mm, at); vma; vma = vma_next(vma)) {
		u64 end = gap_end_below(vma);

		if (end > at && end - at >= length)
			return at;
		if (vma->end > at)
			at = vma->end;
	}
	return USER_END - at >= length ? at : 0;
}

/*
 * The highest gap below mmap_base that is large enough. Gaps above gap_top were looked at before: none has more than
 * gap_missed bytes, so a process with thousands of areas does not walk them for each new one.
 */
static u64 gap_top_down(struct mm *mm, u64 length)
{
	u64 top, missed = 0;
	struct vma *vma;

	if (!mm->gap_top || length <= mm->gap_missed)
		top = mm->mmap_base;
	else {
		top = mm->gap_top;
		missed = mm->gap_missed;
	}
	/* The area that follows `top` may reach below it, or be a stack. */
	vma = vma_find(mm, top - 1);
	for (;;) {
		struct vma *below;
		u64 floor;

		if (vma && gap_end_below(vma) < top)
			top = gap_end_below(vma);
		if (vma)
			below = vma_prev(vma);
		else {
			struct rb_node *last = rb_last(&mm->areas);

			below = last ? rb_entry(last, struct vma, node) : NULL;
		}
		floor = below ? max(below->end, MMAP_MIN_ADDRESS) : MMAP_MIN_ADDRESS;
		if (top > floor && top - floor >= length) {
			mm->gap_top = top;
			mm->gap_missed = missed;
			return top - length;
		}
		if (top > floor)
			missed = max(missed, top - floor);
		if (!below || below->start <= MMAP_MIN_ADDRESS)
			return 0;
		vma = below;
	}
}

u64 mm_find_gap(struct mm *mm, u64 length, u64 hint)
{
	u64 at;

	if (length > USER_END - MMAP_MIN_ADDRESS)
		return 0;
	if (hint) {
		hint = max(align_up(hint, PAGE_SIZE), MMAP_MIN_ADDRESS);
		if (hint <= USER_END - length) {
			struct vma *vma = vma_find(mm, hint);

			if (!vma || gap_end_below(vma) >= hint + length)
				return hint;
		}
	}
	at = gap_top_down(mm, length);
	return at ? at : gap_bottom_up(mm, length);
}

/* A range became free: gaps above gap_top may be larger now. */
static void gap_freed(struct mm *mm, u64 start, u64 end)
{
	if (mm->gap_top && end > mm->gap_top)
		mm->gap_top = 0;
	(void)start;
}

/* --- what is counted --- */

static void count(struct mm *mm, const struct vma *vma, s64 sign)
{
	s64 pages = sign * (s64)vma_pages(vma);

	mm->total_pages += (u64)pages;
	if ((vma->flags & (VMA_WRITE | VMA_SHARED | VMA_GROWSDOWN)) == VMA_WRITE)
		mm->data_pages += (u64)pages;
	if (vma->flags & VMA_LOCKED)
		atomic_fetch_add_explicit(&mm->locked_pages, (u64)pages, memory_order_relaxed);
	if (mm->total_pages > mm->peak_total)
		mm->peak_total = mm->total_pages;
}

/* May stores reach the file through it, now or after mprotect? */
static bool counts_as_writer(const struct vma *vma)
{
	return vma->cache && (vma->flags & VMA_SHARED) && (vma->flags & VMA_MAY_WRITE);
}

static long cache_link(struct vma *vma)
{
	struct page_cache *cache = vma->cache;
	long error = 0;

	if (!cache)
		return 0;
	spin_lock(&cache->lock);
	if (counts_as_writer(vma)) {
		if (atomic_load_explicit(&cache->writable_maps, memory_order_relaxed) < 0)
			error = -ETXTBSY;
		else
			atomic_fetch_add_explicit(&cache->writable_maps, 1, memory_order_relaxed);
	}
	if (!error)
		list_add_tail(&cache->areas, &vma->cache_node);
	spin_unlock(&cache->lock);
	return error;
}

static void cache_unlink(struct vma *vma)
{
	struct page_cache *cache = vma->cache;

	if (!cache)
		return;
	spin_lock(&cache->lock);
	if (counts_as_writer(vma))
		atomic_fetch_sub_explicit(&cache->writable_maps, 1, memory_order_relaxed);
	list_remove(&vma->cache_node);
	spin_unlock(&cache->lock);
}

static void changed(struct mm *mm)
{
	atomic_store_explicit(&mm->last_found, NULL, memory_order_relaxed);
}

/* --- changing the tree --- */

static void tree_link(struct mm *mm, struct vma *vma)
{
	struct rb_node **link = &mm->areas.root, *parent = NULL;

	while (*link) {
		struct vma *other = rb_entry(*link, struct vma, node);

		parent = *link;
		kassert(vma->end <= other->start || vma->start >= other->end);
		link = vma->start < other->start ? &parent->left : &parent->right;
	}
	rb_insert(&mm->areas, &vma->node, parent, link);
	mm->area_count++;
	changed(mm);
}

static void tree_unlink(struct mm *mm, struct vma *vma)
{
	rb_erase(&mm->areas, &vma->node);
	mm->area_count--;
	changed(mm);
}

long vma_insert(struct mm *mm, struct vma *vma)
{
	long error = cache_link(vma);

	if (error)
		return error;
	tree_link(mm, vma);
	count(mm, vma, 1);
	return 0;
}

void vma_append(struct mm *mm, struct vma *vma, struct rb_node *last)
{
	struct page_cache *cache = vma->cache;

	if (cache) { /* its original holds writers off already */
		spin_lock(&cache->lock);
		if (counts_as_writer(vma))
			atomic_fetch_add_explicit(&cache->writable_maps, 1, memory_order_relaxed);
		list_add_tail(&cache->areas, &vma->cache_node);
		spin_unlock(&cache->lock);
	}
	rb_insert(&mm->areas, &vma->node, last, last ? &last->right : &mm->areas.root);
	mm->area_count++;
	count(mm, vma, 1);
}

void vma_remove(struct mm *mm, struct vma *vma)
{
	cache_unlink(vma);
	tree_unlink(mm, vma);
	count(mm, vma, -1);
	gap_freed(mm, vma->start, vma->end);
}

static void bounds(struct vma *vma, u64 start, u64 end)
{
	vma->offset += start - vma->start;
	vma->start = start;
	vma->end = end;
}

static void set_bounds(struct vma *vma, u64 start, u64 end)
{
	struct page_cache *cache = vma->cache;

	if (!cache) {
		bounds(vma, start, end);
		return;
	}
	spin_lock(&cache->lock);
	bounds(vma, start, end);
	spin_unlock(&cache->lock);
}

void vma_resize(struct mm *mm, struct vma *vma, u64 start, u64 end)
{
	u64 old_start = vma->start, old_end = vma->end;

	count(mm, vma, -1);
	set_bounds(vma, start, end);
	count(mm, vma, 1);
	changed(mm);
	if (start > old_start)
		gap_freed(mm, old_start, start);
	if (end < old_end)
		gap_freed(mm, end, old_end);
}

void vma_set_flags(struct mm *mm, struct vma *vma, u32 flags)
{
	count(mm, vma, -1);
	vma->flags = flags;
	count(mm, vma, 1);
	changed(mm);
}

long vma_split(struct mm *mm, struct vma *vma, u64 at)
{
	struct vma *upper = vma_alloc(mm, at, vma->end, vma->flags);
	struct page_cache *cache = vma->cache;

	if (!upper)
		return -ENOMEM;
	upper->anonymous = vma->anonymous;
	upper->file = vma->file;
	upper->cache = cache;
	upper->name = vma->name;
	upper->special = vma->special ? vma->special + ((at - vma->start) >> PAGE_SHIFT) : NULL;
	upper->device = vma->device ? vma->device + (at - vma->start) : 0;
	upper->offset = vma->offset + (at - vma->start);
	if (upper->file)
		file_get(upper->file);
	if (cache) {
		spin_lock(&cache->lock);
		if (counts_as_writer(upper))
			atomic_fetch_add_explicit(&cache->writable_maps, 1, memory_order_relaxed);
		list_add(&vma->cache_node, &upper->cache_node);
		vma->end = at;
		spin_unlock(&cache->lock);
	} else {
		vma->end = at;
	}
	tree_link(mm, upper);
	return 0;
}

long vma_isolate(struct mm *mm, u64 start, u64 end)
{
	struct vma *vma = vma_find(mm, start);
	long error = 0;

	if (vma && vma->start < start)
		error = vma_split(mm, vma, start);
	if (error)
		return error;
	vma = vma_find(mm, end - 1);
	if (vma && vma->start < end && vma->end > end)
		error = vma_split(mm, vma, end);
	return error;
}

/* Does `upper` go on where `lower` ends, in every respect? */
static bool continues(const struct vma *lower, const struct vma *upper)
{
	return lower->end == upper->start && lower->flags == upper->flags && lower->file == upper->file &&
	       lower->cache == upper->cache && lower->name == upper->name &&
	       !(lower->flags & VMA_SPECIAL) && !lower->device && !upper->device &&
	       (!lower->file || lower->offset + (lower->end - lower->start) == upper->offset);
}

/* `lower` swallows `upper`. */
static void join(struct mm *mm, struct vma *lower, struct vma *upper)
{
	u64 end = upper->end;

	cache_unlink(upper);
	tree_unlink(mm, upper);
	set_bounds(lower, lower->start, end);
	lower->anonymous |= upper->anonymous;
	if (upper->file) /* `lower` holds the file too */
		kassert(file_put_fast(upper->file));
	vma_free(upper);
}

struct vma *vma_merge(struct mm *mm, struct vma *vma)
{
	struct vma *next = vma_next(vma), *prev = vma_prev(vma);

	if (next && continues(vma, next))
		join(mm, vma, next);
	if (prev && continues(prev, vma)) {
		join(mm, prev, vma);
		vma = prev;
	}
	return vma;
}

u32 vma_map_flags(u32 vma_flags)
{
	u32 flags = 0;

	if (!(vma_flags & (VMA_READ | VMA_WRITE | VMA_EXEC)))
		flags |= PTE_MAP_NONE;
	if (vma_flags & VMA_EXEC)
		flags |= PTE_MAP_EXEC;
	return flags;
}
