/* SPDX-License-Identifier: MIT */
/*
 * Where a signal handler returns to. Unwinders know it by its two instructions and by what is said here: the frame record
 * above the signal frame is the interrupted function's. The address before it must belong to the same function, since
 * they look up return addresses minus one.
 */
#include <asm/unistd.h>

	.text
	.globl	__kernel_rt_sigreturn
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa x29, 0
	.cfi_offset x29, 0
	.cfi_offset x30, 8
	nop
	.type	__kernel_rt_sigreturn, %function
__kernel_rt_sigreturn:
	mov	x8, #__NR_rt_sigreturn
	svc	#0
	.cfi_endproc
	.size	__kernel_rt_sigreturn, . - __kernel_rt_sigreturn
	.section .note.GNU-stack, "", %progbits
