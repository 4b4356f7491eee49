/* SPDX-License-Identifier: MIT */
/*
 * Exceptions. While a thread is in user mode, SP_EL1 points at its struct user_context: the registers go straight there,
 * and the CPU's one kernel stack begins anew at its top. Exceptions of the kernel itself save a struct kernel_frame on
 * the kernel stack.
 */
#include <arch/memory.h>
#include "offsets.h"

#define FRAME_BYTES 288

	.macro vector target
	.balign	128
	b	\target
	.endm

	.macro vector_user target
	.balign	128
	stp	x0, x1, [sp, #16 * 0]
	stp	x2, x3, [sp, #16 * 1]
	stp	x4, x5, [sp, #16 * 2]
	stp	x6, x7, [sp, #16 * 3]
	stp	x8, x9, [sp, #16 * 4]
	stp	x10, x11, [sp, #16 * 5]
	stp	x12, x13, [sp, #16 * 6]
	stp	x14, x15, [sp, #16 * 7]
	stp	x16, x17, [sp, #16 * 8]
	stp	x18, x19, [sp, #16 * 9]
	stp	x20, x21, [sp, #16 * 10]
	stp	x22, x23, [sp, #16 * 11]
	stp	x24, x25, [sp, #16 * 12]
	stp	x26, x27, [sp, #16 * 13]
	stp	x28, x29, [sp, #16 * 14]
	mrs	x20, sp_el0
	mrs	x21, elr_el1
	mrs	x22, spsr_el1
	stp	x30, x20, [sp, #16 * 15]
	stp	x21, x22, [sp, #16 * 16]
	mov	x19, sp
	mrs	x20, tpidr_el1
	ldr	x9, [x20, #CPU_STACK_TOP]
	mov	sp, x9
	mrs	x9, cntvct_el0		/* user time: the entries' sum less that of the exits */
	ldr	x10, [x20, #CPU_USER_TICKS]
	add	x10, x10, x9
	str	x10, [x20, #CPU_USER_TICKS]
	mov	x29, xzr
	b	\target
	.endm

	/* SP of a good kernel stack has bit STACK_SIZE_SHIFT set; below it lies the guard. */
	.macro kernel_enter
	sub	sp, sp, #FRAME_BYTES
	add	sp, sp, x0
	sub	x0, sp, x0
	tbz	x0, #STACK_SIZE_SHIFT, stack_overflow
	sub	x0, sp, x0
	sub	sp, sp, x0
	stp	x0, x1, [sp, #16 * 0]
	stp	x2, x3, [sp, #16 * 1]
	stp	x4, x5, [sp, #16 * 2]
	stp	x6, x7, [sp, #16 * 3]
	stp	x8, x9, [sp, #16 * 4]
	stp	x10, x11, [sp, #16 * 5]
	stp	x12, x13, [sp, #16 * 6]
	stp	x14, x15, [sp, #16 * 7]
	stp	x16, x17, [sp, #16 * 8]
	str	x18, [sp, #16 * 9]
	mrs	x0, elr_el1
	mrs	x1, spsr_el1
	stp	x29, x30, [sp, #16 * 14 + 8]
	stp	x0, x1, [sp, #16 * 16]
	/* A frame record, so that a backtrace passes through. */
	stp	x29, x0, [sp, #16 * 17]
	add	x29, sp, #16 * 17
	.endm

	.macro kernel_save_rest
	str	x19, [sp, #16 * 9 + 8]
	stp	x20, x21, [sp, #16 * 10]
	stp	x22, x23, [sp, #16 * 11]
	stp	x24, x25, [sp, #16 * 12]
	stp	x26, x27, [sp, #16 * 13]
	str	x28, [sp, #16 * 14]
	add	x0, sp, #FRAME_BYTES
	str	x0, [sp, #16 * 15 + 8]
	.endm

	.section .vectors, "ax"
	.globl	vectors
	.balign	2048
vectors:
	vector	bad_entry			/* SP_EL0 */
	vector	bad_entry
	vector	bad_entry
	vector	bad_entry

	vector	kernel_sync			/* the kernel's own */
	vector	kernel_irq
	vector	bad_entry
	vector	kernel_serror

	vector_user user_sync			/* AArch64 user mode */
	vector_user user_irq
	vector_user user_irq			/* FIQ: the interrupt controller sorts it out */
	vector_user user_serror

	vector	bad_entry			/* AArch32 */
	vector	bad_entry
	vector	bad_entry
	vector	bad_entry

	.text
user_sync:
	mrs	x1, esr_el1
	sub	x0, x19, #THREAD_CONTEXT
	lsr	x2, x1, #26
	cmp	x2, #0x15
	b.ne	1f
	msr	daifclr, #0xf
	bl	syscall_dispatch
	cbnz	w0, user_return
	b	executor_resume_other		/* PENDING */
1:	mov	x0, x19
	mrs	x2, far_el1
	msr	daifclr, #0xf
	bl	user_exception
	b	user_return

user_irq:
	mov	x0, x19
	bl	user_interrupt
	b	user_return

user_serror:
	mrs	x1, esr_el1
	mov	x0, x19
	bl	user_system_error

/* x19 = struct user_context of the running thread. Flags first, with interrupts masked. */
user_return:
	msr	daifset, #0xf
	sub	x9, x19, #THREAD_CONTEXT
	ldr	w10, [x9, #TASK_FLAGS]
	tst	w10, #TASK_USER_MASK
	b.ne	2f
thread_restore:
	mrs	x9, tpidr_el1
	mrs	x10, cntvct_el0
	ldr	x11, [x9, #CPU_USER_TICKS]
	sub	x11, x11, x10
	str	x11, [x9, #CPU_USER_TICKS]
	mov	sp, x19
	ldp	x30, x20, [sp, #16 * 15]
	ldp	x21, x22, [sp, #16 * 16]
	msr	sp_el0, x20
	msr	elr_el1, x21
	msr	spsr_el1, x22
	ldp	x0, x1, [sp, #16 * 0]
	ldp	x2, x3, [sp, #16 * 1]
	ldp	x4, x5, [sp, #16 * 2]
	ldp	x6, x7, [sp, #16 * 3]
	ldp	x8, x9, [sp, #16 * 4]
	ldp	x10, x11, [sp, #16 * 5]
	ldp	x12, x13, [sp, #16 * 6]
	ldp	x14, x15, [sp, #16 * 7]
	ldp	x16, x17, [sp, #16 * 8]
	ldp	x18, x19, [sp, #16 * 9]
	ldp	x20, x21, [sp, #16 * 10]
	ldp	x22, x23, [sp, #16 * 11]
	ldp	x24, x25, [sp, #16 * 12]
	ldp	x26, x27, [sp, #16 * 13]
	ldp	x28, x29, [sp, #16 * 14]
	eret
2:	mov	x0, x9
	msr	daifclr, #0xf
	bl	thread_return		/* returns with interrupts masked when there is nothing left to do */
	b	thread_restore

/* thread_context_enter(x0 = struct user_context): interrupts masked. */
	.globl	thread_context_enter
thread_context_enter:
	mov	x19, x0
	b	thread_restore

kernel_sync:
	kernel_enter
	kernel_save_rest
	mov	x0, sp
	mrs	x1, esr_el1
	mrs	x2, far_el1
	bl	kernel_exception
kernel_return:
	msr	daifset, #0xf
	ldp	x0, x1, [sp, #16 * 16]
	msr	elr_el1, x0
	msr	spsr_el1, x1
	ldp	x0, x1, [sp, #16 * 0]
	ldp	x2, x3, [sp, #16 * 1]
	ldp	x4, x5, [sp, #16 * 2]
	ldp	x6, x7, [sp, #16 * 3]
	ldp	x8, x9, [sp, #16 * 4]
	ldp	x10, x11, [sp, #16 * 5]
	ldp	x12, x13, [sp, #16 * 6]
	ldp	x14, x15, [sp, #16 * 7]
	ldp	x16, x17, [sp, #16 * 8]
	ldr	x18, [sp, #16 * 9]
	ldp	x29, x30, [sp, #16 * 14 + 8]
	add	sp, sp, #FRAME_BYTES
	eret

kernel_irq:
	kernel_enter
	bl	irq_dispatch
	b	kernel_return

kernel_serror:
	kernel_enter
	kernel_save_rest
	mov	x0, sp
	mrs	x1, esr_el1
	bl	kernel_system_error
	b	.

bad_entry:
	kernel_enter
	kernel_save_rest
	mov	x0, sp
	mrs	x1, esr_el1
	bl	kernel_bad_entry
	b	.

/* x0 is SP's value, SP is SP + the old x0. Nothing of this stack can be used. */
stack_overflow:
	msr	tpidrro_el0, x1
	mrs	x1, tpidr_el1
	cbz	x1, 1f
	str	x0, [x1, #CPU_OVERFLOW]
	mrs	x0, elr_el1
	str	x0, [x1, #CPU_OVERFLOW + 8]
	mrs	x0, far_el1
	str	x0, [x1, #CPU_OVERFLOW + 16]
	str	x29, [x1, #CPU_OVERFLOW + 24]
	ldr	x0, [x1, #CPU_EMERGENCY]
	cbz	x0, 1f
	mov	sp, x0
	mrs	x0, esr_el1
	bl	kernel_stack_overflow
	b	.
1:	/* No CPU structure yet: the boot stack is all there is. */
	ldr	x0, =boot_stack_top
	mov	sp, x0
	mrs	x0, esr_el1
	mrs	x1, elr_el1
	mrs	x2, far_el1
	bl	kernel_early_fault
	b	.

/* stack_call(x0 = stack top, x1 = function): never returns. */
	.globl	stack_call
stack_call:
	mov	sp, x0
	mov	x29, xzr
	mov	x30, xzr
	br	x1

/* fp_store(x0 = &context.fp), fp_load(x0): 32 vectors, FPSR, FPCR. The unit must be open to the kernel. */
	.arch_extension fp
	.arch_extension simd
	.globl	fp_store
fp_store:
	stp	q0, q1, [x0, #32 * 0]
	stp	q2, q3, [x0, #32 * 1]
	stp	q4, q5, [x0, #32 * 2]
	stp	q6, q7, [x0, #32 * 3]
	stp	q8, q9, [x0, #32 * 4]
	stp	q10, q11, [x0, #32 * 5]
	stp	q12, q13, [x0, #32 * 6]
	stp	q14, q15, [x0, #32 * 7]
	stp	q16, q17, [x0, #32 * 8]
	stp	q18, q19, [x0, #32 * 9]
	stp	q20, q21, [x0, #32 * 10]
	stp	q22, q23, [x0, #32 * 11]
	stp	q24, q25, [x0, #32 * 12]
	stp	q26, q27, [x0, #32 * 13]
	stp	q28, q29, [x0, #32 * 14]
	stp	q30, q31, [x0, #32 * 15]
	mrs	x1, fpsr
	mrs	x2, fpcr
	add	x0, x0, #512
	stp	w1, w2, [x0]
	ret

	.globl	fp_load
fp_load:
	ldp	q0, q1, [x0, #32 * 0]
	ldp	q2, q3, [x0, #32 * 1]
	ldp	q4, q5, [x0, #32 * 2]
	ldp	q6, q7, [x0, #32 * 3]
	ldp	q8, q9, [x0, #32 * 4]
	ldp	q10, q11, [x0, #32 * 5]
	ldp	q12, q13, [x0, #32 * 6]
	ldp	q14, q15, [x0, #32 * 7]
	ldp	q16, q17, [x0, #32 * 8]
	ldp	q18, q19, [x0, #32 * 9]
	ldp	q20, q21, [x0, #32 * 10]
	ldp	q22, q23, [x0, #32 * 11]
	ldp	q24, q25, [x0, #32 * 12]
	ldp	q26, q27, [x0, #32 * 13]
	ldp	q28, q29, [x0, #32 * 14]
	ldp	q30, q31, [x0, #32 * 15]
	add	x0, x0, #512
	ldp	w1, w2, [x0]
	msr	fpsr, x1
	msr	fpcr, x2
	ret
