/* SPDX-License-Identifier: MIT */
/*
 * What both kinds of domain try: forbidden memory with every kind of access, PSCI, SMC, system registers, hypercalls.
 */
#include <linux/psci.h>

#include "guest.h"

#define EXPECT_FAULT(what, addr, class, insn, ...)                                         \
	do {                                                                               \
		u64 before_ = fault.count;                                                 \
                                                                                           \
		fault.esr = 0;                                                             \
		asm volatile(insn : __VA_ARGS__);                                          \
		check(fault.count == before_ + 1 && ESR_EC(fault.esr) == (class) &&        \
				ISS_FSC(fault.esr) == FSC_EXTERNAL,                        \
			"%s at %lx: %lu faults, ESR %lx", what, (unsigned long)(addr),     \
			(unsigned long)(fault.count - before_), (unsigned long)fault.esr); \
	} while (0)

/* Every way to touch an address that is not ours: each must end in an external abort here, and nowhere else. */
void forbidden(const char *name, u64 addr)
{
	u32 before = failures;

	EXPECT_FAULT("ldrb", addr, EC_DABT_SAME, "ldrb w9, [%0]", : "r"(addr) : "x9", "memory");
	EXPECT_FAULT("ldrh", addr, EC_DABT_SAME, "ldrh w9, [%0]", : "r"(addr) : "x9", "memory");
	EXPECT_FAULT("ldr w", addr, EC_DABT_SAME, "ldr w9, [%0]", : "r"(addr) : "x9", "memory");
	EXPECT_FAULT("ldr x", addr, EC_DABT_SAME, "ldr x9, [%0]", : "r"(addr) : "x9", "memory");
	EXPECT_FAULT("ldrsb", addr, EC_DABT_SAME, "ldrsb x9, [%0]", : "r"(addr) : "x9", "memory");
	EXPECT_FAULT("ldr post", addr, EC_DABT_SAME, "mov x10, %0; ldr x9, [x10], #8",
		     : "r"(addr)
		     : "x9", "x10", "memory");
	EXPECT_FAULT("ldp", addr, EC_DABT_SAME, "ldp x9, x10, [%0]",
		     : "r"(addr)
		     : "x9", "x10", "memory");
	EXPECT_FAULT("ldr q", addr, EC_DABT_SAME, "ldr q0, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("ldar", addr, EC_DABT_SAME, "ldar x9, [%0]", : "r"(addr) : "x9", "memory");
	EXPECT_FAULT("ldxr", addr, EC_DABT_SAME, "ldxr x9, [%0]; clrex",
		     : "r"(addr)
		     : "x9", "memory");
	EXPECT_FAULT("ldaxp", addr, EC_DABT_SAME, "ldaxp x9, x10, [%0]; clrex",
		     : "r"(addr)
		     : "x9", "x10", "memory");
	EXPECT_FAULT("strb", addr, EC_DABT_SAME, "strb wzr, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("strh", addr, EC_DABT_SAME, "strh wzr, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("str w", addr, EC_DABT_SAME, "str wzr, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("str x", addr, EC_DABT_SAME, "str xzr, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("str pre", addr, EC_DABT_SAME, "mov x10, %0; str x9, [x10, #8]!",
		     : "r"(addr)
		     : "x10", "memory");
	EXPECT_FAULT("stp", addr, EC_DABT_SAME, "stp xzr, xzr, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("stnp", addr, EC_DABT_SAME, "stnp xzr, xzr, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("str q", addr, EC_DABT_SAME, "str q0, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("stlr", addr, EC_DABT_SAME, "stlr xzr, [%0]", : "r"(addr) : "memory");
	EXPECT_FAULT("dc zva", addr, EC_DABT_SAME, "dc zva, %0",
		     : "r"(ALIGN_DOWN(addr, 64))
		     : "memory");
	/* Cache maintenance may fault or do nothing. */
	asm volatile(
		"dc civac, %0; dc cvau, %0; dc cvac, %0; dc ivac, %0; ic ivau, %0; prfm pldl1keep, [%0]"
		:
		: "r"(addr)
		: "memory");
	{
		u64 count = fault.count;

		fault.esr = 0;
		((void (*)(void))addr)();
		check(fault.count == count + 1 && ESR_EC(fault.esr) == EC_IABT_SAME,
			"fetch at %lx: ESR %lx", (unsigned long)addr, (unsigned long)fault.esr);
	}
	say("%s at %lx: %s", name, (unsigned long)addr,
		failures == before ? "refused" : "NOT REFUSED");
}

static void try_psci(void)
{
	u64 foreign = ~0ull;

	check((u32)hvc(PSCI_0_2_FN_PSCI_VERSION, 0, 0, 0, 0, 0) == 0x10000, "PSCI version by HVC");
	check((u32)smc(PSCI_0_2_FN_PSCI_VERSION, 0, 0, 0) == 0x10000, "PSCI version by SMC");
	check((int)smc(PSCI_1_0_FN_PSCI_FEATURES, 0x80000000, 0, 0) == 0, "SMCCC is announced");
	check((u32)smc(0x80000000, 0, 0, 0) == 0x10001, "SMCCC version");
	check((int)smc(PSCI_1_0_FN_PSCI_FEATURES, 0x84000099, 0, 0) == -1,
		"an unknown PSCI function");
	for (u32 i = 0; i < guest.info->cpus; i++)
		if (guest.info->cpu[i].domain != guest.info->cpu[own_row()].domain)
			foreign = guest.info->cpu[i].mpidr;
	check((int)smc(PSCI_0_2_FN64_CPU_ON, foreign, (u64)try_psci, 0) == PSCI_RET_INVALID_PARAMS,
		"CPU_ON of a foreign CPU");
	check((int)smc(PSCI_0_2_FN64_CPU_ON, guest.mpidr[0], (u64)try_psci, 0) ==
			PSCI_RET_ALREADY_ON,
		"CPU_ON of itself");
	check((int)smc(PSCI_0_2_FN64_AFFINITY_INFO, foreign, 0, 0) == PSCI_RET_INVALID_PARAMS,
		"AFFINITY_INFO of a foreign CPU");
	check((int)smc(PSCI_0_2_FN64_AFFINITY_INFO, guest.mpidr[0], 0, 0) == 0,
		"AFFINITY_INFO of itself");
	check((int)smc(0xc2000001, 1, 2, 3) == -1, "an SMC to the SoC's firmware");
	check((int)smc(0xb2000001, 1, 2, 3) == -1, "an SMC to a trusted OS");
	check((int)smc(0xdeadbeef, 1, 2, 3) == -1, "a wild SMC");
	check((int)hvc(0xdeadbeef, 1, 2, 3, 4, 5) == -1, "a wild HVC");
	check((int)hvc(LICHEN_HVC(0xff), 1, 2, 3, 4, 5) == -1, "an unknown hypercall");
}

static void try_sysregs(void)
{
	u64 before = fault.count, value = 1;

	asm volatile("mrs %0, actlr_el1" : "=r"(value));
	check(value == 0 && fault.count == before, "ACTLR_EL1 reads %lx", (unsigned long)value);
	asm volatile("msr actlr_el1, xzr");
	asm volatile("dc isw, xzr; dc csw, xzr; dc cisw, xzr");
	check(fault.count == before, "set/way maintenance faults: ESR %lx",
		(unsigned long)fault.esr);
	asm volatile("mrs %0, s3_1_c15_c0_0"
		     : "=r"(value)); /* implementation defined: QEMU's has it, or not */
	before = fault.count;
	asm volatile("mrs %0, hcr_el2" : "=r"(value));
	check(fault.count == before + 1 && ESR_EC(fault.esr) == 0, "HCR_EL2: ESR %lx",
		(unsigned long)fault.esr);
}

void shared_tests(void)
{
	if (!wanted("basics"))
		return;
	try_psci();
	try_sysregs();
	say("basics: %u checks, %u failures", checks, failures);
}
