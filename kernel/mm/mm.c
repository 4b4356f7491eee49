/* SPDX-License-Identifier: MIT */
/*
 * The life of an address space: made empty, copied by fork, taken apart when its last user goes.
 *
 * fork copies entries of anonymous pages only: what a file can give again is left to faults. So an area that never had a
 * page of its own costs its descriptor and nothing more.
 */
#include "internal.h"
#include <lichen/irq.h>
#include <lichen/slab.h>
#include <lichen/string.h>
#include <lichen/task.h>
#include <asm/errno.h>

static struct slab_cache *mm_slab;

static void mm_init(void)
{
	mm_slab = slab_cache_create("mm", sizeof(struct mm), 0);
}
INITCALL(INIT_CORE, mm_init);

struct mm *mm_create(void)
{
	struct mm *mm = slab_zalloc(mm_slab);

	if (!mm)
		return NULL;
	if (arch_mm_init(&mm->arch)) {
		slab_free(mm_slab, mm);
		return NULL;
	}
	atomic_init(&mm->users, 1);
	rwlock_init(&mm->lock);
	spin_init(&mm->table_lock);
	atomic_init(&mm->table_pages, 1);
	mm->mmap_base = USER_END - (256ull << 20);
	mm->dumpable = true;
	return mm;
}

void mm_get(struct mm *mm)
{
	atomic_fetch_add_explicit(&mm->users, 1, memory_order_relaxed);
}

void mm_activate(struct mm *mm)
{
	arch_mm_switch(mm ? &mm->arch : NULL);
}

u64 mm_note_peak(struct mm *mm)
{
	u64 resident = atomic_load_explicit(&mm->resident_anon, memory_order_relaxed) +
		       atomic_load_explicit(&mm->resident_file, memory_order_relaxed) +
		       atomic_load_explicit(&mm->resident_shared, memory_order_relaxed);

	if (resident > mm->peak_resident)
		mm->peak_resident = resident;
	return resident;
}

#define TEAR_STEP (512 * PTE_TABLE_SPAN) /* bytes taken apart between looks at the clock */

ASYNC_DEFINE(mm_put)
{
	ASYNC_BEGIN;
	if (atomic_fetch_sub_explicit(&f->mm->users, 1, memory_order_acq_rel) != 1)
		ASYNC_RETURN(0);
	while ((f->vma = vma_first(f->mm))) {
		/* Out of the file's sight first: nobody else looks at the tables then, and no CPU runs on them. */
		f->at = f->vma->start;
		vma_remove(f->mm, f->vma);
		while (f->at < f->vma->end) {
			zap_range(f->mm, f->at, min(f->vma->end, f->at + TEAR_STEP), false);
			f->at = min(f->vma->end, f->at + TEAR_STEP);
			if (task_should_yield(self))
				AWAIT(task_yield);
		}
		f->file = f->vma->file;
		vma_free(f->vma);
		if (f->file && !file_put_fast(f->file))
			AWAIT(file_put, .file = f->file);
	}
	if (f->mm->executable && !file_put_fast(f->mm->executable))
		AWAIT(file_put, .file = f->mm->executable);
	arch_mm_destroy(&f->mm->arch);
	slab_free(mm_slab, f->mm);
	ASYNC_END;
}

/* --- fork --- */

static struct vma *copy_vma(struct mm *to, const struct vma *from)
{
	struct vma *vma = vma_alloc(to, from->start, from->end, from->flags & ~VMA_LOCKED);

	if (!vma)
		return NULL;
	vma->anonymous = from->anonymous && !(from->flags & VMA_WIPEONFORK);
	vma->cache = from->cache;
	vma->offset = from->offset;
	vma->name = from->name;
	vma->special = from->special;
	vma->device = from->device;
	vma->file = from->file;
	if (vma->file)
		file_get(vma->file);
	return vma;
}

/* A page that a device uses at this moment stays with the parent alone: the child gets a copy now. */
static bool is_pinned(const struct page *page)
{
	return atomic_load_explicit(&((struct page *)(uintptr_t)page)->refcount, memory_order_acquire) >
	       atomic_load_explicit(&((struct page *)(uintptr_t)page)->mapcount, memory_order_relaxed);
}

