/* SPDX-License-Identifier: MIT */
/* Calls of lichen/abi.h. Only under the hypervisor: elsewhere an HVC may be undefined. */
#ifndef ARCH_HYPERCALL_H
#define ARCH_HYPERCALL_H

#include <lichen/types.h>

/* 0, a positive value, or a negative errno. */
static inline long hypercall1(u64 function, u64 argument)
{
	register u64 x0 __asm__("x0") = function;
	register u64 x1 __asm__("x1") = argument;

	__asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1) : : "x2", "x3", "memory");
	return (long)x0;
}

#endif
