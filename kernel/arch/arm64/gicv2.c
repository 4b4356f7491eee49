/* SPDX-License-Identifier: MIT */
/* GICv2 (Arm IHI 0048B). Under a hypervisor the distributor shows and changes our own interrupts only. */
#include <lichen/cpu.h>
#include <lichen/devicetree.h>
#include <lichen/printk.h>
#include <arch/gic.h>
#include <arch/sysreg.h>

enum { GICC_CTLR = 0x00, GICC_PMR = 0x04, GICC_IAR = 0x0c, GICC_EOIR = 0x10 };

static volatile char *distributor, *interface;
static u8 targets[CPUS_MAX]; /* the interface's bit in ITARGETSR of each CPU: not its number */

static void gicv2_cpu_init(void)
{
	u32 word = 0;

	/* The banked, read-only target fields of SGIs and PPIs say which interface we are; zero if there is only one. */
	for (u32 i = 0; i < 32 && !word; i += 4)
		word = io_read32(distributor + GICD_ITARGETSR + i);
	targets[cpu_id()] = (u8)(word | word >> 8 | word >> 16 | word >> 24);
	if (!targets[cpu_id()])
		targets[cpu_id()] = 1;
	for (u32 i = 0; i < 32; i += 4)
		io_write32(distributor + GICD_IPRIORITYR + i, GIC_PRIORITY * 0x01010101u);
	io_write32(distributor + GICD_ISENABLER, 0xffff); /* SGIs, where that can be chosen */
	io_write32(interface + GICC_PMR, 0xff);
	io_write32(interface + GICC_CTLR, 1);
}

static void set_bits(u32 reg, u32 irq, u32 bits_each, u32 value)
{
	volatile char *word = distributor + reg + irq * bits_each / 32 * 4;
	u32 shift = irq * bits_each % 32, mask = ((1u << bits_each) - 1) << shift;

	io_write32(word, (io_read32(word) & ~mask) | value << shift);
}

static void gicv2_enable(u32 irq, bool edge, u32 cpu)
{
	if (irq >= 32) {
		set_bits(GICD_ICFGR, irq, 2, edge ? 2 : 0);
		set_bits(GICD_IPRIORITYR, irq, 8, GIC_PRIORITY);
		set_bits(GICD_ITARGETSR, irq, 8, targets[cpu]);
	}
	io_write32(distributor + GICD_ISENABLER + irq / 32 * 4, 1u << irq % 32);
}

static void gicv2_disable(u32 irq)
{
	io_write32(distributor + GICD_ICENABLER + irq / 32 * 4, 1u << irq % 32);
}

static u32 acknowledged[CPUS_MAX]; /* SGIs: the end must name the sender too */

static u32 gicv2_acknowledge(void)
{
	u32 value = io_read32(interface + GICC_IAR);

	acknowledged[cpu_id()] = value;
	return value & 0x3ff;
}

static void gicv2_end(u32 irq)
{
	io_write32(interface + GICC_EOIR, acknowledged[cpu_id()]);
}

static void gicv2_send(u32 sgi, u32 cpu)
{
	dsb(ishst);
	io_write32(distributor + GICD_SGIR, (u32)targets[cpu] << 16 | sgi);
}

static const struct gic_ops gicv2_ops = {
	.cpu_init = gicv2_cpu_init,
	.enable = gicv2_enable,
	.disable = gicv2_disable,
	.acknowledge = gicv2_acknowledge,
	.end = gicv2_end,
	.send = gicv2_send,
};

const struct gic_ops *gicv2_probe(const void *dt, int node)
{
	phys_addr_t d, di, c, ci;

	if (!devicetree_reg(dt, node, 0, &d, &di) || !devicetree_reg(dt, node, 1, &c, &ci))
		return NULL;
	distributor = io_map(d, 0x1000);
	interface = io_map(c, 0x1000);
	if (!distributor || !interface)
		return NULL;
	gic_lines = 32 * ((io_read32(distributor + GICD_TYPER) & 31) + 1);
	io_write32(distributor + GICD_CTLR, 1);
	return &gicv2_ops;
}
