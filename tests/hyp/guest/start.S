/* SPDX-License-Identifier: MIT */
/*
 * A bare domain for tests: entry of all its CPUs, exception vectors. MMU off throughout.
 */
	.section .head, "ax"
	.globl	image_start
image_start:
	b	entry
	.long	0
	.quad	0
	.quad	image_size
	.quad	0xa
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

	.macro	adr_l, reg, symbol
	adrp	\reg, \symbol
	add	\reg, \reg, :lo12:\symbol
	.endm

	.text
entry:
	mov	x19, x0
	adr_l	x1, rela_start
	adr_l	x2, rela_end
	adr_l	x3, image_start
1:	cmp	x1, x2
	b.hs	2f
	ldp	x4, x5, [x1], #16
	ldr	x6, [x1], #8
	cmp	x5, #1027
	b.ne	1b
	add	x6, x6, x3
	str	x6, [x4, x3]
	b	1b
2:	adr_l	x1, bss_start
	adr_l	x2, bss_end
3:	stp	xzr, xzr, [x1], #16
	cmp	x1, x2
	b.lo	3b
	adr_l	x1, stacks + 16384
	mov	sp, x1
	adr_l	x1, vectors
	msr	vbar_el1, x1
	mov	x1, #3 << 20
	msr	cpacr_el1, x1
	isb
	mov	x0, x19
	bl	guest_main
1:	wfi
	b	1b

/* PSCI CPU_ON: x0 = number of this CPU in the domain. */
	.globl	guest_secondary
guest_secondary:
	adr_l	x1, stacks + 16384
	add	x1, x1, x0, lsl #14
	mov	sp, x1
	adr_l	x1, vectors
	msr	vbar_el1, x1
	isb
	bl	guest_secondary_main
1:	wfi
	b	1b

	.macro	vector, handler
	.balign	128
	sub	sp, sp, #256
	stp	x0, x1, [sp]
	mov	x0, sp
	b	\handler
	.endm

	.balign	2048
vectors:
	.rept	4
	vector	stray
	.endr
	vector	sync
	vector	irq
	vector	irq
	vector	stray
	.rept	8
	vector	stray
	.endr

	.macro	save
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x29, x30, [sp, #160]
	.endm
	.macro	restore
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x19, [sp, #144]
	ldp	x29, x30, [sp, #160]
	ldp	x0, x1, [sp], #256
	eret
	.endm
sync:	save
	bl	guest_sync	/* struct frame: x30 at 168 */
	restore
irq:	save
	bl	guest_irq
	restore
stray:	save
	bl	guest_stray
1:	wfi
	b	1b

/* A function to call through a pointer, and an access that faults: long try_*(addr). The handler skips the instruction. */
	.globl	try_call
try_call:
	stp	x29, x30, [sp, #-16]!
	blr	x0
	ldp	x29, x30, [sp], #16
	ret

	.bss
	.balign	16
stacks:	.space	16384 * 8
