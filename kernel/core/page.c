/* SPDX-License-Identifier: MIT */
/*
 * Physical pages: a buddy allocator a zone, and a few free pages a CPU in front of it. The array of struct page is
 * virtually contiguous (index = page frame number) and backed where there is RAM, rounded out to the largest block, so
 * that a block's buddy always has a struct page to look at.
 */
#include <lichen/boot.h>
#include <lichen/cpu.h>
#include <lichen/page.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <arch/kernel_map.h>
#include <arch/memory.h>

enum { ORDERS = 11, CPU_PAGES = 32, CPU_BATCH = 16 };
enum { ZONE_PRIVATE, ZONE_POOL, ZONES };

struct zone {
	spinlock_t lock; /* interrupts masked */
	struct list free[ORDERS];
	_Atomic u64 free_pages;
	u64 total, low, reserve; /* pages: kick reclaim below low; refuse ordinary callers below reserve */
};

struct cpu_pages {
	u32 count;
	struct list pages;
} __aligned(64);

static struct zone zones[ZONES];
static struct cpu_pages cpu_pages[ZONES][CPUS_MAX];
static bool separate; /* the pool is a zone of its own */
static void (*reclaim)(void);
static _Atomic s64 counters[MEMORY_COUNTERS];

static struct page *pfn_page(u64 pfn)
{
	return (struct page *)PAGES_VIRT + pfn;
}

static u64 page_pfn(const struct page *page)
{
	return (u64)(page - (const struct page *)PAGES_VIRT);
}

phys_addr_t page_phys(const struct page *page)
{
	return page_pfn(page) << PAGE_SHIFT;
}

static bool in_ranges(const struct memory_range *ranges, u32 n, phys_addr_t phys)
{
	for (u32 i = 0; i < n; i++)
		if (phys - ranges[i].base < ranges[i].size)
			return true;
	return false;
}

struct page *phys_page(phys_addr_t phys)
{
	if (!in_ranges(memory_map.ram, memory_map.ram_count, phys) &&
		!in_ranges(memory_map.pool, memory_map.pool_count, phys))
		return NULL;
	return pfn_page(phys >> PAGE_SHIFT);
}

struct page *phys_page_own(phys_addr_t phys)
{
	return pfn_page(phys >> PAGE_SHIFT);
}

void *phys_address(phys_addr_t phys)
{
	return (void *)(LINEAR_BASE + phys);
}

phys_addr_t address_phys(const void *address)
{
	return (u64)address - LINEAR_BASE;
}

void *page_address(const struct page *page)
{
	return phys_address(page_phys(page));
}

struct page *address_page(const void *address)
{
	return pfn_page(address_phys(address) >> PAGE_SHIFT);
}

bool pool_is_separate(void)
{
	return separate;
}

static struct zone *page_zone(const struct page *page)
{
	return &zones[separate && page_test(page, PAGE_POOL) ? ZONE_POOL : ZONE_PRIVATE];
}

static void block_insert(struct zone *zone, struct page *page, unsigned order) REQUIRES(zone->lock)
{
	page->order = order;
	atomic_fetch_or_explicit(&page->flags, PAGE_FREE, memory_order_relaxed);
	list_add(&zone->free[order], &page->list);
}

static void block_remove(struct page *page)
{
	atomic_fetch_and_explicit(&page->flags, ~(u32)PAGE_FREE, memory_order_relaxed);
	list_remove(&page->list);
}

static void zone_free(struct zone *zone, struct page *page, unsigned order) REQUIRES(zone->lock)
{
	u64 pfn = page_pfn(page);

	atomic_fetch_add_explicit(&zone->free_pages, 1u << order, memory_order_relaxed);
	while (order < ORDERS - 1) {
		struct page *buddy = pfn_page(pfn ^ (1u << order));

		if (!page_test(buddy, PAGE_FREE) || buddy->order != order || page_zone(buddy) != zone)
			break;
		block_remove(buddy);
		pfn &= ~(u64)(1u << order);
		order++;
	}
	block_insert(zone, pfn_page(pfn), order);
}

