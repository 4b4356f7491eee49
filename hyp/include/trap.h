/* SPDX-License-Identifier: MIT */
/*
 * The C side of the exception vectors.
 */
#ifndef HYP_TRAP_H
#define HYP_TRAP_H

#include "cpu.h"

/* HVC: regs holds x0-x18, x29 and x30. */
void trap_hypercall(u64 esr, struct regs *regs);
/* The same registers, for any other synchronous exception: true when it was a kick and is done. */
bool trap_fast(u64 esr, struct regs *regs);
/* Any other synchronous exception of a domain: regs holds them all. */
void trap_sync(u64 esr, struct regs *regs);
/* An exception that EL2 caused itself, or that cannot be. Does not return. */
void trap_bad(u64 kind, u64 esr, u64 elr, u64 far);

#endif
