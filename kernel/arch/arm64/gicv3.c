/* SPDX-License-Identifier: MIT */
/*
 * GICv3 (Arm IHI 0069): system-register CPU interface, own redistributor, affinity routing. No LPIs. Under a hypervisor
 * other domains' redistributor frames answer GICR_TYPER and nothing else: they are only looked at for that.
 */
#include <lichen/cpu.h>
#include <lichen/devicetree.h>
#include <lichen/printk.h>
#include <arch/gic.h>
#include <arch/relax.h>
#include <arch/sysreg.h>

enum {
	GICR_CTLR = 0x0000,
	GICR_TYPER = 0x0008,
	GICR_WAKER = 0x0014,
	GICR_SGI = 0x10000, /* the SGI frame; registers as the distributor's */
	GICD_CTLR_RWP = 1u << 31,
	GICD_CTLR_GROUP1 = 3, /* both bits that may mean "group 1, non-secure", by security state */
	GICD_CTLR_ARE = 1 << 4,
};
enum { REGIONS = 8 };

static volatile char *distributor;
static struct {
	volatile char *base;
	size_t bytes;
} regions[REGIONS];

static u64 io_read64(const volatile char *p)
{
	return io_read32(p) | (u64)io_read32(p + 4) << 32;
}

static void wait_clear(volatile char *reg, u32 bit)
{
	for (int i = 0; i < 1000000 && io_read32(reg) & bit; i++)
		relax();
}

static volatile char *find_redistributor(u64 mpidr)
{
	u32 affinity = (u32)((mpidr >> 32 & 0xff) << 24 | (mpidr & 0xffffff));

	for (int i = 0; i < REGIONS && regions[i].base; i++) {
		size_t offset = 0;

		while (offset + 0x20000 <= regions[i].bytes) {
			volatile char *frame = regions[i].base + offset;
			u64 typer = io_read64(frame + GICR_TYPER);

			if (typer >> 32 == affinity)
				return frame;
			if (typer & BIT(4)) /* Last */
				break;
			offset += typer & BIT(1) ? 0x40000 : 0x20000; /* VLPIS: two more frames */
		}
	}
	return NULL;
}

static void gicv3_cpu_init(void)
{
	struct cpu *cpu = this_cpu();
	volatile char *frame = find_redistributor(cpu->arch.mpidr), *sgi;

	if (!frame)
		panic("device tree: no GICv3 redistributor for CPU %u", cpu->id);
	sgi = frame + GICR_SGI;
	cpu->arch.redistributor = frame;
	io_write32(frame + GICR_WAKER, io_read32(frame + GICR_WAKER) & ~2u);
	wait_clear(frame + GICR_WAKER, 4);
	io_write32(sgi + GICD_IGROUPR, ~0u);
	io_write32(sgi + GICD_ICENABLER, 0xffff0000u);
	io_write32(sgi + GICD_ICACTIVER, ~0u);
	for (u32 i = 0; i < 32; i += 4)
		io_write32(sgi + GICD_IPRIORITYR + i, GIC_PRIORITY * 0x01010101u);
	io_write32(sgi + GICD_ISENABLER, 0xffff);
	wait_clear(frame + GICR_CTLR, 8);

	sysreg_write(S3_0_C12_C12_5, sysreg_read(S3_0_C12_C12_5) | 1); /* ICC_SRE_EL1 */
	isb();
	sysreg_write(S3_0_C4_C6_0, 0xff); /* ICC_PMR_EL1 */
	sysreg_write(S3_0_C12_C12_3, 0);  /* ICC_BPR1_EL1 */
	sysreg_write(S3_0_C12_C12_4, 0);  /* ICC_CTLR_EL1: the end of an interrupt also deactivates it */
	sysreg_write(S3_0_C12_C12_7, 1);  /* ICC_IGRPEN1_EL1 */
	isb();
}

static void set_bits(u32 reg, u32 irq, u32 bits_each, u32 value)
{
	volatile char *word = distributor + reg + irq * bits_each / 32 * 4;
	u32 shift = irq * bits_each % 32, mask = ((1u << bits_each) - 1) << shift;

	io_write32(word, (io_read32(word) & ~mask) | value << shift);
}

