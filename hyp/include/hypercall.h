/* SPDX-License-Identifier: MIT */
/*
 * Answers the hypercalls of lichen/abi.h.
 */
#ifndef HYP_HYPERCALL_H
#define HYP_HYPERCALL_H

#include "cpu.h"

/* The call in regs->x; the result goes to x[0]. A number that is none answers -EPERM, SMCCC's NOT_SUPPORTED. */
void hypercall(struct cpu *cpu, struct regs *regs);

#endif
