/* SPDX-License-Identifier: MIT */
/*
 * EL2's own address space: identity mapped, nothing both writable and executable.
 */
#ifndef HYP_MMU_H
#define HYP_MMU_H

#include "layout.h"
#include "types.h"

/* The hypervisor's own memory: the image and the heap behind it. */
extern char image_start[], text_end[], rodata_end[], image_end[], heap_start[], heap_end[];
struct range hyp_memory(void);

/* Pages of the heap, zeroed, until boot_sealed(). Panics when there are none left: the heap's size is a fact of the build. */
void *boot_alloc(u64 size);
/* No allocation after this. */
void boot_seal(void);

/*
 * The final tables: empty; mmu_map adds; mmu_map_image adds the image's sections, each with its rights (after the RAM that it lies in);
 * mmu_switch makes them EL2's.
 */
void mmu_init(void);
void mmu_map_image(void);
void mmu_map(u64 base, u64 size, u64 attributes);
void mmu_switch(void);
/* Takes the mapping away on all CPUs. */
void mmu_unmap(u64 base, u64 size);
/* Pages of the heap are not cached from here on: what drivers map as a device's registers. Their content stays. */
void mmu_uncache(u64 base, u64 size);

/* For head.S, before the MMU is on: the first tables, with the image and the device tree. */
void mmu_boot(u64 dtb);
/* Loads mmu_registers, with the MMU off in between. */
void mmu_load(void);

/* What CPUs load: head.S. */
struct mmu_registers {
	u64 ttbr, mair, tcr, sctlr;
};
extern struct mmu_registers mmu_registers;

/* Makes memory that was written here visible to a domain whose caches are off, or that does not use them there. */
void cache_clean(u64 base, u64 size);

/* The size of physical addresses in bits. */
u32 physical_bits(void);

#endif
