/* SPDX-License-Identifier: MIT */
/*
 * Starting, stopping and setting up CPUs. A CPU that runs no domain is off, in the firmware's hands: EL2 parks none.
 */
#include "arm64.h"
#include "cpu.h"
#include "domain.h"
#include "gic.h"
#include "log.h"
#include "psci.h"
#include "stage2.h"

#define CPTR_RES1	 0x32ff
#define CPTR_TZ		 (1 << 8)
#define CPTR_TSM	 (1 << 12)
#define CNTHCTL_EL1PCTEN (1 << 0)
#define CNTHCTL_EL1PCEN	 (1 << 1)

struct cpu cpus[HYP_CPUS];
bool cpu_has_lse;

extern char vectors[];
void secondary_entry(void);
void enter_el1(u64 entry, u64 x0, u64 stack_top) __attribute__((noreturn));

struct cpu *cpu_find(const struct domain *domain, u64 mpidr)
{
	for (u32 i = 0; i < HYP_CPUS; i++)
		if (domain->config->cpus & BIT(i) && cpus[i].mpidr == mpidr)
			return &cpus[i];
	return NULL;
}

long cpu_start(struct cpu *cpu)
{
	struct smc_result result;

	smc_call(FN_CPU_ON_64, cpu->mpidr, (u64)secondary_entry, (u64)cpu, &result);
	return (int)result.x[0];
}

void cpu_off(void)
{
	struct smc_result result;

	smc_call(FN_CPU_OFF, 0, 0, 0, &result);
	log_line("cpu %u: the firmware did not turn it off (%d)", this_cpu()->index,
		(int)result.x[0]);
	for (;;)
		wfi();
}

/* Debug and performance monitors belong to the domain, all counters. */
static void debug_init(void)
{
	u64 counters = 0;

	if ((read_sysreg(id_aa64dfr0_el1) >> 8 & 0xf) - 1 < 0xe)
		counters = read_sysreg(pmcr_el0) >> 11 & 0x1f;
	write_sysreg(counters, mdcr_el2); /* HPMN; no traps */
}

/* Floating point, SVE and SME are the domain's own as well. */
static void fp_init(void)
{
	u64 features = read_sysreg(id_aa64pfr0_el1), cptr = CPTR_RES1 | CPTR_TZ | CPTR_TSM;

	if (features >> 32 & 0xf)
		cptr &= ~CPTR_TZ;
	if (read_sysreg(id_aa64pfr1_el1) >> 24 & 0xf)
		cptr &= ~CPTR_TSM;
	write_sysreg(cptr, cptr_el2);
	isb();
	if (features >> 32 & 0xf)
		write_sysreg(0x1ff, s3_4_c1_c2_0); /* ZCR_EL2.LEN: as long as there is */
}

static u64 hcr_of(const struct domain *domain)
{
	u64 hcr = HCR_VM | HCR_SWIO | HCR_TSC | HCR_TIDCP | HCR_TACR | HCR_TSW | HCR_RW;

	if (read_sysreg(id_aa64isar1_el1) & 0xff000ff0 || read_sysreg(s3_0_c0_c6_2) & 0xff00)
		hcr |= HCR_APK | HCR_API; /* pointer authentication without traps */
	if (domain->config->wfi_trap)
		hcr |= HCR_TWI;
	return hcr;
}

/* What EL1 would find after a reset. */
static void el1_reset(void)
{
	write_sysreg(SCTLR_EL1_RES1, sctlr_el1);
	write_sysreg(0, ttbr0_el1);
	write_sysreg(0, ttbr1_el1);
	write_sysreg(0, tcr_el1);
	write_sysreg(0, vbar_el1);
	write_sysreg(0, cpacr_el1);
	write_sysreg(0, cntkctl_el1);
	write_sysreg(0, contextidr_el1);
	write_sysreg(0, tpidr_el0);
	write_sysreg(0, tpidrro_el0);
	write_sysreg(0, tpidr_el1);
	write_sysreg(0, mdscr_el1);
	write_sysreg(0, cntv_ctl_el0);
	write_sysreg(0, cntp_ctl_el0);
}

void cpu_enter_domain(struct cpu *cpu)
{
	struct domain *domain = cpu->domain;

	write_sysreg((u64)cpu, tpidr_el2);
	write_sysreg((u64)vectors, vbar_el2);
	write_sysreg(hcr_of(domain), hcr_el2);
	write_sysreg(0, hstr_el2);
	write_sysreg(CNTHCTL_EL1PCTEN | CNTHCTL_EL1PCEN, cnthctl_el2);
	write_sysreg(0, cntvoff_el2);
	write_sysreg(0, cnthp_ctl_el2);
	write_sysreg(read_sysreg(midr_el1), vpidr_el2);
	write_sysreg(read_sysreg(mpidr_el1), vmpidr_el2);
	debug_init();
	fp_init();
	stage2_load(domain);
	gic_cpu_init(cpu);
	if (!domain->routed)
		gic_domain_init(domain);
	el1_reset();
	cpu->started = true;
	__atomic_store_n(&cpu->state, CPU_ON, __ATOMIC_RELEASE);
	enter_el1(cpu->entry, cpu->context, cpu->stack_top);
}