/* One entry of an anonymous page: 0 or -ENOMEM. */
static long copy_entry(pte_t *from, pte_t *to, const struct vma *vma, bool *protected)
{
	pte_t pte = pte_get(from);
	struct page *page = pte_page(pte);

	if (unlikely(is_pinned(page))) {
		struct page *copy = anon_page_alloc(false, vma->flags);

		if (!copy)
			return -ENOMEM;
		page_copy(page_address(copy), page_address(page));
		atomic_store_explicit(&copy->mapcount, 1, memory_order_relaxed);
		memory_count(MEMORY_ANONYMOUS, 1);
		pte_set(to, pte_write_protect(pte_make(copy, vma_map_flags(vma->flags))));
		return 0;
	}
	if (pte_dirty(pte)) {
		pte = pte_write_protect(pte);
		pte_set(from, pte);
		*protected = true;
	}
	page_get(page);
	atomic_fetch_add_explicit(&page->mapcount, 1, memory_order_relaxed);
	pte_set(to, pte);
	return 0;
}

/* The entries of one area. Nobody else knows `to` yet. */
static long copy_entries(struct mm *from, struct mm *to, const struct vma *vma, bool *protected) REQUIRES(&from->table_lock)
{
	u64 address = vma->start, copied = 0;
	pte_t *entry;
	long error = 0;

	while (!error && address < vma->end && (entry = pte_find_next(from, &address, vma->end))) {
		u64 stop = min(vma->end, align_down(address, PTE_TABLE_SPAN) + PTE_TABLE_SPAN);
		pte_t *target = NULL;

		for (; address < stop; address += PAGE_SIZE, entry++) {
			pte_t pte = pte_get(entry);

			if (target)
				target++;
			if (!pte || pte_special(pte) || !page_test(pte_page(pte), PAGE_ANON))
				continue;
			if (!target && !(target = pte_find(to, address, true))) {
				error = -ENOMEM;
				break;
			}
			error = copy_entry(entry, target, vma, protected);
			if (error)
				break;
			copied++;
		}
	}
	atomic_fetch_add_explicit(&to->resident_anon, copied, memory_order_relaxed);
	return error;
}

static long copy_areas(struct mm *from, struct mm *to)
{
	struct rb_node *last = NULL;
	bool protected = false;
	long error = 0;

	for (struct vma *vma = vma_first(from); vma && !error; vma = vma_next(vma)) {
		struct vma *copy;

		if (vma->flags & VMA_DONTFORK)
			continue;
		copy = copy_vma(to, vma);
		if (!copy) {
			error = -ENOMEM;
			break;
		}
		/* In order, so each is the rightmost. */
		vma_append(to, copy, last);
		last = &copy->node;
		if (!copy->anonymous)
			continue;
		spin_lock(&from->table_lock);
		error = copy_entries(from, to, vma, &protected);
		spin_unlock(&from->table_lock);
	}
	if (protected)
		tlb_flush_mm(from);
	return error;
}

ASYNC_DEFINE(mm_fork)
{
	ASYNC_BEGIN;
	f->to = mm_create();
	if (!f->to)
		ASYNC_RETURN(-ENOMEM);
	AWAIT(rwlock_write, .lock = &f->from->lock);
	f->to->start_code = f->from->start_code;
	f->to->end_code = f->from->end_code;
	f->to->start_data = f->from->start_data;
	f->to->end_data = f->from->end_data;
	f->to->start_brk = f->from->start_brk;
	f->to->brk = f->from->brk;
	f->to->start_stack = f->from->start_stack;
	f->to->arg_start = f->from->arg_start;
	f->to->arg_end = f->from->arg_end;
	f->to->env_start = f->from->env_start;
	f->to->env_end = f->from->env_end;
	f->to->mmap_base = f->from->mmap_base;
	f->to->gap_top = f->from->gap_top;
	f->to->gap_missed = f->from->gap_missed;
	f->to->vdso = f->from->vdso;
	f->to->dumpable = f->from->dumpable;
	atomic_store(&f->to->membarrier, atomic_load(&f->from->membarrier));
	memcpy(f->to->auxv, f->from->auxv, sizeof(f->to->auxv));
	f->to->executable = f->from->executable;
	if (f->to->executable)
		file_get(f->to->executable);
	f->error = copy_areas(f->from, f->to);
	rwlock_write_unlock(&f->from->lock);
	if (f->error) {
		AWAIT(mm_put, .mm = f->to);
		ASYNC_RETURN(f->error);
	}
	ASYNC_RETURN((long)f->to);
	ASYNC_END;
}