static struct page *zone_alloc(struct zone *zone, unsigned order) REQUIRES(zone->lock)
{
	for (unsigned o = order; o < ORDERS; o++) {
		struct page *page;

		if (list_empty(&zone->free[o]))
			continue;
		page = list_first(&zone->free[o], struct page, list);
		block_remove(page);
		while (o > order) {
			o--;
			block_insert(zone, page + (1u << o), o);
		}
		atomic_fetch_sub_explicit(&zone->free_pages, 1u << order, memory_order_relaxed);
		return page;
	}
	return NULL;
}

static struct page *alloc_cached(struct zone *zone, struct cpu_pages *cache)
{
	struct page *page;

	if (!cache->count) {
		spin_lock(&zone->lock);
		while (cache->count < CPU_BATCH && (page = zone_alloc(zone, 0))) {
			list_add_tail(&cache->pages, &page->list); /* neighbours come out as neighbours */
			cache->count++;
		}
		spin_unlock(&zone->lock);
		if (!cache->count)
			return NULL;
	}
	page = list_first(&cache->pages, struct page, list);
	list_remove(&page->list);
	cache->count--;
	return page;
}

static _Atomic s64 frame_bytes; /* page_reserve_frames() */

void page_reserve_frames(s64 bytes)
{
	atomic_fetch_add_explicit(&frame_bytes, bytes, memory_order_relaxed);
}

/* An eighth of the memory at most. */
static u64 kept_for_frames(const struct zone *zone)
{
	u64 pages = (u64)atomic_load_explicit(&frame_bytes, memory_order_relaxed) >> PAGE_SHIFT;

	return zone == &zones[ZONE_PRIVATE] ? min(pages, zone->total / 8) : 0;
}

/* Pages that an allocation must leave: programs wait, most of the kernel fails, what frees memory goes on. */
static u64 kept_back(const struct zone *zone, unsigned flags, u64 for_frames)
{
	if (flags & ALLOC_NOFAIL_RESERVE)
		return 0;
	return for_frames + (flags & ALLOC_USER ? 2 * zone->reserve : zone->reserve);
}

static struct {
	u64 count;
} __aligned(64) cpu_page_allocations[CPUS_MAX];

u64 page_allocations(void)
{
	u64 sum = 0;

	for (u32 i = 0; i < cpu_count(); i++)
		sum += cpu_page_allocations[i].count;
	return sum;
}

/* What every allocated block begins with. */
static inline void page_begin(struct page *page, unsigned order)
{
	page->order = order;
	atomic_store_explicit(&page->flags, page->flags & PAGE_POOL, memory_order_relaxed);
	atomic_store_explicit(&page->mapcount, 0, memory_order_relaxed);
	page->cache = NULL;
	page->index = 0;
	page->executable = NULL;
	page->private = NULL;
	list_init(&page->list);
	atomic_store_explicit(&page->refcount, 1, memory_order_relaxed);
}

struct page *page_alloc(unsigned order, unsigned flags)
{
	u32 index = separate && flags & ALLOC_POOL ? ZONE_POOL : ZONE_PRIVATE;
	struct zone *zone = &zones[index];
	u64 left = atomic_load_explicit(&zone->free_pages, memory_order_relaxed);
	struct page *page = NULL;
	u64 for_frames = kept_for_frames(zone);
	bool low = left < zone->low + for_frames;
	unsigned long irqs;

	if (unlikely(low) && reclaim)
		reclaim();
	if (unlikely(order >= ORDERS) || unlikely(low && left < kept_back(zone, flags, for_frames) + (1u << order)))
		return NULL;
	irqs = irq_save();
	if (!order) {
		page = alloc_cached(zone, &cpu_pages[index][cpu_id()]);
	} else {
		spin_lock(&zone->lock);
		page = zone_alloc(zone, order);
		spin_unlock(&zone->lock);
	}
	cpu_page_allocations[cpu_id()].count += !!page;
	irq_restore(irqs);
	if (unlikely(!page))
		return NULL;
	page_begin(page, order);
	if (flags & ALLOC_ZERO)
		for (u32 i = 0; i < 1u << order; i++)
			page_zero(page_address(page + i));
	return page;
}

