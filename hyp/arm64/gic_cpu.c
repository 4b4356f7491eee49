/* SPDX-License-Identifier: MIT */
/*
 * A CPU's own part of the interrupt controller: EL2's system registers, redistributor frames that trap, SGIs that are filtered, and
 * what is needed to take a CPU back.
 */
#include "domain.h"
#include "gic_internal.h"
#include "log.h"

#define ICC_SRE_ENABLE	0xf /* SRE, no bypass, EL1 may use it */
#define ICH_HCR_TC	(1u << 10)
#define HYP_TIMER_INTID 26 /* the EL2 physical timer's PPI (Arm BSA) */

/* ICC_SGI1R_EL1 */
#define SGIR_IRM      (1ull << 40)
#define SGIR_INTID(v) ((v) >> 24 & 0xf)
#define SGIR_CLUSTER(v) \
	(((v) >> 16 & 0xff) << 8 | ((v) >> 32 & 0xff) << 16 | ((v) >> 48 & 0xff) << 32)

static u64 sgi_base(const struct cpu *cpu)
{
	return gic.version == 3 ? cpu->gicr + GICR_SGI_BASE : gic.gicd;
}

/* Banked registers: SGIs and PPIs off, and nothing pending or active. */
static void clean_banked(const struct cpu *cpu)
{
	u64 base = sgi_base(cpu);

	mmio_write32(base + GICD_ICENABLER, ~0u);
	mmio_write32(base + GICD_ICPENDR, ~0u);
	mmio_write32(base + GICD_ICACTIVER, ~0u);
	if (gic.version == 2)
		for (u32 i = 0; i < 16; i += 4)
			mmio_write32(gic.gicd + GICD_CPENDSGIR + i, ~0u);
}

void gic_cpu_init(struct cpu *cpu)
{
	if (gic.version == 3) {
		write_sysreg(ICC_SRE_ENABLE, s3_4_c12_c9_5); /* ICC_SRE_EL2 */
		isb();
		write_sysreg(cpu->domain->config->sgi_filter ? ICH_HCR_TC : 0,
			s3_4_c12_c11_0); /* ICH_HCR_EL2 */
		mmio_write32(sgi_base(cpu) + GICD_IGROUPR, ~0u);
	} else {
		u32 targets = mmio_read32(gic.gicd + GICD_ITARGETSR);

		cpu->gic_target = (targets | targets >> 8 | targets >> 16 | targets >> 24) & 0xff;
		if (!cpu->gic_target)
			cpu->gic_target = 1; /* a machine with one CPU: RAZ */
	}
	clean_banked(cpu);
	for (u32 i = 0; i < 32; i += 4)
		mmio_write32(sgi_base(cpu) + GICD_IPRIORITYR + i, 0xa0a0a0a0);
	/* From another CPU these cannot be written: they are made ready for domain_stop. */
	if (gic.version == 2) {
		mmio_write32(gic.gicd + GICD_ISENABLER, 1u << GIC_STOP_SGI);
		mmio_write8(gic.gicd + GICD_IPRIORITYR + GIC_STOP_SGI, 0);
	}
}

void gic_cpu_clean(struct cpu *cpu)
{
	write_sysreg(0, cntv_ctl_el0);
	write_sysreg(0, cntp_ctl_el0);
	clean_banked(cpu);
	if (gic.version == 3) {
		write_sysreg(0, s3_0_c12_c12_7); /* ICC_IGRPEN1_EL1 */
		if (gic.group0)
			write_sysreg(0, s3_0_c12_c12_6); /* ICC_IGRPEN0_EL1 */
		mmio_write32(cpu->gicr + GICR_CTLR, 0);	 /* EnableLPIs, where it can be cleared */
		isb();
	} else {
		mmio_write32(gic.gicc + GICC_CTLR, 0);
	}
}

