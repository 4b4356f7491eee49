/* SPDX-License-Identifier: MIT */
/* What user mode leaves behind in a thread: saved by the entry code straight into struct thread. */
#ifndef ARCH_CONTEXT_H
#define ARCH_CONTEXT_H

#include <lichen/types.h>

struct user_context {
	u64 x[31];
	u64 sp, pc, pstate;
	u64 tls; /* TPIDR_EL0; saved when the thread leaves its CPU */
	u64 fault_address, esr;
	u32 fp_cpu;   /* 1 + the CPU whose registers still hold the vector state; 0: none. A copy of a context starts with 0 */
	bool fp_live; /* uses the vector unit: its state comes and goes with the thread */
	struct {
		__uint128_t v[32];
		u32 fpsr, fpcr;
	} fp __aligned(16);
};

#endif
