/* SPDX-License-Identifier: MIT */
/*
 * EL2's translation tables. The first ones (mmu_boot) map only the image and the device tree; the final ones give every section its
 * own rights, and after the boot no RAM of a domain is in them: EL2 could not touch it if it wanted to.
 */
#include <string.h>

#include "arm64.h"
#include "log.h"
#include "mmu.h"
#include "pagetable.h"

static u64 boot_tables[8][512] __attribute__((aligned(4096)));
static u32 boot_tables_used;
static struct pagetable boot_table, el2_table;

struct mmu_registers mmu_registers;

static u64 heap_at;
static bool sealed;

struct range hyp_memory(void)
{
	return (struct range){(u64)image_start, image_end - image_start};
}

void *boot_alloc(u64 size)
{
	u64 at = heap_at ? heap_at : (u64)heap_start;

	size = ALIGN_UP(size, PAGE_SIZE);
	if (sealed || size > (u64)heap_end - at)
		panic("out of boot memory (%lu bytes)", (unsigned long)size);
	heap_at = at + size;
	memset((void *)at, 0, size);
	return (void *)at;
}

void boot_seal(void)
{
	sealed = true;
}

static u64 *alloc_table(void)
{
	return boot_alloc(PAGE_SIZE);
}

static u64 *alloc_boot_table(void)
{
	return boot_tables[boot_tables_used++ & 7];
}

u32 physical_bits(void)
{
	static const u8 bits[] = {32, 36, 40, 42, 44, 48, 52};
	u64 range = read_sysreg(id_aa64mmfr0_el1) & 0xf;

	return MIN(bits[MIN(range, 6)], 48);
}

/*
 * The first tables. MMU and caches are off, so what is written here was cleaned from the caches by head.S.
 * The device tree lies in one 2 MiB block, as the boot protocol says (Linux, arm64/booting.rst), but may start anywhere in it.
 */
void mmu_boot(u64 dtb)
{
	u64 range = MIN(read_sysreg(id_aa64mmfr0_el1) & 0xf, 5);

	boot_table = (struct pagetable){alloc_boot_table(), 0, 1, alloc_boot_table};
	pagetable_map(&boot_table, ALIGN_DOWN(dtb, BLOCK_SIZE), 2 * BLOCK_SIZE, S1_DATA);
	/* The image may lie in the block that the line above made non-executable. */
	pagetable_map(&boot_table, (u64)image_start, image_end - image_start, S1_NORMAL);
	mmu_registers.ttbr = (u64)boot_table.root;
	mmu_registers.mair = MAIR_EL2_VALUE;
	/* RES1; PS; 4 KiB granule; inner shareable, write-back walks; 48 bits (Arm ARM, TCR_EL2) */
	mmu_registers.tcr = 1u << 31 | 1 << 23 | range << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 16;
	mmu_registers.sctlr = SCTLR_EL2_ON & ~(1u << 19); /* WXN comes with the final tables */
}

void mmu_init(void)
{
	el2_table = (struct pagetable){alloc_table(), 0, 1, alloc_table};
}

void mmu_map_image(void)
{
	u64 text = (u64)image_start, rodata = (u64)text_end, data = (u64)rodata_end;

	mmu_map(text, rodata - text, S1_TEXT);
	mmu_map(rodata, data - rodata, S1_RODATA);
	mmu_map(data, (u64)heap_start - data, S1_DATA);
	/* By single pages: one whose attributes change later is in no block together with what is in use. */
	for (u64 page = (u64)heap_start; page < (u64)heap_end; page += PAGE_SIZE)
		mmu_map(page, PAGE_SIZE, S1_DATA);
}

void mmu_map(u64 base, u64 size, u64 attributes)
{
	pagetable_map(&el2_table, base, size, attributes);
}

void mmu_switch(void)
{
	mmu_registers.ttbr = (u64)el2_table.root;
	mmu_registers.sctlr = SCTLR_EL2_ON;
	cache_clean((u64)&mmu_registers,
		sizeof(mmu_registers)); /* other CPUs read it with caches off */
	mmu_load();
}

void mmu_unmap(u64 base, u64 size)
{
	pagetable_map(&el2_table, base, size, 0);
	tlbi(alle2is);
	dsb(ish);
	isb();
}

void cache_clean(u64 base, u64 size)
{
	u64 line = 4 << (read_sysreg(ctr_el0) >> 16 & 0xf);

	for (u64 at = ALIGN_DOWN(base, line); at < base + size; at += line)
		asm volatile("dc cvac, %0" : : "r"(at) : "memory");
	dsb(sy);
}

void mmu_uncache(u64 base, u64 size)
{
	u64 line = 4 << (read_sysreg(ctr_el0) >> 16 & 0xf);

	mmu_unmap(base, size); /* break before make */
	mmu_map(base, size, S1_UNCACHED);
	isb();
	/* Maintenance by address reaches the lines that the old attributes left, dirty or not. */
	for (u64 at = ALIGN_DOWN(base, line); at < base + size; at += line)
		asm volatile("dc civac, %0" : : "r"(at) : "memory");
	dsb(sy);
}
