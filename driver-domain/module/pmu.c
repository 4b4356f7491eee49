// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Lets the counters of lichen/pmu.h count, and programs read them: for measurements, on bare Linux and in the driver domain.
 * Not for kernels built with perf, which owns these registers.
 */
#include <linux/module.h>
#include <linux/smp.h>
#include <lichen/pmu.h>

static void pmu_enable(void *unused)
{
	lichen_pmu_enable();
}

static void pmu_disable(void *unused)
{
	lichen_pmu_disable();
}

static int __init pmu_init(void)
{
	if (!lichen_pmu_present())
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
MODULE_DESCRIPTION("Counters of instructions and cycles for programs");
MODULE_LICENSE("Dual MIT/GPL");
