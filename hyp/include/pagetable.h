/* SPDX-License-Identifier: MIT */
/*
 * Translation tables with a 4 KiB granule, for EL2's own stage 1 and for stage 2 (Arm ARM D8.3). Built at boot from the
 * hypervisor's own pages; afterwards entries are only removed.
 */
#ifndef HYP_PAGETABLE_H
#define HYP_PAGETABLE_H

#include "types.h"

#define PTE_VALID    BIT(0)
#define PTE_TABLE    BIT(1) /* or page, at the last level */
#define PTE_AF	     BIT(10)
#define PTE_SH_INNER (3ull << 8)
#define PTE_XN	     BIT(54)
#define PTE_ADDR     0x0000fffffffff000ull

/* Stage 1 of EL2. MAIR_EL2: 0 Device-nGnRE, 1 Normal write-back, 2 Normal non-cacheable. */
#define MAIR_EL2_VALUE 0x44ff04ull
#define S1_COMMON      (PTE_AF | BIT(6)) /* AP[1] is RES1 at EL2 */
#define S1_NORMAL      (S1_COMMON | PTE_SH_INNER | 1 << 2)
#define S1_READ_ONLY   BIT(7)
#define S1_TEXT	       (S1_NORMAL | S1_READ_ONLY)
#define S1_RODATA      (S1_NORMAL | S1_READ_ONLY | PTE_XN)
#define S1_DATA	       (S1_NORMAL | PTE_XN)
#define S1_DEVICE      (S1_COMMON | PTE_XN)
#define S1_UNCACHED    (S1_COMMON | PTE_SH_INNER | 2 << 2 | PTE_XN)

/* Stage 2: the domain's own attributes decide, but MMIO is never cacheable. */
#define S2_COMMON    PTE_AF
#define S2_RAM	     (S2_COMMON | PTE_SH_INNER | 0xfull << 2 | 3ull << 6)
#define S2_SHARED    (S2_RAM | PTE_XN)
#define S2_SHARED_RO (S2_COMMON | PTE_SH_INNER | 0xfull << 2 | 1ull << 6 | PTE_XN)
#define S2_MMIO	     (S2_COMMON | PTE_SH_INNER | 0x5ull << 2 | 3ull << 6 | PTE_XN)
/* Memory that somebody maps as a device: never cached for anybody, or they would see different things. */
#define S2_UNCACHED    S2_MMIO
#define S2_UNCACHED_RO (S2_COMMON | PTE_SH_INNER | 0x5ull << 2 | 1ull << 6 | PTE_XN)

struct pagetable {
	u64 *root;
	u32 level;	     /* of the root: 0 or 1 */
	u32 tables;	     /* concatenated root tables */
	u64 *(*alloc)(void); /* a zeroed page */
};

/*
 * Maps [base, base + size) to itself with `attributes`, in the largest blocks that fit; 0 removes. What was mapped there is replaced.
 * The caller does the TLB maintenance, when there was something.
 */
void pagetable_map(struct pagetable *table, u64 base, u64 size, u64 attributes);

#endif
