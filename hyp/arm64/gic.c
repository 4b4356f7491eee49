/* SPDX-License-Identifier: MIT */
/*
 * Owns the distributor's hardware: who owns which SPI, what is enabled, and how EL2 makes one pending.
 */
#include "domain.h"
#include "gic_internal.h"
#include "log.h"

struct gic gic;

u32 gic_version(void)
{
	return gic.version;
}

/* GICv3 only: the redistributor of each CPU, by its affinity (IHI 0069, 12.11). */
static void find_redistributors(const struct machine *machine)
{
	for (u32 i = 0; i < machine->gicrs; i++) {
		u64 at = machine->gicr[i].base, end = range_end(&machine->gicr[i]);

		while (at + GICR_FRAME <= end) {
			u64 typer = mmio_read64(at + GICR_TYPER);
			u64 size = machine->gicr_stride	      ? machine->gicr_stride
				   : typer & GICR_TYPER_VLPIS ? 2 * GICR_FRAME
							      : GICR_FRAME;
			u64 affinity = (typer >> 32 & 0xffffff) | (typer >> 56) << 32;

			for (u32 cpu = 0; cpu < machine->cpus; cpu++)
				if (cpus[cpu].mpidr == affinity) {
					cpus[cpu].gicr = at;
					cpus[cpu].gicr_size = size;
				}
			at += size;
			if (typer & GICR_TYPER_LAST)
				break;
		}
	}
	for (u32 cpu = 0; cpu < machine->cpus; cpu++)
		if (!cpus[cpu].gicr)
			panic("CPU %u has no redistributor", cpu);
}

void gic_init(const struct machine *machine)
{
	u32 typer = mmio_read32(machine->gicd.base + GICD_TYPER);

	gic.machine = machine;
	gic.version = machine->gic_version;
	gic.gicd = machine->gicd.base;
	gic.gicc = machine->gicc.base;
	gic.limit = MIN(32 * ((typer & 0x1f) + 1), 1020);
	mmio_write32(gic.gicd + GICD_CTLR, 0);
	for (u32 n = 1; n < gic.limit / 32 + 1 && n < 32; n++) {
		mmio_write32(gic.gicd + GICD_ICENABLER + 4 * n, ~0u);
		mmio_write32(gic.gicd + GICD_ICPENDR + 4 * n, ~0u);
		mmio_write32(gic.gicd + GICD_ICACTIVER + 4 * n, ~0u);
		if (gic.version == 3)
			mmio_write32(gic.gicd + GICD_IGROUPR + 4 * n, ~0u);
	}
	for (u32 intid = 32; intid < gic.limit; intid += 4)
		mmio_write32(gic.gicd + GICD_IPRIORITYR + intid, 0xa0a0a0a0);
	for (u32 intid = 0; intid < ARRAY_SIZE(gic.owner); intid++)
		gic.owner[intid] =
			intid >= 32 && intid < gic.limit ? driver_domain->index : GIC_NOBODY;
	if (gic.version == 3) {
		/* GICv3 with one security state and with two agree on these bits, as far as we can write them. */
		mmio_write32(gic.gicd + GICD_CTLR, GICD_CTLR_ARE | 3);
		gic.group0 = mmio_read32(gic.gicd + GICD_CTLR) & GICD_CTLR_DS;
		find_redistributors(machine);
	} else {
		/* Group 0 without the security extensions, Group 1 with them: bit 0 in both, and IGROUPR stays as it is. */
		mmio_write32(gic.gicd + GICD_CTLR, 1);
	}
}