u32 page_alloc_run(struct page **pages, u32 n, unsigned flags)
{
	u32 index = separate && flags & ALLOC_POOL ? ZONE_POOL : ZONE_PRIVATE, taken = 0;
	struct zone *zone = &zones[index];
	unsigned long irqs;

	if (unlikely(!n))
		return 0;
	/* Near the end of memory page_alloc decides what is left for whom. */
	if (unlikely(n == 1 || atomic_load_explicit(&zone->free_pages, memory_order_relaxed) < zone->low + kept_for_frames(zone) + n)) {
		pages[0] = page_alloc(0, flags);
		return pages[0] ? 1 : 0;
	}
	irqs = irq_save();
	spin_lock(&zone->lock);
	for (u32 order = ORDERS - 1; taken < n;) {
		struct page *block;

		while (1u << order > n - taken)
			order--;
		block = zone_alloc(zone, order);
		if (!block && !order--)
			break;
		for (u32 i = 0; block && i < 1u << order; i++)
			pages[taken++] = block + i;
	}
	spin_unlock(&zone->lock);
	cpu_page_allocations[cpu_id()].count += taken;
	irq_restore(irqs);
	for (u32 i = 0; i < taken; i++)
		page_begin(pages[i], 0);
	return taken;
}

static void page_free(struct page *page)
{
	struct zone *zone = page_zone(page);
	u32 index = (u32)(zone - zones);
	struct cpu_pages *cache;
	unsigned long irqs;

	kassert(!page_test(page, PAGE_FREE | PAGE_RESERVED));
	atomic_store_explicit(&page->flags, page->flags & PAGE_POOL, memory_order_relaxed);
	irqs = irq_save();
	if (page->order) {
		spin_lock(&zone->lock);
		zone_free(zone, page, page->order);
		spin_unlock(&zone->lock);
		irq_restore(irqs);
		return;
	}
	cache = &cpu_pages[index][cpu_id()];
	list_add(&cache->pages, &page->list);
	if (++cache->count > CPU_PAGES) {
		spin_lock(&zone->lock);
		while (cache->count > CPU_PAGES - CPU_BATCH) {
			page = list_last(&cache->pages, struct page, list);
			list_remove(&page->list);
			cache->count--;
			zone_free(zone, page, 0);
		}
		spin_unlock(&zone->lock);
	}
	irq_restore(irqs);
}

void page_get(struct page *page)
{
	atomic_fetch_add_explicit(&page->refcount, 1, memory_order_relaxed);
}

void page_put(struct page *page)
{
	u32 before = atomic_fetch_sub_explicit(&page->refcount, 1, memory_order_acq_rel);

	kassert(before);
	if (before == 1)
		page_free(page);
}

void page_put_run(struct page **pages, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		u32 before = atomic_fetch_sub_explicit(&pages[i]->refcount, 1, memory_order_acq_rel);

		if (unlikely(before <= 1)) {
			kassert(before);
			page_free(pages[i]);
		}
	}
}

void page_set_reclaim(void (*kick)(void))
{
	reclaim = kick;
}

void memory_count(enum memory_counter counter, s64 delta)
{
	atomic_fetch_add_explicit(&counters[counter], delta, memory_order_relaxed);
}

static u64 counted(enum memory_counter counter)
{
	s64 value = atomic_load_explicit(&counters[counter], memory_order_relaxed);

	return value > 0 ? (u64)value : 0;
}

static u64 zone_free_pages(u32 index)
{
	u64 n = atomic_load_explicit(&zones[index].free_pages, memory_order_relaxed);

	for (u32 i = 0; i < cpu_count(); i++)
		n += cpu_pages[index][i].count;
	return n;
}

