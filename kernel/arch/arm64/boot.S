/* SPDX-License-Identifier: MIT */
/*
 * From the boot loader to C. Entered at the image's first byte with the MMU off, at EL1 or EL2, x0 = physical address of the
 * device tree (Linux's arm64 boot protocol: Documentation/arch/arm64/booting.rst). Builds
 *   - an identity map of the image's first 2 MiB, kept: other CPUs start through it, and mmu_switch runs in it;
 *   - an early map of the image at KERNEL_VIRT, all permissions: mmu.c replaces it by the final one.
 */
#include <arch/memory.h>
#include "offsets.h"

#define SCTLR_OFF  0x30d00800 /* what is RES1; MMU and caches off */
#define SCTLR_ON   0x34d5d91d /* M C SA SA0 EOS I DZE UCT nTWI nTWE EIS SPAN UCI and RES1 */
#define SPSR_EL1H  0x3c5      /* DAIF masked */

	.section .head, "ax"
	.globl image_start_code
image_start_code:
	b	boot_primary
	.long	0
	.quad	0		/* load offset from a 2 MiB boundary */
	.quad	image_size
	.quad	0xa		/* little endian, 4 KiB pages, anywhere in memory */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

	.section .idmap.text, "ax"

boot_primary:
	mov	x21, x0
	bl	drop_to_el1
	adrp	x20, image_start		/* physical */

	/*
	 * Everything from bss_start to image_end is written below with caches off: lines of a former owner must not
	 * be written back over it later.
	 */
	adrp	x0, bss_start
	adrp	x1, image_end
	mrs	x2, ctr_el0
	ubfx	x2, x2, #16, #4
	mov	x3, #4
	lsl	x3, x3, x2
1:	dc	ivac, x0
	add	x0, x0, x3
	cmp	x0, x1
	b.lo	1b
	dsb	sy
	adrp	x0, bss_start
