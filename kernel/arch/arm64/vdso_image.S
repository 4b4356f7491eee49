/* SPDX-License-Identifier: MIT */
/* The built vDSO, and where its sigreturn is. */
#include "vdso-offsets.h"

	.section .rodata
	.balign	4096
	.globl	vdso_image_start, vdso_image_end, vdso_sigreturn_offset
vdso_image_start:
	.incbin	"vdso.so"
vdso_image_end:
	.balign	8
vdso_sigreturn_offset:
	.quad	VDSO_SIGRETURN
