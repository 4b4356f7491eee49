/* SPDX-License-Identifier: MIT */
/*
 * User page tables (Arm ARM D8.2, D8.3): four levels of 512 entries. Tables are private memory, zeroed before they are
 * linked. An entry that changes its page goes through invalid and a TLB invalidation first (break before make, D8.16).
 */
#include <lichen/mm.h>
#include <lichen/page.h>
#include <lichen/printk.h>
#include <arch/memory.h>
#include <arch/sysreg.h>

#define ENTRIES	   512u
#define INNER	   (3ull << 8)
#define ATTR(i)	   ((u64)(i) << 2)
#define FLUSH_MAX  256 /* pages: beyond that the whole ASID goes */

static inline u32 index_of(u64 address, u32 level)
{
	return (address >> (39 - 9 * level)) & (ENTRIES - 1);
}

static inline u64 *table_of(u64 entry)
{
	return (u64 *)(LINEAR_BASE + (entry & PT_ADDRESS));
}

static inline phys_addr_t table_phys(const u64 *table)
{
	return (u64)table - LINEAR_BASE;
}

static u64 *table_alloc(void)
{
	struct page *page = page_alloc(0, ALLOC_ZERO);

	if (!page)
		return NULL;
	page_set(page, PAGE_TABLE);
	memory_count(MEMORY_TABLES, 1);
	return page_address(page);
}

static void table_free(u64 *table)
{
	struct page *page = address_page(table);

	page_clear(page, PAGE_TABLE);
	memory_count(MEMORY_TABLES, -1);
	page_put(page);
}

long arch_mm_init(struct arch_mm *mm)
{
	mm->root = table_alloc();
	atomic_init(&mm->asid, 0);
	return mm->root ? 0 : -12; /* ENOMEM */
}

static void free_below(u64 *table, u32 level)
{
	for (u32 i = 0; i < ENTRIES; i++) {
		if (!table[i])
			continue;
		if (level < 2)
			free_below(table_of(table[i]), level + 1);
		table_free(table_of(table[i]));
	}
}

void arch_mm_destroy(struct arch_mm *mm)
{
	if (!mm->root)
		return;
	if ((sysreg_read(ttbr0_el1) & PT_ADDRESS) == table_phys(mm->root))
		arch_mm_switch(NULL);
	free_below(mm->root, 0);
	table_free(mm->root);
	mm->root = NULL;
}

/* Links a new table; its zeroes are visible before the link is. */
static u64 *table_link(struct mm *mm, u64 *entry)
{
	u64 *table = table_alloc();

	if (!table)
		return NULL;
	atomic_fetch_add_explicit(&mm->table_pages, 1, memory_order_relaxed);
	dmb(ishst);
	*(volatile u64 *)entry = table_phys(table) | PT_VALID | PT_PAGE;
	dsb(ishst);
	return table;
}

pte_t *pte_find(struct mm *mm, u64 address, bool make)
{
	u64 *table = mm->arch.root;

	/* Unrolled: it is half of what it costs to pin a page. */
#pragma GCC unroll 3
	for (u32 level = 0; level < 3; level++) {
		u64 *entry = &table[index_of(address, level)];

		if (likely(*entry))
			table = table_of(*entry);
		else if (!make || !(table = table_link(mm, entry)))
			return NULL;
	}
	return &table[index_of(address, 3)];
}

pte_t *pte_find_next(struct mm *mm, u64 *address, u64 end)
{
	u64 at = *address;

	while (at < end) {
		u64 *table = mm->arch.root;
		u32 level;

		for (level = 0; level < 3; level++) {
			u64 entry = table[index_of(at, level)];

			if (!entry)
				break;
			table = table_of(entry);
		}
		if (level == 3) {
			*address = at;
			return &table[index_of(at, 3)];
		}
		at = ((at >> (39 - 9 * level)) + 1) << (39 - 9 * level);
	}
	return NULL;
}

pte_t pte_make_phys(phys_addr_t phys, u32 map_flags)
{
	pte_t pte = (phys & PT_ADDRESS) | PT_VALID | PT_PAGE | PT_NOT_GLOBAL | PT_PXN | PT_SPECIAL;

	pte |= map_flags & PTE_MAP_DEVICE ? ATTR(MEMORY_DEVICE) : ATTR(MEMORY_NORMAL) | INNER;
	if (!(map_flags & PTE_MAP_NONE))
		pte |= PT_USER;
	if (!(map_flags & PTE_MAP_WRITE))
		pte |= PT_READ_ONLY;
	if (!(map_flags & PTE_MAP_EXEC))
		pte |= PT_UXN;
	if (!(map_flags & PTE_MAP_OLD))
		pte |= PT_ACCESSED;
	return pte;
}

pte_t pte_make(const struct page *page, u32 map_flags)
{
	pte_t pte = pte_make_phys(page_phys(page), map_flags);

	return map_flags & PTE_MAP_SPECIAL ? pte : pte & ~PT_SPECIAL;
}

