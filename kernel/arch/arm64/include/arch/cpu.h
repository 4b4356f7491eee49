/* SPDX-License-Identifier: MIT */
/* The arm64 part of struct cpu. TPIDR_EL1 holds the address of the running CPU's. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <lichen/types.h>

struct cpu;
struct thread;

struct cpu_arch {
	u64 mpidr; /* affinity fields alone */
	void *emergency_top;
	u64 overflow[4];
	u64 user_ticks; /* of the counter, in user mode since the running thread was charged last */
	struct thread *fp_owner; /* whose vector state is in the registers, if it agrees */
	bool fp_open; /* CPACR_EL1 lets user mode use the vector unit */
	volatile void *redistributor; /* GICv3 */
};

static __always_inline struct cpu *this_cpu(void)
{
	struct cpu *cpu;

	__asm__("mrs %0, tpidr_el1" : "=r"(cpu));
	return cpu;
}

#endif