void memory_info(struct memory_info *info)
{
	*info = (struct memory_info){
		.total = zones[ZONE_PRIVATE].total + zones[ZONE_POOL].total,
		.free = zone_free_pages(ZONE_PRIVATE) + zone_free_pages(ZONE_POOL),
		.pool_total = zones[separate ? ZONE_POOL : ZONE_PRIVATE].total,
		.pool_free = zone_free_pages(separate ? ZONE_POOL : ZONE_PRIVATE),
		.kept = kept_for_frames(&zones[ZONE_PRIVATE]),
		.cached = counted(MEMORY_CACHED),
		.dirty = counted(MEMORY_DIRTY),
		.writeback = counted(MEMORY_WRITEBACK),
		.anonymous = counted(MEMORY_ANONYMOUS),
		.slab = counted(MEMORY_SLAB),
		.tables = counted(MEMORY_TABLES),
	};
}

/* --- boot --- */

static void back_range(const struct memory_range *range)
{
	u64 block = PAGE_SIZE << (ORDERS - 1);
	u64 start = align_down(range->base, block), end = align_up(range->base + range->size, block);
	u64 first = align_down((u64)pfn_page(start >> PAGE_SHIFT), PAGE_SIZE);
	u64 last = align_up((u64)pfn_page(end >> PAGE_SHIFT), PAGE_SIZE);

	/* Neighbours may share pages of the array. */
	while (first < last && mmu_backed(first))
		first += PAGE_SIZE;
	while (first < last && mmu_backed(last - PAGE_SIZE))
		last -= PAGE_SIZE;
	if (first < last)
		mmu_back(first, last - first);
}

static void mark_range(const struct memory_range *range, u32 flags)
{
	for (u64 a = range->base; a < range->base + range->size; a += PAGE_SIZE) {
		struct page *page = pfn_page(a >> PAGE_SHIFT);

		atomic_init(&page->flags, flags);
		atomic_init(&page->refcount, 1);
		list_init(&page->list);
	}
}

static void give_range(phys_addr_t base, phys_addr_t size, bool pool)
{
	struct zone *zone = &zones[pool ? ZONE_POOL : ZONE_PRIVATE];

	spin_lock(&zone->lock);
	while (size) {
		u64 pfn = base >> PAGE_SHIFT;
		unsigned order = 0;

		while (order < ORDERS - 1 && !(pfn & (1u << order)) && size >= PAGE_SIZE << (order + 1))
			order++;
		for (u64 i = 0; i < 1u << order; i++) {
			struct page *page = pfn_page(pfn + i);

			atomic_store_explicit(&page->flags, page->flags & ~(u32)PAGE_RESERVED, memory_order_relaxed);
			atomic_store_explicit(&page->refcount, 0, memory_order_relaxed);
		}
		zone_free(zone, pfn_page(pfn), order);
		zone->total += 1u << order;
		base += PAGE_SIZE << order;
		size -= PAGE_SIZE << order;
	}
	spin_unlock(&zone->lock);
}

void page_init(void)
{
	separate = memory_map.pool_count != 0;
	for (u32 z = 0; z < ZONES; z++) {
		spin_init(&zones[z].lock);
		for (u32 o = 0; o < ORDERS; o++)
			list_init(&zones[z].free[o]);
		for (u32 c = 0; c < CPUS_MAX; c++)
			list_init(&cpu_pages[z][c].pages);
	}
	for (u32 i = 0; i < memory_map.ram_count; i++)
		back_range(&memory_map.ram[i]);
	for (u32 i = 0; i < memory_map.pool_count; i++)
		back_range(&memory_map.pool[i]);
	for (u32 i = 0; i < memory_map.ram_count; i++)
		mark_range(&memory_map.ram[i], PAGE_RESERVED | (separate ? 0 : PAGE_POOL));
	for (u32 i = 0; i < memory_map.pool_count; i++)
		mark_range(&memory_map.pool[i], PAGE_RESERVED | PAGE_POOL);
	memory_map_for_each_free(give_range);
	for (u32 z = 0; z < ZONES; z++) {
		zones[z].low = zones[z].total / 32;
		zones[z].reserve = min(zones[z].total / 128, (u64)1024);
	}
	log_info("memory: %llu MiB%s, pool %llu MiB", (unsigned long long)zones[ZONE_PRIVATE].total >> 8,
		separate ? " private" : "", (unsigned long long)zones[separate ? ZONE_POOL : ZONE_PRIVATE].total >> 8);
}
