/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own address space: built once at boot, W^X. Later changes: io_map adds pages, nothing goes away.
 */
#include <lichen/boot.h>
#include <lichen/irq.h>
#include <lichen/lock.h>
#include <lichen/page.h>
#include <lichen/printk.h>
#include <lichen/string.h>
#include <arch/kernel_map.h>
#include <arch/memory.h>
#include <arch/sysreg.h>
#include <libfdt.h>

#define BLOCK_2M (2ul << 20)
#define BLOCK_1G (1ul << 30)

#define KERNEL_PAGE (PTE_VALID | PTE_INNER | PTE_ACCESSED | PTE_UXN)
#define DATA	    (KERNEL_PAGE | PTE_PXN | PTE_ATTR(MEMORY_NORMAL))
#define RODATA	    (DATA | PTE_READONLY)
#define TEXT	    (KERNEL_PAGE | PTE_READONLY | PTE_ATTR(MEMORY_NORMAL))
#define DEVICE	    (KERNEL_PAGE | PTE_PXN | PTE_ATTR(MEMORY_DEVICE))

extern char image_start[], text_end[], rodata_end[], data_end[], image_end[];
extern u64 early_table[], early_fdt_table[], empty_table[];
extern void mmu_switch(u64 ttbr1);

static u64 kernel_offset; /* virtual minus physical address of the image */
static spinlock_t map_lock = SPINLOCK_INIT;
static bool linear_ready;

/* Tables come from here until RAM is mapped; enough for the image and a dozen ranges of RAM. */
static u64 table_pool[48][512] __aligned(4096);
static u32 table_pool_used;
static u64 kernel_root[512] __aligned(4096);

static phys_addr_t image_phys(const void *p)
{
	return (u64)p - kernel_offset;
}

static u64 *table_address(phys_addr_t phys)
{
	phys_addr_t pool = image_phys(table_pool);

	if (phys >= pool && phys < pool + sizeof(table_pool))
		return (u64 *)(phys + kernel_offset);
	return (u64 *)(LINEAR_BASE + phys);
}

static phys_addr_t table_new(void)
{
	phys_addr_t phys;
	struct page *page;

	if (table_pool_used < ARRAY_SIZE(table_pool))
		return image_phys(table_pool[table_pool_used++]);
	if (!linear_ready) {
		phys = memory_map_alloc(PAGE_SIZE, PAGE_SIZE);
		if (!phys)
			panic("no memory for the kernel's page tables: the device tree names too little RAM");
	} else {
		page = page_alloc(0, 0);
		if (!page)
			return 0;
		page_set(page, PAGE_TABLE);
		phys = page_phys(page);
	}
	page_zero(table_address(phys));
	return phys;
}

/* Maps whole pages with the largest blocks that fit. False without memory. Never changes what is mapped. */
static bool map(u64 virt, phys_addr_t phys, u64 size, u64 attributes)
{
	while (size) {
		u64 *table = kernel_root, step = PAGE_SIZE;
		int level = 0;

		for (;; level++) {
			int shift = 39 - 9 * level;
			u64 *entry = &table[virt >> shift & 511];
			u64 block = BIT(shift);

			if (level && size >= block && !((virt | phys) & (block - 1)) && !(*entry & PTE_VALID)) {
				*entry = phys | attributes | (level == 3 ? PTE_TABLE : 0);
				step = block;
				break;
			}
			kassert(level < 3);
			if (!(*entry & PTE_VALID)) {
				phys_addr_t next = table_new();

				if (!next)
					return false;
				dsb(ishst); /* zeroes before the table is seen */
				*entry = next | PTE_TABLE | PTE_VALID;
			}
			kassert(*entry & PTE_TABLE);
			table = table_address(*entry & PTE_ADDRESS);
		}
		virt += step;
		phys += step;
		size -= step;
	}
	dsb(ishst);
	isb();
	return true;
}

/* The device tree, before there are other tables than the early ones. NULL if it is none. */
const void *mmu_map_fdt_early(phys_addr_t phys)
{
	const void *dt = (const void *)(FDT_VIRT + (phys & (BLOCK_2M - 1)));

	if (!phys || phys & 7 || phys >= BIT(LINEAR_BITS))
		return NULL;
	for (int i = 0; i < 2; i++)
		early_fdt_table[i] = (align_down(phys, BLOCK_2M) + (u64)i * BLOCK_2M) | RODATA;
	dsb(ishst);
	isb();
	return dt;
}

/*
 * The linear map. The kernel's text and constants are read-only there too.
 */
static void map_linear(phys_addr_t base, phys_addr_t size)
{
	phys_addr_t ro = image_phys(image_start), ro_end = image_phys(rodata_end), end = base + size;
	phys_addr_t a = max(base, ro), b = min(end, ro_end);

	if (a >= b) {
		map(LINEAR_BASE + base, base, size, DATA);
	} else {
		if (base < a)
			map(LINEAR_BASE + base, base, a - base, DATA);
		map(LINEAR_BASE + a, a, b - a, RODATA);
		if (b < end)
			map(LINEAR_BASE + b, b, end - b, DATA);
	}
	if (memory_map_mapped_end < end)
		memory_map_mapped_end = end;
}

