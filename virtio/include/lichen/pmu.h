/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Instruction counting for measurements, the same on every kernel of ours: so that one unmodified
 * program reads `mrs pmevcntr0_el0` on bare Linux, in the driver domain and on Lichen (Arm ARM D13,
 * PMUv3).
 *
 * On each CPU, if ID_AA64DFR0_EL1.PMUVer is neither 0 nor 0xf, at EL1:
 *
 *     pmevtyper0_el0 = LICHEN_PMU_INSTRUCTIONS
 *     pmevtyper1_el0 = LICHEN_PMU_CYCLES
 *     pmcntenset_el0 = LICHEN_PMU_COUNTERS
 *     pmuserenr_el0  = LICHEN_PMU_USER
 *     pmcr_el0      |= LICHEN_PMU_ENABLE;  isb
 *
 * QEMU counts instructions only under -icount, and then those of the whole machine: a difference of
 * two readings is one CPU's work only while the others sleep.
 */
#ifndef LICHEN_PMU_H
#define LICHEN_PMU_H

/*
 * Event in the low bits; no filter bit: EL0 and EL1 count; bit 27 (NSH): EL2 too, where EL2 lets us
 * (MDCR_EL2.HPMN).
 */
#define LICHEN_PMU_INSTRUCTIONS ((1u << 27) | 0x08) /* INST_RETIRED */
#define LICHEN_PMU_CYCLES ((1u << 27) | 0x11)       /* CPU_CYCLES */
#define LICHEN_PMU_COUNTERS 0x3u                    /* event counters 0 and 1 */
#define LICHEN_PMU_USER 0x1u                        /* EN: EL0 may read (and write) them */
#define LICHEN_PMU_ENABLE 0x1u                      /* PMCR_EL0.E */

#endif
