/* SPDX-License-Identifier: MIT */
/*
 * PSCI (Arm DEN 0022) and SMCCC (Arm DEN 0028): what the hypervisor asks of the firmware, and what it answers to domains.
 */
#ifndef HYP_PSCI_H
#define HYP_PSCI_H

#include "cpu.h"

/* linux/psci.h is uapi. */
#include <linux/psci.h>

#define FN_VERSION	     PSCI_0_2_FN_PSCI_VERSION
#define FN_CPU_SUSPEND_32    PSCI_0_2_FN_CPU_SUSPEND
#define FN_CPU_SUSPEND_64    PSCI_0_2_FN64_CPU_SUSPEND
#define FN_CPU_OFF	     PSCI_0_2_FN_CPU_OFF
#define FN_CPU_ON_32	     PSCI_0_2_FN_CPU_ON
#define FN_CPU_ON_64	     PSCI_0_2_FN64_CPU_ON
#define FN_AFFINITY_INFO_32  PSCI_0_2_FN_AFFINITY_INFO
#define FN_AFFINITY_INFO_64  PSCI_0_2_FN64_AFFINITY_INFO
#define FN_MIGRATE_INFO_TYPE PSCI_0_2_FN_MIGRATE_INFO_TYPE
#define FN_SYSTEM_OFF	     PSCI_0_2_FN_SYSTEM_OFF
#define FN_SYSTEM_RESET	     PSCI_0_2_FN_SYSTEM_RESET
#define FN_FEATURES	     PSCI_1_0_FN_PSCI_FEATURES

#define SMCCC_VERSION	    0x80000000u
#define SMCCC_ARCH_FEATURES 0x80000001u
#define SMCCC_NOT_SUPPORTED (-1l)

/* What the firmware can do; once, at boot. */
void psci_init(void);

/* The function call in regs->x[0], by SMC or HVC, of the calling CPU's domain. True: it was PSCI or SMCCC and is answered. */
bool psci_call(struct cpu *cpu, struct regs *regs);

/* Any other SMC: passed on for the driver domain when it is one of the SoC's services, refused otherwise. */
void smc_filter(struct cpu *cpu, struct regs *regs);

/* The machine's end. Do not return. */
void machine_off(void) __attribute__((noreturn));
void machine_reset(void) __attribute__((noreturn));

#endif
