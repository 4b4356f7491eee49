/* SPDX-License-Identifier: MIT */
/*
 * The distributor as a domain sees it: its own SPIs, under both GIC versions. Everything else reads as zero and ignores writes.
 * The banked registers of GICv2 (INTIDs 0..31) pass: the CPU that accesses them is the domain's own.
 */
#include "domain.h"
#include "gic_internal.h"
#include "log.h"

static bool ctlr_on(const struct domain *domain)
{
	return domain->gicd_ctlr & 3;
}

/* GICD_CTLR is the domain's own; what it turns off is off in hardware, SPI by SPI. */
static void write_ctlr(struct domain *domain, u32 value)
{
	bool was_on = ctlr_on(domain);

	domain->gicd_ctlr = value & 3;
	if (was_on == ctlr_on(domain))
		return;
	for (u32 n = 1; n <= (gic.limit - 1) / 32; n++)
		mmio_write32(gic.gicd + (was_on ? GICD_ICENABLER : GICD_ISENABLER) + 4 * n,
			gic.enabled[n] & gic_mask(domain, n));
}

static u64 read_ctlr(const struct domain *domain)
{
	return (mmio_read32(gic.gicd + GICD_CTLR) & ~3u) | domain->gicd_ctlr;
}

static u64 read_typer(const struct domain *domain)
{
	u32 typer = mmio_read32(gic.gicd + GICD_TYPER);

	if (gic.version == 2)
		return typer;
	typer &= ~(1u << 8 | 1u << 9); /* no extended SPIs, no NMIs */
	return domain == driver_domain ? typer
				       : typer & ~(1u << 16 | 1u << 17); /* no message-based ones */
}

/* One bit an interrupt. */
static void access_bits(struct domain *domain, struct mmio *mmio)
{
	u32 offset = mmio->offset & ~0x7full, n = (mmio->offset & 0x7f) / 4;
	u32 mask = gic_mask(domain, n), value = mmio->value;

	if (n == 0 && gic.version == 2) {
		if (!mmio->write)
			mmio->value = mmio_read32(gic.gicd + mmio->offset);
		else if (offset == GICD_ICENABLER)
			mmio_write32(gic.gicd + mmio->offset, value & ~(1u << GIC_STOP_SGI));
		else if (offset != GICD_IGROUPR)
			mmio_write32(gic.gicd + mmio->offset, value);
		return;
	}
	switch (offset) {
	case GICD_IGROUPR: /* fixed: Group 1 under GICv3 */
		mmio->value = gic.version == 3 ? mask : mmio_read32(gic.gicd + mmio->offset) & mask;
		return;
	case GICD_ISENABLER:
	case GICD_ICENABLER:
		if (!mmio->write) {
			mmio->value = gic.enabled[n] & mask;
			return;
		}
		if (offset == GICD_ISENABLER)
			gic.enabled[n] |= value & mask;
		else
			gic.enabled[n] &= ~(value & mask);
		if (!ctlr_on(domain))
			return;
		break;
	}
	if (mmio->write)
		mmio_write32(gic.gicd + mmio->offset, value & mask);
	else
		mmio->value = mmio_read32(gic.gicd + mmio->offset) & mask;
}

/* GICv2: the CPUs of a domain, as bits of GICD_ITARGETSR. */
static u32 targets(const struct domain *domain)
{
	u32 mask = 0;

	for (u32 i = 0; i < HYP_CPUS; i++)
		if (domain->config->cpus & BIT(i))
			mask |= cpus[i].gic_target;
	return mask;
}

/* One byte an interrupt: priorities and GICv2's targets. Accesses of one byte or of four. */
static void access_bytes(struct domain *domain, struct mmio *mmio, bool is_targets)
{
	u32 first = mmio->offset & 0x3ff;
	u64 value = mmio->value;

	mmio->value = 0;
	for (u32 i = 0; i < mmio->size && i < 4; i++) {
		u64 at = gic.gicd + mmio->offset + i;
		bool banked = first + i < 32 && gic.version == 2;

		if (!banked && (first + i >= 1020 || gic.owner[first + i] != domain->index))
			continue;
		if (!mmio->write) {
			mmio->value |= (u64)mmio_read8(at) << 8 * i;
			continue;
		}
		if (banked && (is_targets || first + i == GIC_STOP_SGI))
			continue; /* read-only; and the one that wakes a CPU for domain_stop keeps the highest priority */
		if (is_targets)
			mmio_write8(at, value >> 8 * i & targets(domain));
		else
			mmio_write8(at, value >> 8 * i);
	}
}

/* Two bits an interrupt: level or edge. */
static void access_config(struct domain *domain, struct mmio *mmio)
{
	u32 first = (mmio->offset & 0xff) * 4, mask = 0;

	for (u32 i = 0; i < 16; i++) {
		u32 intid = first + i;
		bool banked = intid < 32 && gic.version == 2;

		if (banked || (gic.owner[intid] == domain->index &&
				      !(mmio->write && gic.edge[intid / 32] >> intid % 32 & 1)))
			mask |= 3u << 2 * i;
	}
	if (mmio->write)
		gicd_modify(mmio->offset, mask, mmio->value);
	else
		mmio->value = mmio_read32(gic.gicd + mmio->offset) & mask;
}