2:	stp	xzr, xzr, [x0], #16
	cmp	x0, x1
	b.lo	2b

	/* The identity map: one block of 2 MiB. */
	adrp	x0, idmap_table
	add	x1, x0, #4096
	add	x2, x0, #8192
	ubfx	x3, x20, #39, #9
	orr	x4, x1, #3
	str	x4, [x0, x3, lsl #3]
	ubfx	x3, x20, #30, #9
	orr	x4, x2, #3
	str	x4, [x1, x3, lsl #3]
	ubfx	x3, x20, #21, #9
	mov	x5, #(PTE_VALID | PTE_ATTR(MEMORY_NORMAL) | PTE_INNER | PTE_ACCESSED)
	orr	x4, x20, x5
	str	x4, [x2, x3, lsl #3]

	/* The early map of the image. KERNEL_VIRT is aligned to 1 GiB, FDT_VIRT follows it. */
	adrp	x0, early_table
	add	x1, x0, #4096
	add	x2, x0, #8192
	ldr	x6, =KERNEL_VIRT
	ubfx	x3, x6, #39, #9
	orr	x4, x1, #3
	str	x4, [x0, x3, lsl #3]
	ubfx	x3, x6, #30, #9
	orr	x4, x2, #3
	str	x4, [x1, x3, lsl #3]
	add	x3, x3, #1
	add	x4, x2, #4096
	orr	x4, x4, #3
	str	x4, [x1, x3, lsl #3]
	adrp	x7, image_end
	orr	x4, x20, x5
3:	str	x4, [x2], #8
	add	x4, x4, #0x200000
	cmp	x4, x7
	b.lo	3b

	adrp	x1, early_table
	bl	mmu_on
	ldr	x0, =primary_high
	br	x0

/* x1 = physical address of the TTBR1 table. Turns the MMU on; returns to where it was called, in the identity map. */
mmu_on:
	adrp	x0, idmap_table
	ldr	x2, =MAIR_VALUE
	msr	mair_el1, x2
	/* TCR: 48 bits both halves, 4 KiB, write-back inner shareable walks, TBI0; IPS and ASID size from the CPU. */
	ldr	x2, =0x20b5103510
	mrs	x3, id_aa64mmfr0_el1
	and	x4, x3, #0xf
	mov	x5, #5
	cmp	x4, x5
	csel	x4, x5, x4, hi
	bfi	x2, x4, #32, #3
	ubfx	x4, x3, #4, #4
	cmp	x4, #2
	b.ne	1f
	orr	x2, x2, #(1 << 36)		/* 16-bit ASIDs */
1:	msr	tcr_el1, x2
	msr	ttbr0_el1, x0
	msr	ttbr1_el1, x1
	isb
	tlbi	vmalle1
	dsb	nsh
	ic	iallu
	dsb	nsh
	isb
	ldr	x2, =SCTLR_ON
	mrs	x3, id_aa64mmfr1_el1
	ubfx	x3, x3, #20, #4
	cbz	x3, 2f
	bic	x2, x2, #(1 << 23)		/* PAN is set on every entry */
2:	msr	sctlr_el1, x2
	isb
	ret

/* Arm ARM D19.2. Returns at EL1 with the MMU off, whatever the loader left. */
drop_to_el1:
	msr	daifset, #0xf
	mrs	x0, currentel
	cmp	x0, #(2 << 2)
	b.eq	1f
	ldr	x0, =SCTLR_OFF
	msr	sctlr_el1, x0
	isb
	ret
1:	mov	x0, #(1 << 31)			/* HCR_EL2.RW */
	msr	hcr_el2, x0
	isb
	ldr	x0, =SCTLR_OFF
	msr	sctlr_el1, x0
	mov	x0, #3				/* timers and counters are EL1's */
	msr	cnthctl_el2, x0
	msr	cntvoff_el2, xzr
	mov	x0, #0x33ff			/* no trap of FP/SIMD */
	msr	cptr_el2, x0
	msr	hstr_el2, xzr
	msr	vttbr_el2, xzr
	mrs	x0, midr_el1
	msr	vpidr_el2, x0
	mrs	x0, mpidr_el1
	msr	vmpidr_el2, x0
	mrs	x0, id_aa64dfr0_el1
	ubfx	x0, x0, #8, #4
	cbz	x0, 2f
	cmp	x0, #0xf
	b.eq	2f
	mrs	x0, pmcr_el0
	ubfx	x0, x0, #11, #5
	msr	mdcr_el2, x0			/* HPMN: all counters are EL1's */
2:	mrs	x0, id_aa64pfr0_el1
	ubfx	x0, x0, #24, #4
	cbz	x0, 3f
	mrs	x0, s3_4_c12_c9_5		/* ICC_SRE_EL2: system registers, for EL1 too */
	orr	x0, x0, #1
	orr	x0, x0, #8
	msr	s3_4_c12_c9_5, x0
	isb
	msr	s3_4_c12_c11_0, xzr		/* ICH_HCR_EL2 */
3:	mov	x0, #SPSR_EL1H
	msr	spsr_el2, x0
	msr	elr_el2, x30
	eret

/* Another CPU: x0 = physical address of its struct cpu_start. */
	.globl boot_secondary
boot_secondary:
	mov	x21, x0
	bl	drop_to_el1
	ldr	x1, [x21, #CPU_START_TTBR1]
	bl	mmu_on
	ldr	x0, =secondary_high
	br	x0

/*
 * mmu_switch(x0 = physical TTBR1 table): called at its physical address; returns to a high address. In between, the
 * upper half is not used.
 */
	.globl mmu_switch
mmu_switch:
	adrp	x1, empty_table
	msr	ttbr1_el1, x1
	isb
	tlbi	vmalle1
	dsb	nsh
	isb
	msr	ttbr1_el1, x0
	isb
	ret

	.text
primary_high:
	ldr	x0, =boot_stack_top
	mov	sp, x0
	msr	spsel, #1
	mov	sp, x0
	ldr	x0, =vectors
	msr	vbar_el1, x0
	isb
	mov	x29, xzr
	mov	x30, xzr
	mov	x0, x21
	mov	x1, x20
	bl	arch_start
	b	.

secondary_high:
	/* x21 is physical: the structure lies in the linear map too. */
	ldr	x0, =LINEAR_BASE
	add	x21, x21, x0
	ldr	x1, [x21, #CPU_START_STACK]
	mov	sp, x1
	msr	spsel, #1
	mov	sp, x1
	ldr	x0, =vectors
	msr	vbar_el1, x0
	ldr	x0, [x21, #CPU_START_CPU]
	msr	tpidr_el1, x0
	isb
	mov	x29, xzr
	mov	x30, xzr
	bl	arch_start_secondary
	b	.

	.bss
	.balign	4096
	.globl	early_table, idmap_table, empty_table, early_fdt_table
idmap_table:
	.space	3 * 4096
early_table:
	.space	3 * 4096
early_fdt_table:
	.space	4096
empty_table:
	.space	4096
	.balign	16
	.space	16384
	.globl	boot_stack_top
boot_stack_top:
