/* SPDX-License-Identifier: MIT */
/*
 * Boot: the memory map that the device tree gives, and allocation before the page allocator is there. Used by one CPU, before
 * any task runs.
 */
#ifndef LICHEN_BOOT_H
#define LICHEN_BOOT_H

#include <lichen/types.h>

struct memory_range {
	phys_addr_t base, size;
};

enum { MEMORY_RANGES = 64 };

struct memory_map {
	struct memory_range ram[MEMORY_RANGES]; /* page aligned, sorted, disjoint; the pool is not among them */
	struct memory_range pool[8];
	struct memory_range reserved[MEMORY_RANGES]; /* sorted, disjoint */
	u32 ram_count, pool_count, reserved_count;
};
extern struct memory_map memory_map;

/* Parses the tree (already checked by fdt_check_header) for memory, reservations, the pool, and chosen. */
void devicetree_scan(const void *dt);
/* A range of RAM, of the pool or not. Odd ones are left out with a message. */
void memory_map_add_ram(phys_addr_t base, phys_addr_t size, bool pool);
/* After the last one: the pool wins where they overlap. */
void memory_map_finish(void);
void memory_map_reserve(phys_addr_t base, phys_addr_t size);
/* RAM outside the pool, mapped, zeroed by nobody; 0 when there is none. */
phys_addr_t memory_map_alloc(phys_addr_t size, phys_addr_t align);
/* Calls fn for each free range, after which everything belongs to the page allocator. */
void memory_map_for_each_free(void (*fn)(phys_addr_t base, phys_addr_t size, bool pool));
/* The boot's allocations take only RAM below this mark of each range that is mapped already. */
extern phys_addr_t memory_map_mapped_end;

void page_init(void);
void slab_init(void);
void slab_close(void); /* no more caches from here on: there are other CPUs */
void kernel_start(void); /* the architecture is up: everything else, then the executor */
void random_seed_from_device_tree(void);

void selftest_start(void);

extern char boot_command_line[];
struct initrd {
	phys_addr_t start, end;
};
extern struct initrd boot_initrd;

#endif
