/* SPDX-License-Identifier: MIT */
/*
 * What the files of the interrupt controller share: registers (GICv2: IHI 0048; GICv3: IHI 0069) and state.
 */
#ifndef HYP_GIC_INTERNAL_H
#define HYP_GIC_INTERNAL_H

#include "gic.h"
#include "lock.h"

#define GICD_CTLR	 0x0000
#define GICD_TYPER	 0x0004
#define GICD_IIDR	 0x0008
#define GICD_TYPER2	 0x000c
#define GICD_SETSPI_NSR	 0x0040
#define GICD_CLRSPI_NSR	 0x0048
#define GICD_IGROUPR	 0x0080
#define GICD_ISENABLER	 0x0100
#define GICD_ICENABLER	 0x0180
#define GICD_ISPENDR	 0x0200
#define GICD_ICPENDR	 0x0280
#define GICD_ISACTIVER	 0x0300
#define GICD_ICACTIVER	 0x0380
#define GICD_IPRIORITYR	 0x0400
#define GICD_ITARGETSR	 0x0800
#define GICD_ICFGR	 0x0c00
#define GICD_NSACR	 0x0e00
#define GICD_SGIR	 0x0f00
#define GICD_CPENDSGIR	 0x0f10
#define GICD_SPENDSGIR	 0x0f20
#define GICD_IROUTER	 0x6000
#define GICD_IROUTER_END 0x7fe0

#define GICD_CTLR_ARE (1u << 4)
#define GICD_CTLR_DS  (1u << 6)

#define GICC_CTLR 0x0
#define GICC_PMR  0x4
#define GICC_APR0 0xd0

#define GICR_PAGE	 0x10000ul
#define GICR_FRAME	 (2 * GICR_PAGE)
#define GICR_SGI_BASE	 0x10000
#define GICR_CTLR	 0x0000
#define GICR_IIDR	 0x0004
#define GICR_TYPER	 0x0008
#define GICR_WAKER	 0x0014
#define GICR_PIDR2	 0xffe8
#define GICR_TYPER_VLPIS (1ull << 1)
#define GICR_TYPER_LAST	 (1ull << 4)

#define V2M_MSI_TYPER 0x8

#define GIC_NOBODY 0xff

struct gic {
	const struct machine *machine;
	u32 version;
	u32 limit; /* INTIDs from here do not exist */
	bool group0; /* GICv3: one security state, so Group 0 is ours too; otherwise it is the firmware's */
	u64 gicd, gicc;
	struct spinlock lock; /* read-modify-write of the distributor, and what follows */
	u8 owner[1024];	      /* domain, or GIC_NOBODY */
	bool used[1024];      /* wired: not spare */
	u32 edge[32];	      /* spare SPIs that were taken: edge-triggered for good */
	u32 enabled[32]; /* what domains enabled; in hardware only while their GICD_CTLR is on */
	u32 spare_first, spare_next;
};

extern struct gic gic;

u32 gic_mask(const struct domain *domain, u32 n);
void gicd_modify(u32 offset, u32 mask, u32 value);
bool gicd_access(struct domain *domain, struct mmio *mmio);
bool gicr_access(struct domain *domain, struct mmio *mmio);

#endif
