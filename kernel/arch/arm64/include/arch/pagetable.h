/* SPDX-License-Identifier: MIT */
/*
 * Page tables of user address spaces: 48-bit, 4 KiB pages, four levels. The caller holds mm->table_lock unless it
 * says otherwise; nothing here waits. `address` is page aligned.
 */
#ifndef ARCH_PAGETABLE_H
#define ARCH_PAGETABLE_H

#include <lichen/types.h>

struct mm;
struct page;

struct arch_mm {
	u64 *root;
	_Atomic u64 asid; /* generation << 16 | ASID */
};

typedef u64 pte_t;
enum { PTE_MAP_WRITE = 1, PTE_MAP_EXEC = 2, PTE_MAP_DEVICE = 4, PTE_MAP_OLD = 8 };

long arch_mm_init(struct arch_mm *mm); /* 0 or -ENOMEM */
/* Frees the tables (not the pages) and the ASID: no CPU uses it any more. */
void arch_mm_destroy(struct arch_mm *mm);
/* The entry, tables made as needed; NULL without memory (make = true) or if there is no table. */
pte_t *pte_find(struct mm *mm, u64 address, bool make);
pte_t pte_make(const struct page *page, u32 map_flags);
static inline bool pte_present(pte_t pte)
{
	return pte & 1;
}
bool pte_writable(pte_t pte);
bool pte_executable(pte_t pte);
bool pte_dirty(pte_t pte); /* writable = dirty: entries of clean shared pages are made read-only first */
struct page *pte_page(pte_t pte); /* NULL: not memory of ours */
pte_t pte_write_protect(pte_t pte);
/* Writes an entry over an absent one, or one of the same page with more rights. */
void pte_set(pte_t *entry, pte_t pte);
/* Takes an entry away, or exchanges the page: break before make, with the TLBs of all CPUs. The old entry. */
pte_t pte_exchange(struct mm *mm, u64 address, pte_t *entry, pte_t pte);
/* Many: clear entries without TLB work, then flush the range at once. */
void tlb_flush_range(struct mm *mm, u64 start, u64 end);
void tlb_flush_mm(struct mm *mm);
/* Calls fn for each present entry of the range, in order; stops when it returns false. */
void pte_walk(struct mm *mm, u64 start, u64 end, bool (*fn)(pte_t *entry, u64 address, void *arg), void *arg);
/* Frees tables that lie wholly in [start, end) and map nothing. */
void pte_free_tables(struct mm *mm, u64 start, u64 end);
/* Instruction fetch sees what was written. Any context. */
void cache_sync_executable(void *address, size_t bytes);
/* Switches the CPU's user tables. Interrupts masked. */
void arch_mm_switch(struct arch_mm *mm); /* NULL: none */

#endif
