/* SPDX-License-Identifier: MIT */
/*
 * memcpy, memmove and memset: the boot copies and clears megabytes, and its time is counted.
 */
	.text

/* Forwards, 64 bytes a turn. Unaligned is fine: everything here is normal memory with the MMU on. */
	.globl	memcpy
	.balign	64
memcpy:
	mov	x3, x0
1:	subs	x2, x2, #64
	b.lo	2f
	ldp	x4, x5, [x1]
	ldp	x6, x7, [x1, #16]
	ldp	x8, x9, [x1, #32]
	ldp	x10, x11, [x1, #48]
	add	x1, x1, #64
	stp	x4, x5, [x3]
	stp	x6, x7, [x3, #16]
	stp	x8, x9, [x3, #32]
	stp	x10, x11, [x3, #48]
	add	x3, x3, #64
	b	1b
2:	add	x2, x2, #64
3:	subs	x2, x2, #8
	b.lo	4f
	ldr	x4, [x1], #8
	str	x4, [x3], #8
	b	3b
4:	add	x2, x2, #8
5:	cbz	x2, 6f
	ldrb	w4, [x1], #1
	strb	w4, [x3], #1
	sub	x2, x2, #1
	b	5b
6:	ret

/* Backwards when the target lies behind the source and overlaps it. */
	.globl	memmove
memmove:
	sub	x3, x0, x1
	cmp	x3, x2
	b.hs	memcpy
	add	x1, x1, x2
	add	x3, x0, x2
1:	subs	x2, x2, #32
	b.lo	2f
	ldp	x4, x5, [x1, #-16]
	ldp	x6, x7, [x1, #-32]!
	stp	x4, x5, [x3, #-16]
	stp	x6, x7, [x3, #-32]!
	b	1b
2:	add	x2, x2, #32
3:	cbz	x2, 4f
	ldrb	w4, [x1, #-1]!
	strb	w4, [x3, #-1]!
	sub	x2, x2, #1
	b	3b
4:	ret

	.globl	memset
memset:
	mov	x3, x0
	and	x1, x1, #0xff
	orr	x1, x1, x1, lsl #8
	orr	x1, x1, x1, lsl #16
	orr	x1, x1, x1, lsl #32
1:	subs	x2, x2, #64
	b.lo	2f
	stp	x1, x1, [x3]
	stp	x1, x1, [x3, #16]
	stp	x1, x1, [x3, #32]
	stp	x1, x1, [x3, #48]
	add	x3, x3, #64
	b	1b
2:	add	x2, x2, #64
3:	cbz	x2, 4f
	strb	w1, [x3], #1
	sub	x2, x2, #1
	b	3b
4:	ret
