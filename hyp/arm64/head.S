/* SPDX-License-Identifier: MIT */
/*
 * The first instructions: the arm64 Image header (Linux, Documentation/arch/arm64/booting.rst), relocation to where the image was loaded, and
 * the way of every CPU from the firmware to C with the MMU on.
 */
#include "arm64.h"

	.macro	adr_l, reg, symbol
	adrp	\reg, \symbol
	add	\reg, \reg, :lo12:\symbol
	.endm

	.macro	mov_q, reg, value
	movz	\reg, #(\value) & 0xffff
	movk	\reg, #((\value) >> 16) & 0xffff, lsl #16
	.endm

	.section .head, "ax"
	.globl image_start
image_start:
	b	entry
	.long	0
	.quad	0			/* text_offset: any multiple of 2 MiB */
	.quad	image_size		/* with everything behind the loaded part */
	.quad	0xa			/* little endian, 4 KiB pages, anywhere in memory */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

	.text
/* x0 = device tree. MMU off; EL2. */
entry:
	msr	daifset, #0xf
	mov	x19, x0
	mrs	x0, CurrentEL
	cmp	x0, #2 << 2
	b.ne	halt
	mov_q	x0, SCTLR_EL2_RES1
	msr	sctlr_el2, x0
	isb

	/* What the firmware left in the caches must not come back over what is written with the MMU off. */
	bl	clean_image

	adr_l	x1, rela_start
	adr_l	x2, rela_end
	adr_l	x3, image_start		/* linked at 0 */
1:	cmp	x1, x2
	b.hs	2f
	ldp	x4, x5, [x1], #16	/* offset, type, addend */
	ldr	x6, [x1], #8
	cmp	x5, #1027		/* R_AARCH64_RELATIVE: all but padding */
	b.ne	1b
	add	x6, x6, x3
	str	x6, [x4, x3]
	b	1b
2:	adr_l	x1, bss_start
	adr_l	x2, bss_end
3:	stp	xzr, xzr, [x1], #16
	cmp	x1, x2
	b.lo	3b

	adr_l	x0, boot_stack_top
	mov	sp, x0
	mov	x0, x19
	bl	mmu_boot
	bl	clean_image
	bl	mmu_load
	mov	x0, x19
	bl	hyp_main
halt:	wfe
	b	halt

/* Cleans and invalidates the image and its zeroed part, by address. */
clean_image:
	mrs	x0, ctr_el0
	ubfx	x0, x0, #16, #4
	mov	x1, #4
	lsl	x1, x1, x0
	adr_l	x2, image_start
	adr_l	x3, bss_end
1:	dc	civac, x2
	add	x2, x2, x1
	cmp	x2, x3
	b.lo	1b
	dsb	sy
	ic	iallu
	dsb	sy
	isb
	ret

/* Loads what mmu_registers says. Everything is identity mapped, so the MMU may go off and on under our feet. */
	.globl mmu_load
mmu_load:
	adr_l	x4, mmu_registers
	ldp	x0, x1, [x4]
	ldp	x2, x3, [x4, #16]
	mov_q	x5, SCTLR_EL2_RES1
	dsb	sy
	msr	sctlr_el2, x5
	isb
	msr	ttbr0_el2, x0
	msr	mair_el2, x1
	msr	tcr_el2, x2
	tlbi	alle2
	dsb	nsh
	isb
	msr	sctlr_el2, x3
	isb
	ret

/* The firmware's PSCI CPU_ON comes here: x0 = struct cpu. MMU off; EL2. */
	.globl secondary_entry
secondary_entry:
	msr	daifset, #0xf
	mov	x19, x0
	ic	iallu
	bl	mmu_load
	ldr	x1, [x19]
	mov	sp, x1
	mov	x0, x19
	bl	cpu_enter_domain

/* enter_el1(entry, x0, stack_top): leaves EL2 for good; the stack is empty again. */
	.globl enter_el1
enter_el1:
	mov	sp, x2
	msr	elr_el2, x0
	mov	x0, #SPSR_EL1H_MASKED
	msr	spsr_el2, x0
	mov	x0, x1
	mov	x1, xzr
	mov	x2, xzr
	mov	x3, xzr
	.irp	n, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
	mov	x\n, xzr
	.endr
	isb
	eret
	dsb	nsh
	isb

/* smc_call(function, a1, a2, a3, result): SMCCC 1.1. */
	.globl smc_call
smc_call:
	stp	x29, x30, [sp, #-32]!
	str	x4, [sp, #16]
	mov	x4, xzr
	mov	x5, xzr
	mov	x6, xzr
	mov	x7, xzr
	smc	#0
	ldr	x4, [sp, #16]
	stp	x0, x1, [x4]
	stp	x2, x3, [x4, #16]
	ldp	x29, x30, [sp], #32
	ret

	.section .bss
	.balign	16
boot_stack:
	.space	16384
boot_stack_top:
