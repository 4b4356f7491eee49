/* SPDX-License-Identifier: MIT */
/*
 * The interrupt controller. CPU interfaces and a domain's own redistributors belong to the domains; this is the rest: the
 * distributor, where every SPI has one owner, and a filter in front of it.
 */
#ifndef HYP_GIC_H
#define HYP_GIC_H

#include "cpu.h"
#include "machine.h"

/* An access that trapped. `offset` is from the region's start; bits above the access size of `value` are ignored and read as 0. */
struct mmio {
	u64 addr;
	u64 offset;
	u32 size; /* bytes: 1, 2, 4, 8 */
	bool write;
	u64 value;
	bool again; /* not yet: the access is made once more */
};

/* Takes the distributor: all SPIs off, everything wired owned by the driver domain. Needs its mapping. */
void gic_init(const struct machine *machine);
/* The calling CPU's own part: GICv3 system registers; finds its redistributor or GICv2 target bit; banked interrupts off. */
void gic_cpu_init(struct cpu *cpu);
/* Before the boot CPU of a domain enters it: the domain's SPIs are sent there. */
void gic_domain_init(struct domain *domain);
/* Turns off everything that the domain owns in the distributor. */
void gic_domain_stop(struct domain *domain);

/* What stage 2 must not map for `domain`: calls hole() for each region. */
void gic_holes(const struct domain *domain, void (*hole)(u64 base, u64 size));
/* What stage 2 maps of the controller for a domain that is not the driver's. */
void gic_windows(const struct domain *domain, void (*window)(u64 base, u64 size));

/* True when `mmio->addr` was the controller's: it was then filtered and done. */
bool gic_access(struct domain *domain, struct mmio *mmio);

/* An SPI, and the one store that makes it pending. What it is about is visible before (a barrier is the caller's). */
struct gic_spi {
	u64 pend_address;
	u32 pend_value;
	u32 intid;
};
/* Takes a spare SPI for `domain`, edge-triggered. As many as gic_spare_init was asked for. */
struct gic_spi gic_spare_take(struct domain *domain);
/* The range of spare SPIs: as configured, or chosen. `need` is how many will be taken. False: not that many. */
bool gic_spare_init(const struct machine *machine, u32 first, u32 last, u32 need);

/* An SGI to one CPU. */
void gic_sgi(struct cpu *target, u32 intid);
/* domain_stop: opens the way for SGI `intid` into the target, as far as another CPU can. */
void gic_open_remote(struct cpu *target, u32 intid);
/* The calling CPU leaves its domain: nothing of its interrupts stays on or pending. */
void gic_cpu_clean(struct cpu *cpu);
/* Sleeps until an interrupt is pending, with the CPU interface open whatever the domain did to it. */
void gic_wait(void);
/* Sleeps that many seconds on a CPU that has left its domain. */
void gic_sleep(u32 seconds);

u32 gic_version(void);

/* GICv3, ICH_HCR_EL2.TC: a trapped ICC register. False: not one of those. */
bool gic_sysreg(struct cpu *cpu, u64 esr, struct regs *regs);

#define GIC_COMPLETION_SGI 7 /* the backend's signal to a frontend; some firmware keeps 8..15 */
#define GIC_STOP_SGI	   6

#endif