bool gic_spare_init(const struct machine *machine, u32 first, u32 last, u32 need)
{
	if (first) {
		gic.spare_next = last;
		gic.spare_first = first;
		return last < gic.limit && last - first + 1 >= need;
	}
	if (machine->v2m.size) { /* its SPIs are wired, to memory */
		u32 typer = mmio_read32(machine->v2m.base + V2M_MSI_TYPER);

		for (u32 i = 0; i < (typer & 0x3ff); i++)
			gic.used[((typer >> 16 & 0x3ff) + i) & 0x3ff] = true;
	}
	for (u32 intid = 32; intid < MACHINE_INTIDS; intid++)
		if (machine->intid_used[intid / 64] & BIT(intid % 64))
			gic.used[intid] = true;
	gic.spare_first = 32;
	gic.spare_next = gic.limit - 1;
	for (u32 intid = gic.limit - 1; intid >= 32; intid--)
		need -= need && !gic.used[intid];
	return !need;
}

/* Sends an SPI to a CPU. */
static void route(u32 intid, const struct cpu *cpu)
{
	if (gic.version == 3)
		mmio_write64(gic.gicd + GICD_IROUTER + 8 * intid, cpu->mpidr);
	else
		mmio_write8(gic.gicd + GICD_ITARGETSR + intid, cpu->gic_target);
}

struct gic_spi gic_spare_take(struct domain *domain)
{
	u32 intid;

	while (gic.spare_next >= gic.spare_first && gic.used[gic.spare_next])
		gic.spare_next--;
	intid = gic.spare_next--;
	gic.owner[intid] = domain->index;
	gic.edge[intid / 32] |= 1u << intid % 32;
	gicd_modify(GICD_ICFGR + 4 * (intid / 16), 2u << 2 * (intid % 16), 2u << 2 * (intid % 16));
	return (struct gic_spi){gic.gicd + GICD_ISPENDR + 4 * (intid / 32), 1u << intid % 32, intid};
}

void gic_domain_init(struct domain *domain)
{
	const struct cpu *cpu = this_cpu();

	spin_lock(&gic.lock);
	for (u32 intid = 32; intid < gic.limit; intid++)
		if (gic.owner[intid] == domain->index)
			route(intid, cpu);
	domain->routed = true;
	spin_unlock(&gic.lock);
}

void gic_domain_stop(struct domain *domain)
{
	spin_lock(&gic.lock);
	for (u32 n = 1; n <= (gic.limit - 1) / 32; n++) {
		u32 mask = gic_mask(domain, n);

		gic.enabled[n] &= ~mask;
		mmio_write32(gic.gicd + GICD_ICENABLER + 4 * n, mask);
		mmio_write32(gic.gicd + GICD_ICPENDR + 4 * n, mask);
		mmio_write32(gic.gicd + GICD_ICACTIVER + 4 * n, mask);
	}
	domain->gicd_ctlr = 0;
	domain->routed = false;
	spin_unlock(&gic.lock);
}

/* The interrupts of `domain` among INTIDs 32n .. 32n + 31. */
u32 gic_mask(const struct domain *domain, u32 n)
{
	u32 mask = 0;

	for (u32 i = 0; i < 32; i++)
		if (gic.owner[32 * n + i] == domain->index)
			mask |= 1u << i;
	return mask;
}

void gicd_modify(u32 offset, u32 mask, u32 value)
{
	u32 old = mmio_read32(gic.gicd + offset);

	mmio_write32(gic.gicd + offset, (old & ~mask) | (value & mask));
}

void gic_holes(const struct domain *domain, void (*hole)(u64 base, u64 size))
{
	const struct machine *machine = gic.machine;

	hole(machine->gicd.base, machine->gicd.size);
	for (u32 i = 0; i < machine->cpus; i++)
		if (cpus[i].gicr && cpus[i].domain != domain)
			hole(cpus[i].gicr, cpus[i].gicr_size);
}

void gic_windows(const struct domain *domain, void (*window)(u64 base, u64 size))
{
	const struct machine *machine = gic.machine;

	if (gic.version == 2) {
		window(machine->gicc.base, machine->gicc.size);
		return;
	}
	/* The SGI page alone: the other one would let the redistributor write to memory (LPI tables). */
	for (u32 i = 0; i < machine->cpus; i++)
		if (cpus[i].domain == domain)
			window(cpus[i].gicr + GICR_SGI_BASE, GICR_PAGE);
}
