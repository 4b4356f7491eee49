/* SPDX-License-Identifier: MIT */
/*
 * Copies to and from user memory with unprivileged loads and stores (LDTR, STTR: the permissions of EL0, also with PAN).
 * The range was checked. A fault in a big step goes to a loop over bytes, which ends exactly where memory does: the
 * result is the number of bytes not copied.
 */
#include <arch/extable.h>

	.text

/* 64 bytes at \offset from x1 to x0, or what of it can be before the fault */
	.macro	load_user_64 offset, fault
	may_fault \fault, ldtr x3, [x1, #\offset]
	may_fault \fault, ldtr x4, [x1, #\offset + 8]
	may_fault \fault, ldtr x5, [x1, #\offset + 16]
	may_fault \fault, ldtr x6, [x1, #\offset + 24]
	may_fault \fault, ldtr x7, [x1, #\offset + 32]
	may_fault \fault, ldtr x8, [x1, #\offset + 40]
	may_fault \fault, ldtr x9, [x1, #\offset + 48]
	may_fault \fault, ldtr x10, [x1, #\offset + 56]
	stp	x3, x4, [x0, #\offset]
	stp	x5, x6, [x0, #\offset + 16]
	stp	x7, x8, [x0, #\offset + 32]
	stp	x9, x10, [x0, #\offset + 48]
	.endm

	.macro	store_user_64 offset, fault
	ldp	x3, x4, [x1, #\offset]
	ldp	x5, x6, [x1, #\offset + 16]
	ldp	x7, x8, [x1, #\offset + 32]
	ldp	x9, x10, [x1, #\offset + 48]
	may_fault \fault, sttr x3, [x0, #\offset]
	may_fault \fault, sttr x4, [x0, #\offset + 8]
	may_fault \fault, sttr x5, [x0, #\offset + 16]
	may_fault \fault, sttr x6, [x0, #\offset + 24]
	may_fault \fault, sttr x7, [x0, #\offset + 32]
	may_fault \fault, sttr x8, [x0, #\offset + 40]
	may_fault \fault, sttr x9, [x0, #\offset + 48]
	may_fault \fault, sttr x10, [x0, #\offset + 56]
	.endm

/*
 * The unprivileged forms move one register and have no write-back: long copies go by 256 bytes, which is as far as their
 * offsets reach. x11: where the last of these steps ends, by x1.
 */
	.macro	copy_256 step
	cmp	x2, #256
	b.lo	200f
	bic	x11, x2, #255
	add	x11, x1, x11
100:	\step	0, 256f
	\step	64, 256f
	\step	128, 256f
	\step	192, 256f
	add	x1, x1, #256
	add	x0, x0, #256
	cmp	x1, x11
	b.ne	100b
	and	x2, x2, #255
200:
	.endm

/* size_t uaccess_copy_from(x0 = void *to, x1 = user from, x2 = n) */
	.globl	uaccess_copy_from
	.balign	64
uaccess_copy_from:
	copy_256 load_user_64
	cmp	x2, #64
	b.lo	2f
1:	load_user_64 0, 64f
	add	x1, x1, #64
	add	x0, x0, #64
	sub	x2, x2, #64
	cmp	x2, #64
	b.hs	1b
	cbz	x2, 8f
2:	tbz	x2, #5, 3f
	may_fault 32f, ldtr x3, [x1]
	may_fault 32f, ldtr x4, [x1, #8]
	may_fault 32f, ldtr x5, [x1, #16]
	may_fault 32f, ldtr x6, [x1, #24]
	add	x1, x1, #32
	stp	x3, x4, [x0], #16
	stp	x5, x6, [x0], #16
3:	tbz	x2, #4, 4f
	may_fault 16f, ldtr x3, [x1]
	may_fault 16f, ldtr x4, [x1, #8]
	add	x1, x1, #16
	stp	x3, x4, [x0], #16
4:	tbz	x2, #3, 5f
	may_fault 18f, ldtr x3, [x1]
	add	x1, x1, #8
	str	x3, [x0], #8
5:	tst	x2, #7
	b.eq	8f
	tbz	x2, #2, 6f
	may_fault 14f, ldtr w3, [x1]
	add	x1, x1, #4
	str	w3, [x0], #4
6:	tbz	x2, #1, 7f
	may_fault 12f, ldtrh w3, [x1]
	add	x1, x1, #2
	strh	w3, [x0], #2
7:	tbz	x2, #0, 8f
	may_fault 11f, ldtrb w3, [x1]
	strb	w3, [x0]
8:	mov	x0, #0
	ret

/* Faults: what is left is known by the step; then byte by byte. In the last step of 256 the rest is x2's, too. */
256:	sub	x11, x11, x1
	and	x2, x2, #255
	add	x2, x2, x11
	b	64f
32:	and	x2, x2, #63
	b	64f
16:	and	x2, x2, #31
	b	64f
18:	and	x2, x2, #15
	b	64f
14:	and	x2, x2, #7
	b	64f
12:	and	x2, x2, #3
64:	may_fault 9f, ldtrb w3, [x1]
	add	x1, x1, #1
	strb	w3, [x0], #1
	subs	x2, x2, #1
	b.ne	64b
9:	mov	x0, x2
	ret
11:	mov	x0, #1
	ret

/* size_t uaccess_copy_to(x0 = user to, x1 = const void *from, x2 = n) */
	.globl	uaccess_copy_to
	.balign	64
uaccess_copy_to:
	copy_256 store_user_64
	cmp	x2, #64
	b.lo	2f
1:	store_user_64 0, 64f
	add	x1, x1, #64
	add	x0, x0, #64
	sub	x2, x2, #64
	cmp	x2, #64
	b.hs	1b
	cbz	x2, 8f
2:	tbz	x2, #5, 3f
	ldp	x3, x4, [x1]
	ldp	x5, x6, [x1, #16]
	may_fault 32f, sttr x3, [x0]
	may_fault 32f, sttr x4, [x0, #8]
	may_fault 32f, sttr x5, [x0, #16]
	may_fault 32f, sttr x6, [x0, #24]
	add	x1, x1, #32
	add	x0, x0, #32
3:	tbz	x2, #4, 4f
	ldp	x3, x4, [x1]
	may_fault 16f, sttr x3, [x0]
	may_fault 16f, sttr x4, [x0, #8]
	add	x1, x1, #16
	add	x0, x0, #16
4:	tbz	x2, #3, 5f
	ldr	x3, [x1]
	may_fault 18f, sttr x3, [x0]
	add	x1, x1, #8
	add	x0, x0, #8
5:	tst	x2, #7
	b.eq	8f
	tbz	x2, #2, 6f
	ldr	w3, [x1]
	may_fault 14f, sttr w3, [x0]
	add	x1, x1, #4
	add	x0, x0, #4
6:	tbz	x2, #1, 7f
	ldrh	w3, [x1]
	may_fault 12f, sttrh w3, [x0]
	add	x1, x1, #2
	add	x0, x0, #2
7:	tbz	x2, #0, 8f
	ldrb	w3, [x1]
	may_fault 11f, sttrb w3, [x0]
8:	mov	x0, #0
	ret

256:	sub	x11, x11, x1
	and	x2, x2, #255
	add	x2, x2, x11
	b	64f
32:	and	x2, x2, #63
	b	64f
16:	and	x2, x2, #31
	b	64f
18:	and	x2, x2, #15
	b	64f
14:	and	x2, x2, #7
	b	64f
12:	and	x2, x2, #3
64:	ldrb	w3, [x1]
	may_fault 9f, sttrb w3, [x0]
	add	x1, x1, #1
	add	x0, x0, #1
	subs	x2, x2, #1
	b.ne	64b
9:	mov	x0, x2
	ret
11:	mov	x0, #1
	ret

/* size_t uaccess_clear(x0 = user to, x1 = n) */
	.globl	uaccess_clear
uaccess_clear:
	cmp	x1, #32
	b.lo	2f
1:	may_fault 2f, sttr xzr, [x0]
	may_fault 2f, sttr xzr, [x0, #8]
	may_fault 2f, sttr xzr, [x0, #16]
	may_fault 2f, sttr xzr, [x0, #24]
	add	x0, x0, #32
	sub	x1, x1, #32
	cmp	x1, #32
	b.hs	1b
2:	cbz	x1, 3f
	may_fault 3f, sttrb wzr, [x0]
	add	x0, x0, #1
	sub	x1, x1, #1
	b	2b
3:	mov	x0, x1
	ret

/*
 * struct uaccess_string uaccess_copy_string(x0 = char *to, x1 = user from, x2 = n > 0): copies up to n bytes, to the first
 * NUL. x0: bytes copied, without the NUL; x1: 1 a NUL was found (and stored), 0 the n bytes have none, -1 a fault.
 * Words are loaded from aligned addresses only, so they never reach into a page that the string does not.
 */
	.globl	uaccess_copy_string
uaccess_copy_string:
	mov	x9, x0
	mov	x10, #0x0101010101010101
1:	tst	x1, #7
	b.ne	3f
2:	cmp	x2, #8
	b.lo	3f
	may_fault 5f, ldtr x3, [x1]
	sub	x4, x3, x10
	bic	x4, x4, x3
	tst	x4, #0x8080808080808080		/* some byte is zero */
	b.ne	3f
	str	x3, [x0], #8
	add	x1, x1, #8
	subs	x2, x2, #8
	b.ne	2b
	b	4f
3:	may_fault 5f, ldtrb w3, [x1]
	strb	w3, [x0]
	cbz	w3, 6f
	add	x0, x0, #1
	add	x1, x1, #1
	subs	x2, x2, #1
	b.ne	1b
4:	sub	x0, x0, x9
	mov	x1, #0
	ret
5:	sub	x0, x0, x9
	mov	x1, #-1
	ret
6:	sub	x0, x0, x9
	mov	x1, #1
	ret

/* long user_load_u32(x0 = user address, x1 = u32 *value): 0 or -EFAULT */
	.globl	user_load_u32
user_load_u32:
	ubfx	x2, x0, #48, #16
	cbnz	x2, 9f
	may_fault 9f, ldtr w2, [x0]
	str	w2, [x1]
	mov	x0, #0
	ret
9:	mov	x0, #-14
	ret

/*
 * long uaccess_cmpxchg(x0 = user address, w1 = old, w2 = new, x3 = u32 *seen): the exclusives have no unprivileged
 * form. The caller opened PAN; the unprivileged load first makes sure that the page is the user's at all (one that
 * only the kernel may access looks like that to EL0), the exclusive store faults if it is read-only. The exclusive
 * pair has full ordering.
 */
	.globl	uaccess_cmpxchg
uaccess_cmpxchg:
	may_fault 9f, ldtr w4, [x0]
1:	may_fault 9f, ldaxr w4, [x0]
	cmp	w4, w1
	b.ne	2f
	may_fault 9f, stlxr w5, w2, [x0]
	cbnz	w5, 1b
	dmb	ish
2:	str	w4, [x3]
	mov	x0, #0
	ret
9:	mov	x0, #-14
	ret
