/* SPDX-License-Identifier: MIT */
/*
 * A physical CPU. It belongs to one domain for good; tpidr_el2 points at it while it is at EL2 and while its domain runs.
 */
#ifndef HYP_CPU_H
#define HYP_CPU_H

#include "arm64.h"
#include "types.h"

#include <lichen/abi.h>

/* The registers of the domain at an entry to EL2. x[31] reads as the zero register and is never written. */
struct regs {
	u64 x[32];
};
_Static_assert(sizeof(struct regs) == REGS_SIZE, "assembly knows this size");

/*
 *     OFF --- PSCI CPU_ON by the domain, or the domain's start ---> STARTING --- reaches EL1 ---> ON
 *      ^------------- PSCI CPU_OFF, or taken back (domain_stop) --------------------------------- |
 */
enum cpu_state { CPU_OFF, CPU_STARTING, CPU_ON };

struct cpu {
	u64 stack_top; /* first: head.S reads it */
	u64 *stats;    /* its row of the statistics pages */
	u64 mpidr;     /* affinity fields */
	u32 index;
	enum cpu_state
		state; /* atomic; written by the CPU itself, or by the one that holds its domain's lock when OFF */
	struct domain *domain;
	u64 entry; /* where it enters EL1, and x0 */
	u64 context;
	u64 gicr; /* GICv3: its redistributor; 0: not found */
	u64 gicr_size;
	u32 gic_target; /* GICv2: its bit in GICD_ITARGETSR; 0: not known yet */
	bool started;	/* it was on at least once */
};

extern struct cpu cpus[HYP_CPUS];

static inline struct cpu *this_cpu(void)
{
	struct cpu *cpu;

	asm("mrs %0, tpidr_el2" : "=r"(cpu));
	return cpu;
}

static inline void cpu_count(struct cpu *cpu, enum lichen_stats_cause cause)
{
	cpu->stats[LICHEN_STATS_ENTRIES]++;
	cpu->stats[cause]++;
}

/* Starts the CPU through the firmware: it enters the domain at cpu->entry. Returns a PSCI error. */
long cpu_start(struct cpu *cpu);

/* Turns the calling CPU off. Does not return. */
void cpu_off(void) __attribute__((noreturn));

/* Sets up EL2 on the calling CPU and enters its domain at cpu->entry. Does not return. */
void cpu_enter_domain(struct cpu *cpu) __attribute__((noreturn));

/* The CPU of `domain` with these affinity fields, or NULL. */
struct cpu *cpu_find(const struct domain *domain, u64 mpidr);

/* An SMC to the firmware. */
struct smc_result {
	u64 x[4];
};
void smc_call(u64 function, u64 a1, u64 a2, u64 a3, struct smc_result *result);

#endif