/* Masks, enables and active priorities: each of them can keep an interrupt from waking the CPU. */
static void wait_v3(void)
{
	u64 pmr = read_sysreg(s3_0_c4_c6_0), enable = read_sysreg(s3_0_c12_c12_7);
	u64 active0 = gic.group0 ? read_sysreg(s3_0_c12_c8_4) : 0,
	    active1 = read_sysreg(s3_0_c12_c9_0); /* ICC_APnR0_EL1 */

	if (gic.group0)
		write_sysreg(0, s3_0_c12_c8_4);
	write_sysreg(0, s3_0_c12_c9_0);
	write_sysreg(0xff, s3_0_c4_c6_0);
	write_sysreg(1, s3_0_c12_c12_7);
	isb();
	dsb(sy);
	wfi();
	write_sysreg(enable, s3_0_c12_c12_7);
	write_sysreg(pmr, s3_0_c4_c6_0);
	if (gic.group0)
		write_sysreg(active0, s3_0_c12_c8_4);
	write_sysreg(active1, s3_0_c12_c9_0);
	isb();
}

static void wait_v2(void)
{
	u32 pmr = mmio_read32(gic.gicc + GICC_PMR), ctlr = mmio_read32(gic.gicc + GICC_CTLR);
	u32 active = mmio_read32(gic.gicc + GICC_APR0);

	mmio_write32(gic.gicc + GICC_APR0, 0);
	mmio_write32(gic.gicc + GICC_PMR, 0xff);
	mmio_write32(gic.gicc + GICC_CTLR, ctlr | 1);
	dsb(sy);
	wfi();
	mmio_write32(gic.gicc + GICC_CTLR, ctlr);
	mmio_write32(gic.gicc + GICC_PMR, pmr);
	mmio_write32(gic.gicc + GICC_APR0, active);
}

void gic_wait(void)
{
	if (gic.version == 3)
		wait_v3();
	else
		wait_v2();
}

void gic_sleep(u32 seconds)
{
	u64 begin = read_sysreg(cntpct_el0), ticks = read_sysreg(cntfrq_el0) * seconds;

	clean_banked(this_cpu());
	write_sysreg(begin + ticks, cnthp_cval_el2);
	write_sysreg(1, cnthp_ctl_el2);
	mmio_write32(sgi_base(this_cpu()) + GICD_ISENABLER, 1u << HYP_TIMER_INTID);
	while (read_sysreg(cntpct_el0) - begin < ticks)
		gic_wait();
}

void gic_open_remote(struct cpu *target, u32 intid)
{
	u64 base = sgi_base(target);

	if (gic.version != 3)
		return;
	mmio_write32(base + GICD_IGROUPR, ~0u);
	mmio_write8(base + GICD_IPRIORITYR + intid, 0);
	mmio_write32(base + GICD_ISENABLER, 1u << intid);
}

void gic_sgi(struct cpu *target, u32 intid)
{
	u64 m = target->mpidr;

	if (gic.version == 3) {
		write_sysreg((m >> 32 & 0xff) << 48 | (m >> 16 & 0xff) << 32 |
				     (m >> 8 & 0xff) << 16 | (m >> 4 & 0xf) << 44 |
				     (u64)intid << 24 | BIT(m & 0xf),
			s3_0_c12_c11_5);
		isb();
	} else {
		mmio_write32(gic.gicd + GICD_SGIR, target->gic_target << 16 | intid);
	}
}

/*
 * A redistributor frame that is not mapped. Foreign frames answer what Linux needs to walk past them. A domain that has no
 * LPIs gets its own frame's first page here, without the registers that make the redistributor write to memory.
 */
bool gicr_access(struct domain *domain, struct mmio *mmio)
{
	for (u32 i = 0; i < gic.machine->cpus; i++) {
		struct cpu *cpu = &cpus[i];
		struct range frame = {cpu->gicr, cpu->gicr_size};
		bool own = cpu->domain == domain, wide = mmio->size == 8;

		if (!cpu->gicr || !range_contains(&frame, mmio->addr, mmio->size))
			continue;
		mmio->offset = mmio->addr - cpu->gicr;
		if (mmio->write) {
			if (own && mmio->offset == GICR_WAKER && mmio->size == 4)
				mmio_write32(cpu->gicr + GICR_WAKER, mmio->value);
			else if (!own)
				domain_complain(domain,
					"redistributor of CPU %u: it is another domain's", i);
			return true;
		}
		mmio->value = 0;
		if (mmio->offset == GICR_TYPER && wide)
			mmio->value = mmio_read64(cpu->gicr + GICR_TYPER);
		else if (mmio->size == 4 &&
			 (mmio->offset == GICR_TYPER || mmio->offset == GICR_TYPER + 4 ||
				 mmio->offset == GICR_PIDR2 ||
				 (own && (mmio->offset == GICR_WAKER ||
						 mmio->offset == GICR_IIDR))))
			mmio->value = mmio_read32(cpu->gicr + mmio->offset);
		return true;
	}
	return false;
}