static void map_image(const char *from, const char *to, u64 attributes)
{
	map((u64)from, image_phys(from), (u64)(to - from), attributes);
}

void mmu_set_image(phys_addr_t phys)
{
	kernel_offset = KERNEL_VIRT - phys;
}

void mmu_init(phys_addr_t dt, size_t dt_bytes)
{
	phys_addr_t image = image_phys(image_start);
	phys_addr_t dt_start = align_down(dt, PAGE_SIZE);
	void (*go)(u64) = (void (*)(u64))((u64)mmu_switch - kernel_offset);

	memory_map_reserve(image, (u64)(image_end - image_start));
	memory_map_reserve(dt, dt_bytes);
	map_image(image_start, text_end, TEXT);
	map_image(text_end, rodata_end, RODATA);
	map_image(rodata_end, image_end, DATA);
	map(FDT_VIRT + (dt_start & (BLOCK_2M - 1)), dt_start, align_up(dt + dt_bytes, PAGE_SIZE) - dt_start, RODATA);
	/* These tables are in use from here on, so that what is mapped can hold the next range's tables. */
	go(image_phys(kernel_root));
	for (u32 i = 0; i < memory_map.ram_count; i++)
		map_linear(memory_map.ram[i].base, memory_map.ram[i].size);
	for (u32 i = 0; i < memory_map.pool_count; i++)
		map(LINEAR_BASE + memory_map.pool[i].base, memory_map.pool[i].base, memory_map.pool[i].size, DATA);
}

/* Boot only: backs [virt, virt + bytes) with RAM, zeroed. */
void mmu_back(u64 virt, u64 bytes)
{
	u64 start = align_down(virt, PAGE_SIZE), end = align_up(virt + bytes, PAGE_SIZE);

	while (start < end) {
		u64 step = PAGE_SIZE;
		phys_addr_t phys = 0;

		if (!(start & (BLOCK_2M - 1)) && end - start >= BLOCK_2M) {
			phys = memory_map_alloc(BLOCK_2M, BLOCK_2M);
			step = BLOCK_2M;
		}
		if (!phys) {
			phys = memory_map_alloc(PAGE_SIZE, PAGE_SIZE);
			step = PAGE_SIZE;
		}
		if (!phys)
			panic("too little RAM for the kernel's own tables");
		memset((void *)(LINEAR_BASE + phys), 0, step);
		map(start, phys, step, DATA);
		start += step;
	}
}

/* The page may be backed already, by a neighbouring range. */
bool mmu_backed(u64 virt)
{
	u64 *table = kernel_root;

	for (int level = 0; level <= 3; level++) {
		u64 entry = table[virt >> (39 - 9 * level) & 511];

		if (!(entry & PTE_VALID))
			return false;
		if (level == 3 || !(entry & PTE_TABLE))
			return true;
		table = table_address(entry & PTE_ADDRESS);
	}
	return false;
}

void mmu_linear_ready(void)
{
	linear_ready = true;
}

phys_addr_t mmu_kernel_root(void)
{
	return image_phys(kernel_root);
}

phys_addr_t mmu_image_phys(const void *p)
{
	return image_phys(p);
}

phys_addr_t mmu_empty_root(void)
{
	return image_phys(empty_table);
}

static void *map_new(phys_addr_t phys, size_t bytes, u64 attributes)
{
	static u64 next = DEVICE_VIRT;
	phys_addr_t start = align_down(phys, PAGE_SIZE);
	u64 size, virt;
	bool done = false;
	unsigned long flags;

	if (!bytes || phys >= PTE_ADDRESS || bytes > DEVICE_VIRT_SIZE || phys + bytes > PTE_ADDRESS)
		return NULL;
	size = align_up(phys + bytes, PAGE_SIZE) - start;
	flags = spin_lock_irqsave(&map_lock);
	virt = next;
	if (size < DEVICE_VIRT + DEVICE_VIRT_SIZE - next) {
		next += size + PAGE_SIZE; /* a hole catches overruns */
		done = map(virt, start, size, attributes);
	}
	spin_unlock_irqrestore(&map_lock, flags);
	return done ? (void *)(virt + (phys - start)) : NULL;
}

void *io_map(phys_addr_t phys, size_t bytes)
{
	return map_new(phys, bytes, DEVICE);
}

void *shared_map(phys_addr_t phys, size_t bytes, bool write)
{
	return map_new(phys, bytes, write ? DATA : RODATA);
}

/* The CPUs' stacks: the upper half of each slot is backed, the lower one is the guard. */
void *mmu_stack(u32 cpu)
{
	u64 top = STACKS_VIRT + (u64)(cpu + 1) * STACK_SLOT;
	struct page *page = page_alloc(STACK_SIZE_SHIFT - PAGE_SHIFT, ALLOC_ZERO);
	unsigned long flags;
	bool done;

	if (!page)
		return NULL;
	flags = spin_lock_irqsave(&map_lock);
	done = map(top - STACK_SIZE, page_phys(page), STACK_SIZE, DATA);
	spin_unlock_irqrestore(&map_lock, flags);
	return done ? (void *)top : NULL;
}
