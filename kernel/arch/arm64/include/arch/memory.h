/* SPDX-License-Identifier: MIT */
/*
 * The kernel's half of the address space (TTBR1, 48 bits, 4 KiB pages):
 *
 *     ffff000000000000  linear map: all RAM at LINEAR_BASE + physical address, never executable
 *     ffff800080000000  the kernel image
 *     ffff8000c0000000  the device tree, 4 MiB, read-only
 *     ffffa00000000000  devices (ioremap)
 *     ffffc00000000000  the array of struct page, index = page frame number, backed where there is RAM
 *     ffffe00000000000  kernel stacks, one slot of 64 KiB a CPU, the lower half a guard
 */
#ifndef ARCH_MEMORY_H
#define ARCH_MEMORY_H

#define LINEAR_BASE	  0xffff000000000000
#define LINEAR_BITS	  47
#define KERNEL_VIRT	  0xffff800080000000
#define FDT_VIRT	  0xffff8000c0000000
#define FDT_VIRT_SIZE	  0x400000
#define DEVICE_VIRT	  0xffffa00000000000
#define DEVICE_VIRT_SIZE  0x0000100000000000
#define PAGES_VIRT	  0xffffc00000000000
#define STACKS_VIRT	  0xffffe00000000000
#define STACK_SLOT_SHIFT  16
#define STACK_SIZE_SHIFT  15 /* SP of a good stack has this bit set: entry.S checks it */
#define STACK_SLOT	  (1 << STACK_SLOT_SHIFT)
#define STACK_SIZE	  (1 << STACK_SIZE_SHIFT)
#define EMERGENCY_STACK	  4096

/* Memory attributes (MAIR_EL1 indices). */
#define MEMORY_NORMAL	 0
#define MEMORY_DEVICE	 1 /* nGnRE */
#define MEMORY_UNCACHED	 2
#define MAIR_VALUE	 0x4404ff

/* Descriptors (Arm ARM D8.3). */
#define PTE_VALID	 (1 << 0)
#define PTE_TABLE	 (1 << 1) /* a table; at level 3: a page */
#define PTE_ATTR(i)	 ((i) << 2)
#define PTE_USER	 (1 << 6)
#define PTE_READONLY	 (1 << 7)
#define PTE_INNER	 (3 << 8)
#define PTE_ACCESSED	 (1 << 10)
#define PTE_NOT_GLOBAL	 (1 << 11)
#define PTE_PXN		 0x20000000000000 /* bit 53 */
#define PTE_UXN		 0x40000000000000 /* bit 54 */
#define PTE_ADDRESS	 0x0000fffffffff000

#endif