struct page *pte_page(pte_t pte)
{
	/* What is counted is memory of ours. */
	return likely(!(pte & PT_SPECIAL)) ? phys_page_own(pte & PT_ADDRESS) : phys_page(pte & PT_ADDRESS);
}

static inline u64 asid_bits(const struct mm *mm)
{
	return (atomic_load_explicit(&mm->arch.asid, memory_order_relaxed) & 0xffff) << 48;
}

static inline void invalidate_leaf(const struct mm *mm, u64 address)
{
	u64 argument = asid_bits(mm) | ((address >> 12) & 0xfffffffffffull);

	__asm__ volatile("tlbi vale1is, %0" : : "r"(argument) : "memory");
}

void tlb_flush_page(struct mm *mm, u64 address)
{
	dsb(ishst);
	invalidate_leaf(mm, address);
	dsb(ish);
}

void tlb_flush_mm(struct mm *mm)
{
	dsb(ishst);
	__asm__ volatile("tlbi aside1is, %0" : : "r"(asid_bits(mm)) : "memory");
	dsb(ish);
}

void tlb_flush_range(struct mm *mm, u64 start, u64 end)
{
	if (end - start > FLUSH_MAX * PAGE_SIZE) {
		tlb_flush_mm(mm);
		return;
	}
	dsb(ishst);
	for (; start < end; start += PAGE_SIZE)
		invalidate_leaf(mm, start);
	dsb(ish);
}

pte_t pte_exchange(struct mm *mm, u64 address, pte_t *entry, pte_t pte)
{
	pte_t old = pte_take(entry);

	if (pte_present(old))
		tlb_flush_page(mm, address);
	if (pte)
		pte_set(entry, pte);
	return old;
}

void pte_walk(struct mm *mm, u64 start, u64 end, bool (*fn)(pte_t *entry, u64 address, void *arg), void *arg)
{
	pte_t *entry;

	while (start < end && (entry = pte_find_next(mm, &start, end))) {
		u64 stop = min(end, align_down(start, PTE_TABLE_SPAN) + PTE_TABLE_SPAN);

		for (; start < stop; start += PAGE_SIZE, entry++)
			if (pte_present(pte_get(entry)) && !fn(entry, start, arg))
				return;
	}
}

/* What was unlinked hangs together by its first entries until no walker can see it. */
struct free_tables {
	struct mm *mm;
	u64 *list;
};

static void table_unlink(struct free_tables *free, u64 *entry)
{
	u64 *table = table_of(*entry);

	*(volatile u64 *)entry = 0;
	table[0] = (u64)free->list;
	free->list = table;
}

/* [start, end) within what `table` of `level` covers. True: `table` is empty now. */
static bool prune(struct free_tables *free, u64 *table, u32 level, u64 start, u64 end)
{
	u64 span = 1ull << (39 - 9 * level);
	u32 used = 0;

	for (u32 i = 0; i < ENTRIES; i++)
		used += table[i] != 0;
	if (level == 3)
		return !used;
	for (u64 at = start; at < end && used; at = align_down(at, span) + span) {
		u64 *entry = &table[index_of(at, level)];

		if (!*entry || !prune(free, table_of(*entry), level + 1, at, min(end, align_down(at, span) + span)))
			continue;
		/* A table of leaves goes only if the range covers it all: others may be about to fill it else. */
		if (level == 2 && (!is_aligned(at, span) || end - at < span))
			continue;
		table_unlink(free, entry);
		used--;
	}
	return !used;
}

void pte_free_tables(struct mm *mm, u64 start, u64 end)
{
	struct free_tables free = {.mm = mm};
	u64 count = 0;

	prune(&free, mm->arch.root, 0, start, end);
	if (!free.list)
		return;
	tlb_flush_mm(mm); /* walk caches too: aside1is is not limited to leaves */
	while (free.list) {
		u64 *table = free.list;

		free.list = (u64 *)table[0];
		table[0] = 0;
		table_free(table);
		count++;
	}
	atomic_fetch_sub_explicit(&mm->table_pages, count, memory_order_relaxed);
}

/* Arm ARM B2.4.4: clean the data cache to the point of unification, then invalidate the instruction cache. */
void cache_sync_executable(void *address, size_t bytes)
{
	u64 ctr = sysreg_read(ctr_el0);
	u64 line = 4ull << ((ctr >> 16) & 0xf), start = (u64)address, end = start + bytes;

	if (!(ctr & (1ull << 28))) /* IDC: the data cache need not be cleaned */
		for (u64 at = start & ~(line - 1); at < end; at += line)
			__asm__ volatile("dc cvau, %0" : : "r"(at) : "memory");
	dsb(ish);
	if (!(ctr & (1ull << 29))) { /* DIC: nor the instruction cache */
		/* By alias: the user's address differs, so a cache that is not PIPT must go as a whole. */
		__asm__ volatile("ic ialluis" : : : "memory");
		dsb(ish);
	}
	isb();
}
