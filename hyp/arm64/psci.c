/* SPDX-License-Identifier: MIT */
/*
 * Answers PSCI and SMCCC calls of domains. A domain sees and starts its own CPUs only; the firmware does the work.
 */
#include "domain.h"
#include "gic.h"
#include "log.h"
#include "psci.h"

/* SMCCC: bits 29:24 of a function number name its owner (DEN 0028, 6.1). */
#define SMCCC_OWNER(fn) ((fn) >> 24 & 0x3f)
#define OWNER_ARCH	0
#define OWNER_SIP	2
#define OWNER_OEM	3
#define OWNER_STANDARD	4

#define ARCH_WORKAROUND_1 0x80008000u
#define ARCH_WORKAROUND_2 0x80007fffu
#define ARCH_WORKAROUND_3 0x80003fffu
#define TRNG_FIRST	  0x84000050u
#define TRNG_LAST	  0x8400005fu

static u32 firmware_smccc; /* version, or 0: only PSCI may be called */

void psci_init(void)
{
	struct smc_result result;

	smc_call(FN_VERSION, 0, 0, 0, &result);
	if ((int)result.x[0] < 2)
		panic("the firmware has no PSCI 0.2 (version %x)", (u32)result.x[0]);
	if ((u32)result.x[0] < 0x10000)
		return;
	smc_call(FN_FEATURES, SMCCC_VERSION, 0, 0, &result);
	if ((int)result.x[0] < 0)
		return;
	smc_call(SMCCC_VERSION, 0, 0, 0, &result);
	if ((int)result.x[0] >= 0x10001)
		firmware_smccc = result.x[0];
}

void machine_off(void)
{
	struct smc_result result;

	log_line("power off");
	smc_call(FN_SYSTEM_OFF, 0, 0, 0, &result);
	panic("the firmware did not turn the machine off");
}

void machine_reset(void)
{
	struct smc_result result;

	log_line("reset");
	smc_call(FN_SYSTEM_RESET, 0, 0, 0, &result);
	panic("the firmware did not reset the machine");
}

static long psci_cpu_on(struct domain *domain, u64 mpidr, u64 entry, u64 context)
{
	struct cpu *cpu = cpu_find(domain, mpidr);
	long result;

	if (!cpu)
		return PSCI_RET_INVALID_PARAMS;
	spin_lock(&domain->lock);
	if (domain->state != DOMAIN_RUNNING) {
		result = PSCI_RET_DENIED;
	} else if (cpu->state != CPU_OFF) {
		result = cpu->state == CPU_ON ? PSCI_RET_ALREADY_ON : PSCI_RET_ON_PENDING;
	} else {
		cpu->entry = entry;
		cpu->context = context;
		cpu->state = CPU_STARTING;
		result = cpu_start(cpu);
		if (result)
			cpu->state = CPU_OFF;
	}
	spin_unlock(&domain->lock);
	return result;
}

static long psci_affinity_info(struct domain *domain, u64 mpidr, u64 level)
{
	struct cpu *cpu = cpu_find(domain, mpidr);
	struct smc_result result;

	if (!cpu || level)
		return PSCI_RET_INVALID_PARAMS;
	if (cpu->state == CPU_STARTING)
		return PSCI_0_2_AFFINITY_LEVEL_ON_PENDING;
	if (cpu->state == CPU_ON)
		return PSCI_0_2_AFFINITY_LEVEL_ON;
	/* It is off for the domain when it is off for the firmware. */
	smc_call(FN_AFFINITY_INFO_64, mpidr, 0, 0, &result);
	return (int)result.x[0];
}

static void psci_cpu_off(struct cpu *cpu)
{
	gic_cpu_clean(cpu);
	__atomic_store_n(&cpu->state, CPU_OFF, __ATOMIC_RELEASE);
	cpu_off();
}

static long psci_features(u32 function)
{
	switch (function) {
	case FN_VERSION:
	case FN_CPU_SUSPEND_32:
	case FN_CPU_SUSPEND_64:
	case FN_CPU_OFF:
	case FN_CPU_ON_32:
	case FN_CPU_ON_64:
	case FN_AFFINITY_INFO_32:
	case FN_AFFINITY_INFO_64:
	case FN_MIGRATE_INFO_TYPE:
	case FN_SYSTEM_OFF:
	case FN_SYSTEM_RESET:
	case FN_FEATURES:
	case SMCCC_VERSION:
		return PSCI_RET_SUCCESS;
	}
	return PSCI_RET_NOT_SUPPORTED;
}

static bool is_workaround(u32 function)
{
	return function == ARCH_WORKAROUND_1 || function == ARCH_WORKAROUND_2 ||
	       function == ARCH_WORKAROUND_3;
}