bool gic_access(struct domain *domain, struct mmio *mmio)
{
	struct cpu *cpu = this_cpu();

	if (gicd_access(domain, mmio)) {
		cpu_count(cpu, LICHEN_STATS_DISTRIBUTOR);
		return true;
	}
	if (gic.version == 3 && gicr_access(domain, mmio)) {
		cpu_count(cpu, LICHEN_STATS_REDISTRIBUTOR);
		return true;
	}
	return false;
}

/* May `domain` send this SGI to that CPU? To its own; and the completion signal to a frontend's that waits for it. */
static bool sgi_allowed(const struct domain *domain, const struct cpu *target, u32 intid)
{
	if (!target->domain)
		return false;
	return target->domain == domain ||
	       (domain == driver_domain && intid == GIC_COMPLETION_SGI &&
		       target->domain->config->signal_sgi);
}

static void send_filtered(struct cpu *cpu, u64 value)
{
	u32 first = value >> 44 & 0xf;

	for (u32 i = 0; i < gic.machine->cpus; i++) {
		struct cpu *target = &cpus[i];
		u64 aff0 = target->mpidr & 0xff;
		bool named = value & SGIR_IRM
				     ? target != cpu
				     : (target->mpidr & ~0xffull) == SGIR_CLUSTER(value) &&
					       aff0 / 16 == first && value >> aff0 % 16 & 1;

		if (!named)
			continue;
		if (sgi_allowed(cpu->domain, target, SGIR_INTID(value)))
			gic_sgi(target, SGIR_INTID(value));
		else if (!(value & SGIR_IRM))
			domain_complain(cpu->domain, "SGI %u to CPU %u: it is another domain's",
				(u32)SGIR_INTID(value), i);
	}
}

/* ISS of a trapped MRS or MSR: Op0 Op2 Op1 CRn Rt CRm direction (Arm ARM, ISS for EC 0x18). */
#define ISS_SYSREG(op0, op1, crn, crm, op2) \
	((op0) << 20 | (op2) << 17 | (op1) << 14 | (crn) << 10 | (crm) << 1)
#define ISS_SYSREG_MASK ISS_SYSREG(3, 7, 15, 15, 7)

bool gic_sysreg(struct cpu *cpu, u64 esr, struct regs *regs)
{
	u32 rt = esr >> 5 & 0x1f;
	bool read = esr & 1;
	u64 *x = &regs->x[rt];

	if (gic.version != 3)
		return false;
	switch (esr & ISS_SYSREG_MASK) {
	case ISS_SYSREG(3, 0, 12, 11, 5): /* ICC_SGI1R_EL1 */
		if (read)
			return false;
		send_filtered(cpu, *x);
		return true;
	case ISS_SYSREG(3, 0, 12, 11, 6): /* ICC_ASGI1R_EL1, ICC_SGI0R_EL1: nobody has them */
	case ISS_SYSREG(3, 0, 12, 11, 7):
		return !read;
	case ISS_SYSREG(3, 0, 4, 6, 0): /* ICC_PMR_EL1 */
		if (read)
			*x = read_sysreg(s3_0_c4_c6_0);
		else
			write_sysreg(*x, s3_0_c4_c6_0);
		break;
	case ISS_SYSREG(3, 0, 12, 12, 4): /* ICC_CTLR_EL1 */
		if (read)
			*x = read_sysreg(s3_0_c12_c12_4);
		else
			write_sysreg(*x, s3_0_c12_c12_4);
		break;
	case ISS_SYSREG(3, 0, 12, 11, 1): /* ICC_DIR_EL1 */
		if (read)
			return false;
		write_sysreg(*x, s3_0_c12_c11_1);
		break;
	case ISS_SYSREG(3, 0, 12, 11, 3): /* ICC_RPR_EL1 */
		if (!read)
			return false;
		*x = read_sysreg(s3_0_c12_c11_3);
		break;
	default:
		return false;
	}
	isb();
	regs->x[31] = 0;
	return true;
}
