/* SPDX-License-Identifier: MIT */
/*
 * EL2's exception vectors. Interrupts never come here (HCR_EL2.IMO = FMO = 0). Hypercalls save only what C may change: SMCCC lets
 * the callee keep the rest.
 */
#include "arm64.h"

	.macro	save_volatile
	sub	sp, sp, #REGS_SIZE
	stp	x0, x1, [sp]
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x29, x30, [sp, #232]
	str	x18, [sp, #144]
	.endm

	.macro	save_preserved
	stp	x19, x20, [sp, #152]
	stp	x21, x22, [sp, #168]
	stp	x23, x24, [sp, #184]
	stp	x25, x26, [sp, #200]
	stp	x27, x28, [sp, #216]
	.endm

	.macro	restore_volatile_and_return
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x29, x30, [sp, #232]
	ldr	x18, [sp, #144]
	ldp	x0, x1, [sp]
	add	sp, sp, #REGS_SIZE
	eret
	dsb	nsh
	isb
	.endm

	.macro	bad_vector, kind
	.balign	128
	mov	x0, #\kind
	b	bad_exception
	.endm

	.text
	.balign	2048
	.globl	vectors
vectors:
	bad_vector 0
	bad_vector 1
	bad_vector 2
	bad_vector 3
	bad_vector 4
	bad_vector 5
	bad_vector 6
	bad_vector 7
	/* From a domain: synchronous, IRQ, FIQ, SError; then the same from AArch32. */
	.balign	128
	save_volatile
	mrs	x0, esr_el2
	lsr	x1, x0, #26
	cmp	x1, #EC_HVC64
	b.eq	hypercall
	b	other
	bad_vector 9
	bad_vector 10
	bad_vector 11
	.balign	128
	save_volatile
	mrs	x0, esr_el2
	b	other
	bad_vector 13
	bad_vector 14
	bad_vector 15

	.balign	64
hypercall:
	mov	x1, sp
	bl	trap_hypercall
	restore_volatile_and_return

/*
 * What a driver does at every request needs no more than these; but a store may be of a register that C preserves (its number is
 * 16 and more then: ESR_EL2.ISS.SRT).
 */
other:
	tbz	x0, #20, 1f
	save_preserved
1:	str	xzr, [sp, #248]
	mov	x1, sp
	bl	trap_fast
	cbz	w0, slow
	restore_volatile_and_return

/* Any other trapped instruction may name any register. C has preserved these. */
slow:
	save_preserved
	mrs	x0, esr_el2
	mov	x1, sp
	bl	trap_sync
	ldp	x19, x20, [sp, #152]
	ldp	x21, x22, [sp, #168]
	ldp	x23, x24, [sp, #184]
	ldp	x25, x26, [sp, #200]
	ldp	x27, x28, [sp, #216]
	restore_volatile_and_return

/* Our own fault: say so and stop this CPU. */
bad_exception:
	mrs	x1, esr_el2
	mrs	x2, elr_el2
	mrs	x3, far_el2
	b	trap_bad