static long smccc_features(u32 function)
{
	struct smc_result result;

	if (function == SMCCC_VERSION || function == SMCCC_ARCH_FEATURES)
		return 0;
	if (!is_workaround(function) || !firmware_smccc)
		return SMCCC_NOT_SUPPORTED;
	smc_call(SMCCC_ARCH_FEATURES, function, 0, 0, &result);
	return (int)result.x[0];
}

static void system_end(struct cpu *cpu, bool reset)
{
	domain_power(cpu->domain, reset);
	psci_cpu_off(cpu);
}

bool psci_call(struct cpu *cpu, struct regs *regs)
{
	struct smc_result result;
	u64 *x = regs->x;

	switch ((u32)x[0]) {
	case FN_VERSION:
		x[0] = 0x10000;
		return true;
	case FN_FEATURES:
		x[0] = psci_features(x[1]);
		return true;
	case FN_CPU_ON_32:
		x[0] = psci_cpu_on(cpu->domain, (u32)x[1], (u32)x[2], (u32)x[3]);
		return true;
	case FN_CPU_ON_64:
		x[0] = psci_cpu_on(cpu->domain, x[1], x[2], x[3]);
		return true;
	case FN_AFFINITY_INFO_32:
		x[0] = psci_affinity_info(cpu->domain, (u32)x[1], (u32)x[2]);
		return true;
	case FN_AFFINITY_INFO_64:
		x[0] = psci_affinity_info(cpu->domain, x[1], x[2]);
		return true;
	case FN_CPU_SUSPEND_32:
	case FN_CPU_SUSPEND_64: /* standby, whatever was asked: always allowed (DEN 0022, 5.4) */
		gic_wait();
		x[0] = PSCI_RET_SUCCESS;
		return true;
	case FN_CPU_OFF:
		psci_cpu_off(cpu);
		return true;
	case FN_MIGRATE_INFO_TYPE:
		x[0] = PSCI_0_2_TOS_MP;
		return true;
	case FN_SYSTEM_OFF:
		system_end(cpu, false);
		return true;
	case FN_SYSTEM_RESET:
		system_end(cpu, true);
		return true;
	case SMCCC_VERSION:
		x[0] = 0x10001;
		return true;
	case SMCCC_ARCH_FEATURES:
		x[0] = smccc_features(x[1]);
		return true;
	case ARCH_WORKAROUND_1:
	case ARCH_WORKAROUND_2:
	case ARCH_WORKAROUND_3:
		if (smccc_features(x[0]) < 0) {
			x[0] = SMCCC_NOT_SUPPORTED;
			return true;
		}
		smc_call(x[0], x[1], 0, 0, &result);
		x[0] = result.x[0];
		return true;
	}
	return false;
}

/*
 * The SoC's own services (clocks, power: SiP, OEM, often SCMI) and the random numbers pass, for the driver domain: it owns the
 * devices that they are about. Trusted applications and FF-A do not: they would be given addresses that nobody checks.
 */
static bool smc_passes(const struct cpu *cpu, u32 function)
{
	u32 owner = SMCCC_OWNER(function), plain = function & ~(1u << 30);

	if (!firmware_smccc || cpu->domain != driver_domain)
		return false;
	return owner == OWNER_SIP || owner == OWNER_OEM ||
	       (owner == OWNER_STANDARD && plain >= TRNG_FIRST && plain <= TRNG_LAST);
}

/* Passes x0-x7, and back. */
static void smc_pass(struct regs *regs)
{
	register u64 x0 asm("x0") = regs->x[0];
	register u64 x1 asm("x1") = regs->x[1];
	register u64 x2 asm("x2") = regs->x[2];
	register u64 x3 asm("x3") = regs->x[3];
	register u64 x4 asm("x4") = regs->x[4];
	register u64 x5 asm("x5") = regs->x[5];
	register u64 x6 asm("x6") = regs->x[6];
	register u64 x7 asm("x7") = regs->x[7];

	asm volatile(
		"smc #0"
		: "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7)
		:
		: "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory");
	regs->x[0] = x0;
	regs->x[1] = x1;
	regs->x[2] = x2;
	regs->x[3] = x3;
	regs->x[4] = x4;
	regs->x[5] = x5;
	regs->x[6] = x6;
	regs->x[7] = x7;
}

void smc_filter(struct cpu *cpu, struct regs *regs)
{
	if (!smc_passes(cpu, regs->x[0])) {
		regs->x[0] = SMCCC_NOT_SUPPORTED;
		return;
	}
	smc_pass(regs);
}
