/* SPDX-License-Identifier: MIT */
/*
 * Takes a domain's CPUs back with no interrupt at EL2: the domain's stage-2 tables are emptied, and an SGI that EL2 has enabled wakes
 * those that sleep (an event, those in WFE). The next fetch aborts into EL2, with interrupts masked or not.
 *
 * One hole: a CPU that closed its own CPU interface (ICC_PMR_EL1 = 0, its groups off, or a highest priority left active) and executed
 * WFI is not woken by any interrupt. `wfi-trap` in the domain's configuration closes it: WFI then traps, and EL2 opens the interface while it sleeps (gic_wait).
 * Without it such a CPU stays asleep, with no memory to wake up to; domain_stop says so.
 */
#include <asm/errno.h>

#include "domain.h"
#include "gic.h"
#include "log.h"
#include "stage2.h"
#include "stop.h"

#define STOP_PATIENCE_MS 500 /* microseconds do, but an emulator may hold a CPU back */

bool domain_stopping(const struct domain *domain)
{
	return __atomic_load_n(&domain->stopping, __ATOMIC_ACQUIRE);
}

void cpu_stopped(struct cpu *cpu)
{
	cpu_count(cpu, LICHEN_STATS_STOP);
	gic_cpu_clean(cpu);
	__atomic_store_n(&cpu->state, CPU_OFF, __ATOMIC_RELEASE);
	cpu_off();
}

static bool all_stopped(const struct domain *domain)
{
	for (u32 i = 0; i < HYP_CPUS; i++)
		if (domain->config->cpus & BIT(i) && &cpus[i] != this_cpu() &&
			__atomic_load_n(&cpus[i].state, __ATOMIC_ACQUIRE) != CPU_OFF)
			return false;
	return true;
}

int domain_stop(struct domain *domain)
{
	u64 patience = read_sysreg(cntfrq_el0) / 1000 * STOP_PATIENCE_MS,
	    begin = read_sysreg(cntpct_el0);
	int err = 0;

	spin_lock(&domain->lock);
	domain->state = DOMAIN_DOWN;
	spin_unlock(&domain->lock);
	__atomic_store_n(&domain->stopping, true, __ATOMIC_RELEASE);
	stage2_revoke(domain);
	for (u32 i = 0; i < HYP_CPUS; i++)
		if (domain->config->cpus & BIT(i) && &cpus[i] != this_cpu() &&
			cpus[i].state != CPU_OFF) {
			gic_open_remote(&cpus[i], GIC_STOP_SGI);
			gic_sgi(&cpus[i], GIC_STOP_SGI);
		}
	asm volatile("sev"); /* WFE with interrupts masked sleeps through an interrupt */
	while (!all_stopped(domain)) {
		if (read_sysreg(cntpct_el0) - begin > patience) {
			err = -ETIMEDOUT;
			break;
		}
		cpu_relax();
	}
	for (u32 i = 0; i < HYP_CPUS; i++)
		if (domain->config->cpus & BIT(i) && &cpus[i] != this_cpu() &&
			cpus[i].state != CPU_OFF)
			log_line(
				"%s: CPU %u sleeps with its CPU interface closed: its memory is gone, but it did not come back",
				domain->config->name, i);
	gic_domain_stop(domain);
	return err;
}
