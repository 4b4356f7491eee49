// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Lets programs read the instruction counter (see lichen/pmu.h): for measurements, on bare Linux
 * and in the driver domain. Not for kernels built with perf, which owns these registers.
 */
#include <linux/module.h>
#include <linux/smp.h>
#include <asm/cpufeature.h>
#include <asm/sysreg.h>
#include <lichen/pmu.h>

static bool pmu_present(void)
{
	u64 features = read_sysreg(id_aa64dfr0_el1);
	unsigned int version =
		cpuid_feature_extract_unsigned_field(features, ID_AA64DFR0_EL1_PMUVer_SHIFT);

	return version && version != ID_AA64DFR0_EL1_PMUVer_IMP_DEF;
}

static void pmu_enable(void *unused)
{
	write_sysreg(LICHEN_PMU_INSTRUCTIONS, pmevtyper0_el0);
	write_sysreg(LICHEN_PMU_CYCLES, pmevtyper1_el0);
	write_sysreg(LICHEN_PMU_COUNTERS, pmcntenset_el0);
	write_sysreg(LICHEN_PMU_USER, pmuserenr_el0);
	write_sysreg(read_sysreg(pmcr_el0) | LICHEN_PMU_ENABLE, pmcr_el0);
	isb();
}

static void pmu_disable(void *unused)
{
	write_sysreg(0, pmuserenr_el0);
	write_sysreg(LICHEN_PMU_COUNTERS, pmcntenclr_el0);
	isb();
}

static int __init pmu_init(void)
{
	if (!pmu_present())
		return -ENODEV;
	on_each_cpu(pmu_enable, NULL, 1);
	return 0;
}

static void __exit pmu_exit(void)
{
	on_each_cpu(pmu_disable, NULL, 1);
}

module_init(pmu_init);
module_exit(pmu_exit);
MODULE_DESCRIPTION("Instruction counter for programs");
MODULE_LICENSE("Dual MIT/GPL");