/* GICv3: where an SPI goes. Only to one of the domain's own CPUs, never to any of all (IRM). */
static void access_router(struct domain *domain, struct mmio *mmio)
{
	u32 intid = (mmio->offset - GICD_IROUTER) / 8, shift = mmio->offset & 4 ? 32 : 0;
	u64 at = gic.gicd + GICD_IROUTER + 8 * intid, old, value = mmio->value;

	mmio->value = 0;
	if (intid < 32 || gic.owner[intid] != domain->index)
		return;
	old = mmio_read64(at);
	if (!mmio->write) {
		mmio->value = old >> shift;
		return;
	}
	if (mmio->size == 4)
		value = (old & ~(0xffffffffull << shift)) | (value & 0xffffffff) << shift;
	if (cpu_find(domain, value))
		mmio_write64(at, value);
	else
		domain_complain(domain, "SPI %u cannot be routed to %lx: not a CPU of this domain",
			intid, (unsigned long)value);
}

/* GICv2: SGIs go to the domain's own CPUs. */
static void write_sgir(struct domain *domain, u32 value)
{
	u32 own = targets(domain), self = this_cpu()->gic_target, list = value >> 16 & 0xff;

	switch (value >> 24 & 3) {
	case 1:
		list = own & ~self;
		break;
	case 2:
		list = self;
		break;
	case 3:
		return;
	}
	list &= own;
	if (list)
		mmio_write32(gic.gicd + GICD_SGIR, list << 16 | (value & 0x800f));
}

/* GICv3: message-based SPIs. */
static void write_message(struct domain *domain, struct mmio *mmio)
{
	u32 intid = mmio->value & 0x3ff;

	if (gic.version == 3 && gic.owner[intid] == domain->index)
		mmio_write32(gic.gicd + mmio->offset, intid);
}

static bool size_ok(const struct mmio *mmio)
{
	u32 offset = mmio->offset;

	if (offset & (mmio->size - 1))
		return false;
	if ((offset >= GICD_IPRIORITYR && offset < GICD_ICFGR) ||
		(offset >= GICD_CPENDSGIR && offset < 0xf30))
		return mmio->size == 1 || mmio->size == 4;
	if (offset >= GICD_IROUTER && offset < GICD_IROUTER_END)
		return mmio->size >= 4;
	return mmio->size == 4;
}

static void access_locked(struct domain *domain, struct mmio *mmio)
{
	u32 offset = mmio->offset;

	if (offset >= GICD_IGROUPR && offset < GICD_IPRIORITYR) {
		access_bits(domain, mmio);
	} else if (offset >= GICD_IPRIORITYR && offset < GICD_ITARGETSR) {
		access_bytes(domain, mmio, false);
	} else if (offset >= GICD_ITARGETSR && offset < GICD_ICFGR && gic.version == 2) {
		access_bytes(domain, mmio, true);
	} else if (offset >= GICD_ICFGR && offset < GICD_ICFGR + 0x100) {
		access_config(domain, mmio);
	} else if (gic.version == 3 && offset >= GICD_IROUTER && offset < GICD_IROUTER_END) {
		access_router(domain, mmio);
	} else if (gic.version == 2 && offset >= GICD_CPENDSGIR && offset < 0xf30) { /* banked */
		if (mmio->write && mmio->size == 1)
			mmio_write8(gic.gicd + offset, mmio->value);
		else if (mmio->write)
			mmio_write32(gic.gicd + offset, mmio->value);
		else
			mmio->value = mmio->size == 1 ? mmio_read8(gic.gicd + offset)
						      : mmio_read32(gic.gicd + offset);
	} else if (mmio->write) {
		if (offset == GICD_CTLR)
			write_ctlr(domain, mmio->value);
		else if (offset == GICD_SGIR && gic.version == 2)
			write_sgir(domain, mmio->value);
		else if (offset == GICD_SETSPI_NSR || offset == GICD_CLRSPI_NSR)
			write_message(domain, mmio);
	} else if (offset == GICD_CTLR) {
		mmio->value = read_ctlr(domain);
	} else if (offset == GICD_TYPER) {
		mmio->value = read_typer(domain);
	} else if (offset == GICD_IIDR ||
		   (offset >= 0xfd0 && offset < 0x1000 && gic.version == 2) ||
		   (offset >= 0xffd0 && offset < 0x10000 && gic.version == 3)) {
		mmio->value = mmio_read32(gic.gicd + offset);
	} else {
		mmio->value = 0;
	}
}

bool gicd_access(struct domain *domain, struct mmio *mmio)
{
	if (!range_contains(&gic.machine->gicd, mmio->addr, mmio->size))
		return false;
	mmio->offset = mmio->addr - gic.gicd;
	if (!size_ok(mmio)) {
		domain_complain(domain, "distributor: no access of %u bytes at %lx", mmio->size,
			(unsigned long)mmio->offset);
		mmio->value = 0;
		return true;
	}
	spin_lock(&gic.lock);
	access_locked(domain, mmio);
	spin_unlock(&gic.lock);
	return true;
}
