/* SPDX-License-Identifier: MIT */
/*
 * One walker for all translation tables of the hypervisor. Also runs before the MMU is on.
 */
#include "arm64.h"
#include "pagetable.h"

#define TABLE_ENTRIES 512

static u64 level_size(u32 level)
{
	return 1ull << (39 - 9 * level); /* level 0: 512 GiB ... level 3: 4 KiB */
}

/* Turns the block in *entry into a table of smaller ones, or makes an empty table. */
static u64 *split(struct pagetable *table, u64 *entry, u32 level)
{
	u64 *next = table->alloc(), old = *entry;

	if (old & PTE_VALID) {
		u64 attributes = old & ~(PTE_ADDR | PTE_VALID | PTE_TABLE), addr = old & PTE_ADDR;
		u64 type = level + 1 == 3 ? PTE_VALID | PTE_TABLE : PTE_VALID;

		for (u32 i = 0; i < TABLE_ENTRIES; i++)
			next[i] = (addr + i * level_size(level + 1)) | attributes | type;
	}
	dsb(ishst);
	*(volatile u64 *)entry = (u64)next | PTE_VALID | PTE_TABLE;
	return next;
}

static void map_level(
	struct pagetable *table, u64 *entries, u32 level, u64 base, u64 end, u64 attributes)
{
	u64 step = level_size(level);
	u64 mask = level == table->level ? table->tables * TABLE_ENTRIES - 1 : TABLE_ENTRIES - 1;

	while (base < end) {
		u64 *entry = &entries[base / step & mask];
		u64 next = MIN(ALIGN_DOWN(base, step) + step, end);
		bool whole = next - base == step, leaf = level == 3;
		bool is_table = !leaf && (*entry & 3) == (PTE_VALID | PTE_TABLE);

		if (leaf || (whole && level > 0 && !is_table)) {
			u64 type = leaf ? PTE_VALID | PTE_TABLE : PTE_VALID;

			*(volatile u64 *)entry = attributes ? base | attributes | type : 0;
		} else if (is_table || (*entry & PTE_VALID) || attributes) {
			u64 *lower =
				is_table ? (u64 *)(*entry & PTE_ADDR) : split(table, entry, level);

			map_level(table, lower, level + 1, base, next, attributes);
		}
		base = next;
	}
}

void pagetable_map(struct pagetable *table, u64 base, u64 size, u64 attributes)
{
	map_level(table, table->root, table->level, ALIGN_DOWN(base, PAGE_SIZE),
		ALIGN_UP(base + size, PAGE_SIZE), attributes);
	dsb(ishst);
}
