/* SPDX-License-Identifier: MIT */
/* The interrupt controller: one of two drivers behind the same operations (GICv2: IHI 0048B; GICv3: IHI 0069). */
#ifndef ARCH_GIC_H
#define ARCH_GIC_H

#include <lichen/types.h>

struct gic_ops {
	/* This CPU's interface and banked registers; the PPIs that the kernel uses are enabled by `enable`. */
	void (*cpu_init)(void);
	/* An SPI: trigger and target first, then enabled. PPIs and SGIs: of this CPU. */
	void (*enable)(u32 irq, bool edge, u32 cpu);
	void (*disable)(u32 irq);
	u32 (*acknowledge)(void); /* an interrupt number, or >= 1020: none */
	void (*end)(u32 irq);
	void (*send)(u32 sgi, u32 cpu);
	u32 lines; /* interrupts that exist, 32 + SPIs */
};
extern const struct gic_ops *gic;
extern u32 gic_lines;

void gic_init(const void *dt);
const struct gic_ops *gicv2_probe(const void *dt, int node);
const struct gic_ops *gicv3_probe(const void *dt, int node);
/* Per-CPU interrupts of the kernel itself. */
void irq_set_local(u32 irq, void (*handler)(void *arg), void *arg, const char *name);
/* This CPU takes interrupts. */
void irq_cpu_init(void);

enum { GIC_SPURIOUS = 1020, GIC_PRIORITY = 0xa0 };

/* Registers of the distributor that both versions share. */
enum {
	GICD_CTLR = 0x000,
	GICD_TYPER = 0x004,
	GICD_IGROUPR = 0x080,
	GICD_ISENABLER = 0x100,
	GICD_ICENABLER = 0x180,
	GICD_ICPENDR = 0x280,
	GICD_ICACTIVER = 0x380,
	GICD_IPRIORITYR = 0x400,
	GICD_ITARGETSR = 0x800,
	GICD_ICFGR = 0xc00,
	GICD_SGIR = 0xf00,
	GICD_IROUTER = 0x6000,
};

#endif
