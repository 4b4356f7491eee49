/* SPDX-License-Identifier: MIT */
/* Starting and signalling CPUs. */
#ifndef ARCH_SMP_H
#define ARCH_SMP_H

#include <lichen/cpu.h>

/* What a starting CPU needs before it has an MMU; it gets the physical address. */
struct cpu_start {
	u64 ttbr1;
	u64 stack;
	u64 cpu;
};

/* Software interrupts that the kernel sends to itself. */
enum { SGI_KICK, SGI_STOP };

void smp_init(void); /* reads the CPUs from the device tree */
bool smp_give_stacks(struct cpu *cpu);
void smp_cpu_setup(void); /* registers that each CPU sets for itself */
void __noreturn arch_start_secondary(void);

#endif