static volatile char *enable_frame(u32 irq)
{
	return irq < 32 ? (volatile char *)this_cpu()->arch.redistributor + GICR_SGI : distributor;
}

static void gicv3_enable(u32 irq, bool edge, u32 cpu)
{
	if (irq >= 32) {
		u64 mpidr = cpus[cpu].arch.mpidr;

		set_bits(GICD_IGROUPR, irq, 1, 1);
		set_bits(GICD_ICFGR, irq, 2, edge ? 2 : 0);
		set_bits(GICD_IPRIORITYR, irq, 8, GIC_PRIORITY);
		io_write32(distributor + GICD_IROUTER + irq * 8, (u32)mpidr & 0xffffff);
		io_write32(distributor + GICD_IROUTER + irq * 8 + 4, (u32)(mpidr >> 32) & 0xff);
	}
	io_write32(enable_frame(irq) + GICD_ISENABLER + irq / 32 * 4, 1u << irq % 32);
}

static void gicv3_disable(u32 irq)
{
	io_write32(enable_frame(irq) + GICD_ICENABLER + irq / 32 * 4, 1u << irq % 32);
	if (irq >= 32)
		wait_clear(distributor + GICD_CTLR, GICD_CTLR_RWP);
}

static u32 gicv3_acknowledge(void)
{
	u32 irq = (u32)sysreg_read(S3_0_C12_C12_0); /* ICC_IAR1_EL1 */

	dsb(sy);
	return irq & 0xffffff;
}

static void gicv3_end(u32 irq)
{
	sysreg_write(S3_0_C12_C12_1, irq); /* ICC_EOIR1_EL1 */
	isb();
}

static void gicv3_send(u32 sgi, u32 cpu)
{
	u64 m = cpus[cpu].arch.mpidr;

	/* ICC_SGI1R_EL1: aff3 55:48, aff2 39:32, id 27:24, aff1 23:16, list of 16 below aff0's range 47:44. */
	dsb(ishst);
	sysreg_write(S3_0_C12_C11_5, (m >> 32 & 0xff) << 48 | (m >> 16 & 0xff) << 32 | (u64)sgi << 24 |
		(m >> 8 & 0xff) << 16 | (m & 0xff) / 16 << 44 | BIT(m & 15));
	isb();
}

static const struct gic_ops gicv3_ops = {
	.cpu_init = gicv3_cpu_init,
	.enable = gicv3_enable,
	.disable = gicv3_disable,
	.acknowledge = gicv3_acknowledge,
	.end = gicv3_end,
	.send = gicv3_send,
};

const struct gic_ops *gicv3_probe(const void *dt, int node)
{
	phys_addr_t base, size;
	u32 count = 1, lines;

	if (!devicetree_reg(dt, node, 0, &base, &size))
		return NULL;
	distributor = io_map(base, 0x10000);
	if (!distributor)
		return NULL;
	devicetree_u32(dt, node, "#redistributor-regions", &count);
	for (u32 i = 0; i < min(count, (u32)REGIONS); i++) {
		if (!devicetree_reg(dt, node, (int)i + 1, &base, &size) || size < 0x20000)
			break;
		regions[i].bytes = min(size, (phys_addr_t)64 << 20);
		regions[i].base = io_map(base, regions[i].bytes);
		if (!regions[i].base)
			return NULL;
	}
	if (!regions[0].base)
		return NULL;
	lines = 32 * ((io_read32(distributor + GICD_TYPER) & 31) + 1);
	gic_lines = min(lines, (u32)GIC_SPURIOUS);
	io_write32(distributor + GICD_CTLR, GICD_CTLR_ARE);
	wait_clear(distributor + GICD_CTLR, GICD_CTLR_RWP);
	io_write32(distributor + GICD_CTLR, GICD_CTLR_ARE | GICD_CTLR_GROUP1);
	wait_clear(distributor + GICD_CTLR, GICD_CTLR_RWP);
	return &gicv3_ops;
}
