/* SPDX-License-Identifier: MIT */
/*
 * memcpy, memmove, memset, page_copy, page_zero. General registers only; unaligned accesses are fine on normal
 * memory (never use these on devices).
 */
	.text

/* memmove(x0 = to, x1 = from, x2 = n). Overlap is only trouble if from < to < from + n: then copy backwards. */
	.globl	memmove
	.globl	memcpy
	.balign	64
memmove:
memcpy:
	sub	x3, x0, x1
	cmp	x3, x2
	b.lo	.Lbackwards
	mov	x3, x0
	subs	x2, x2, #64
	b.lo	.Ltail64
1:	ldp	x4, x5, [x1]
	ldp	x6, x7, [x1, #16]
	ldp	x8, x9, [x1, #32]
	ldp	x10, x11, [x1, #48]
	add	x1, x1, #64
	stp	x4, x5, [x3]
	stp	x6, x7, [x3, #16]
	stp	x8, x9, [x3, #32]
	stp	x10, x11, [x3, #48]
	add	x3, x3, #64
	subs	x2, x2, #64
	b.hs	1b
.Ltail64:
	tbz	x2, #5, 2f
	ldp	x4, x5, [x1], #16
	ldp	x6, x7, [x1], #16
	stp	x4, x5, [x3], #16
	stp	x6, x7, [x3], #16
2:	tbz	x2, #4, 3f
	ldp	x4, x5, [x1], #16
	stp	x4, x5, [x3], #16
3:	tbz	x2, #3, 4f
	ldr	x4, [x1], #8
	str	x4, [x3], #8
4:	tbz	x2, #2, 5f
	ldr	w4, [x1], #4
	str	w4, [x3], #4
5:	tbz	x2, #1, 6f
	ldrh	w4, [x1], #2
	strh	w4, [x3], #2
6:	tbz	x2, #0, 7f
	ldrb	w4, [x1]
	strb	w4, [x3]
7:	ret

.Lbackwards:
	add	x1, x1, x2
	add	x3, x0, x2
	subs	x2, x2, #32
	b.lo	2f
1:	ldp	x4, x5, [x1, #-16]
	ldp	x6, x7, [x1, #-32]!
	stp	x4, x5, [x3, #-16]
	stp	x6, x7, [x3, #-32]!
	subs	x2, x2, #32
	b.hs	1b
2:	tbz	x2, #4, 3f
	ldp	x4, x5, [x1, #-16]!
	stp	x4, x5, [x3, #-16]!
3:	tbz	x2, #3, 4f
	ldr	x4, [x1, #-8]!
	str	x4, [x3, #-8]!
4:	tbz	x2, #2, 5f
	ldr	w4, [x1, #-4]!
	str	w4, [x3, #-4]!
5:	tbz	x2, #1, 6f
	ldrh	w4, [x1, #-2]!
	strh	w4, [x3, #-2]!
6:	tbz	x2, #0, 7f
	ldrb	w4, [x1, #-1]
	strb	w4, [x3, #-1]
7:	ret

/* memset(x0 = to, w1 = c, x2 = n) */
	.globl	memset
	.balign	64
memset:
	and	w1, w1, #0xff
	mov	x4, #0x0101010101010101
	mul	x4, x1, x4
	mov	x3, x0
	subs	x2, x2, #64
	b.lo	2f
1:	stp	x4, x4, [x3]
	stp	x4, x4, [x3, #16]
	stp	x4, x4, [x3, #32]
	stp	x4, x4, [x3, #48]
	add	x3, x3, #64
	subs	x2, x2, #64
	b.hs	1b
2:	tbz	x2, #5, 3f
	stp	x4, x4, [x3], #16
	stp	x4, x4, [x3], #16
3:	tbz	x2, #4, 4f
	stp	x4, x4, [x3], #16
4:	tbz	x2, #3, 5f
	str	x4, [x3], #8
5:	tbz	x2, #2, 6f
	str	w4, [x3], #4
6:	tbz	x2, #1, 7f
	strh	w4, [x3], #2
7:	tbz	x2, #0, 8f
	strb	w4, [x3]
8:	ret

	.globl	page_copy
	.balign	64
page_copy:
	add	x2, x1, #4096
1:	ldp	x4, x5, [x1]
	ldp	x6, x7, [x1, #16]
	ldp	x8, x9, [x1, #32]
	ldp	x10, x11, [x1, #48]
	ldp	x12, x13, [x1, #64]
	ldp	x14, x15, [x1, #80]
	ldp	x16, x17, [x1, #96]
	stp	x4, x5, [x0]
	ldp	x4, x5, [x1, #112]
	add	x1, x1, #128
	stp	x6, x7, [x0, #16]
	stp	x8, x9, [x0, #32]
	stp	x10, x11, [x0, #48]
	stp	x12, x13, [x0, #64]
	stp	x14, x15, [x0, #80]
	stp	x16, x17, [x0, #96]
	stp	x4, x5, [x0, #112]
	add	x0, x0, #128
	cmp	x1, x2
	b.lo	1b
	ret

/* DC ZVA where it is permitted and its block is 64 bytes, as everywhere we know; else stores. */
	.globl	page_zero
	.balign	64
page_zero:
	add	x1, x0, #4096
	mrs	x2, dczid_el0
	cmp	x2, #4
	b.ne	2f
1:	dc	zva, x0
	add	x2, x0, #64
	dc	zva, x2
	add	x2, x0, #128
	dc	zva, x2
	add	x2, x0, #192
	dc	zva, x2
	add	x0, x0, #256
	cmp	x0, x1
	b.lo	1b
	ret
2:	stp	xzr, xzr, [x0]
	stp	xzr, xzr, [x0, #16]
	stp	xzr, xzr, [x0, #32]
	stp	xzr, xzr, [x0, #48]
	add	x0, x0, #64
	cmp	x0, x1
	b.lo	2b
	ret
