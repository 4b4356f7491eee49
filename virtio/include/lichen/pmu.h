/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The two counters of each CPU that measurements use, the same on every kernel of ours: so that one unmodified program reads
 * them on bare Linux, in the driver domain and on Lichen (Arm ARM D13, PMUv3).
 *
 *     pmevcntr0_el0  retired instructions, 32 bits
 *     pmccntr_el0    cycles, 64 bits
 *
 * Both count EL0, EL1, and EL2 where EL2 lets them (MDCR_EL2.HPMN). Programs may read them, and write nothing.
 *
 * QEMU counts instructions only under -icount, and then those of the whole machine: a difference of two readings is one CPU's
 * work only while the others sleep. Its cycles are its virtual clock's, at 1 GHz, also while the CPU sleeps; a real CPU that sleeps
 * mostly counts none.
 */
#ifndef LICHEN_PMU_H
#define LICHEN_PMU_H

#define LICHEN_PMU_NSH		(1u << 27)		 /* count EL2, too; no other filter bit: EL0 and EL1 count */
#define LICHEN_PMU_INSTRUCTIONS (LICHEN_PMU_NSH | 0x08u) /* PMEVTYPER0_EL0: INST_RETIRED */
#define LICHEN_PMU_CYCLES	LICHEN_PMU_NSH		 /* PMCCFILTR_EL0 */
#define LICHEN_PMU_COUNTERS	(1u << 31 | 1u)		 /* PMCNTEN: the cycle counter, event counter 0 */
#define LICHEN_PMU_USER		0xcu			 /* PMUSERENR_EL0: CR, ER: EL0 reads both */
#define LICHEN_PMU_CONTROL	0x41u			 /* PMCR_EL0: E, LC: 64 bits of cycles */

#ifdef __aarch64__
#define lichen_pmu_get(reg)                                                     \
	({                                                                      \
		unsigned long _value;                                           \
		__asm__ volatile("mrs %0, " #reg : "=r"(_value) : : "memory"); \
		_value;                                                         \
	})
#define lichen_pmu_set(reg, value) __asm__ volatile("msr " #reg ", %0" : : "r"((unsigned long)(value)) : "memory")

/* At EL1: this CPU has counters. Without, the functions below are undefined instructions. */
static inline int lichen_pmu_present(void)
{
	unsigned long version = lichen_pmu_get(id_aa64dfr0_el1) >> 8 & 0xf;

	return version && version != 0xf;
}

/* At EL1, on each CPU that has them: counts, and lets programs read. */
static inline void lichen_pmu_enable(void)
{
	lichen_pmu_set(pmevtyper0_el0, LICHEN_PMU_INSTRUCTIONS);
	lichen_pmu_set(pmccfiltr_el0, LICHEN_PMU_CYCLES);
	lichen_pmu_set(pmcntenset_el0, LICHEN_PMU_COUNTERS);
	lichen_pmu_set(pmuserenr_el0, LICHEN_PMU_USER);
	lichen_pmu_set(pmcr_el0, LICHEN_PMU_CONTROL);
	__asm__ volatile("isb" : : : "memory");
}

/* At EL1: counts no more, and traps programs that read. */
static inline void lichen_pmu_disable(void)
{
	lichen_pmu_set(pmuserenr_el0, 0);
	lichen_pmu_set(pmcntenclr_el0, LICHEN_PMU_COUNTERS);
	__asm__ volatile("isb" : : : "memory");
}

/* At EL1: lichen_pmu_enable() was called on this CPU. */
static inline int lichen_pmu_enabled(void)
{
	return (lichen_pmu_get(pmcr_el0) & LICHEN_PMU_CONTROL) == LICHEN_PMU_CONTROL &&
	       (lichen_pmu_get(pmcntenset_el0) & LICHEN_PMU_COUNTERS) == LICHEN_PMU_COUNTERS;
}

/* At EL0 and up: this CPU's, since some moment. Retired instructions, modulo 2^32. */
static inline unsigned int lichen_pmu_instructions(void)
{
	__asm__ volatile("isb" : : : "memory");
	return (unsigned int)lichen_pmu_get(pmevcntr0_el0);
}

/* Cycles. */
static inline unsigned long lichen_pmu_cycles(void)
{
	__asm__ volatile("isb" : : : "memory");
	return lichen_pmu_get(pmccntr_el0);
}
#endif

#endif
