/* SPDX-License-Identifier: MIT */
/*
 * Page tables of user address spaces: 48-bit, 4 KiB pages, four levels. The caller holds mm->table_lock unless it
 * says otherwise; nothing here waits. `address` is page aligned.
 *
 * An entry is absent (0) or present. A present one may deny user mode everything (PROT_NONE keeps its page), and may be
 * special: its page is not counted (the zero page, the vdso, device memory).
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
enum {
	PTE_MAP_WRITE = 1,
	PTE_MAP_EXEC = 2,
	PTE_MAP_DEVICE = 4,
	PTE_MAP_OLD = 8,
	PTE_MAP_NONE = 16,    /* no access for user mode */
	PTE_MAP_SPECIAL = 32, /* the page is not counted */
};

/* Bits of a leaf entry (Arm ARM D8.3). */
#define PT_VALID      (1ull << 0)
#define PT_PAGE	      (1ull << 1) /* a table; at level 3: a page */
#define PT_USER	      (1ull << 6)
#define PT_READ_ONLY  (1ull << 7)
#define PT_ACCESSED   (1ull << 10)
#define PT_NOT_GLOBAL (1ull << 11)
#define PT_PXN	      (1ull << 53)
#define PT_UXN	      (1ull << 54)
#define PT_SPECIAL    (1ull << 56) /* software's */
#define PT_ADDRESS    0x0000fffffffff000ull

/* Bytes that one table of leaf entries covers: its entries lie side by side. */
#define PTE_TABLE_SPAN (512ull * PAGE_SIZE)

long arch_mm_init(struct arch_mm *mm); /* 0 or -ENOMEM */
/* Frees the tables (not the pages) and the ASID: no CPU uses it any more. */
void arch_mm_destroy(struct arch_mm *mm);
/* The entry, tables made as needed; NULL without memory (make = true) or if there is no table. */
pte_t *pte_find(struct mm *mm, u64 address, bool make);
/* The first leaf table that exists at or after *address and before end: the entry of *address, which moves there. NULL: none. */
pte_t *pte_find_next(struct mm *mm, u64 *address, u64 end);
pte_t pte_make(const struct page *page, u32 map_flags);
/* Of a physical page that is not ours: device memory. Always special. */
pte_t pte_make_phys(phys_addr_t phys, u32 map_flags);
static inline bool pte_present(pte_t pte)
{
	return pte & PT_VALID;
}
static inline bool pte_special(pte_t pte)
{
	return pte & PT_SPECIAL;
}
/* User mode may read it. */
static inline bool pte_readable(pte_t pte)
{
	return pte & PT_USER;
}
static inline bool pte_writable(pte_t pte)
{
	return (pte & (PT_VALID | PT_USER | PT_READ_ONLY)) == (PT_VALID | PT_USER);
}
static inline bool pte_executable(pte_t pte)
{
	return (pte & (PT_VALID | PT_USER | PT_UXN)) == (PT_VALID | PT_USER);
}
/* writable = dirty: entries of clean shared pages are made read-only first. */
static inline bool pte_dirty(pte_t pte)
{
	return (pte & (PT_VALID | PT_READ_ONLY)) == PT_VALID;
}
static inline pte_t pte_write_protect(pte_t pte)
{
	return pte | PT_READ_ONLY;
}
struct page *pte_page(pte_t pte); /* NULL: not memory of ours */
/* Atomic with respect to hardware; the caller sees what other CPUs wrote under the lock. */
static inline pte_t pte_get(const pte_t *entry)
{
	return *(const volatile pte_t *)entry;
}
/* Writes an entry over an absent one, or one of the same page with more rights. */
static inline void pte_set(pte_t *entry, pte_t pte)
{
	*(volatile pte_t *)entry = pte;
}
/* Takes an entry away with no TLB work: tlb_flush_* must follow before its page is freed. The old entry. */
static inline pte_t pte_take(pte_t *entry)
{
	pte_t old = pte_get(entry);

	pte_set(entry, 0);
	return old;
}
/* Takes an entry away, or exchanges the page: break before make, with the TLBs of all CPUs. The old entry. */
pte_t pte_exchange(struct mm *mm, u64 address, pte_t *entry, pte_t pte);
/* Many: clear entries without TLB work, then flush the range at once. */
void tlb_flush_page(struct mm *mm, u64 address);
void tlb_flush_range(struct mm *mm, u64 start, u64 end);
void tlb_flush_mm(struct mm *mm);
/* Calls fn for each present entry of the range, in order; stops when it returns false. */
void pte_walk(struct mm *mm, u64 start, u64 end, bool (*fn)(pte_t *entry, u64 address, void *arg), void *arg);
/* Frees tables that lie wholly in [start, end) and map nothing; walk caches are flushed. */
void pte_free_tables(struct mm *mm, u64 start, u64 end);
/* Instruction fetch sees what was written. Any context. */
void cache_sync_executable(void *address, size_t bytes);
/* Switches the CPU's user tables. Interrupts masked. */
void arch_mm_switch(struct arch_mm *mm); /* NULL: none */

#endif
