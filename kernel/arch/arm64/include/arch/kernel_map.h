/* SPDX-License-Identifier: MIT */
/* The kernel's own address space (mmu.c), as the rest of the architecture's code needs it. */
#ifndef ARCH_KERNEL_MAP_H
#define ARCH_KERNEL_MAP_H

#include <lichen/types.h>

/* Where the image was loaded: before anything else here. */
void mmu_set_image(phys_addr_t phys);
/* Maps the device tree before the memory map is known; NULL if the address cannot be one. */
const void *mmu_map_fdt_early(phys_addr_t phys);
/* Builds the final map from memory_map and switches to it. */
void mmu_init(phys_addr_t dt, size_t dt_bytes);
/* Boot only: backs kernel addresses with zeroed RAM. */
void mmu_back(u64 virt, u64 bytes);
bool mmu_backed(u64 virt);
/* From here on tables come from the page allocator. */
void mmu_linear_ready(void);
/* The top of a CPU's kernel stack, or NULL without memory. */
void *mmu_stack(u32 cpu);
phys_addr_t mmu_kernel_root(void);
/* A table that maps nothing: TTBR0 while no thread runs. */
phys_addr_t mmu_empty_root(void);
/* Physical address of something in the kernel image. */
phys_addr_t mmu_image_phys(const void *p);

#endif
