/* SPDX-License-Identifier: MIT */
/*
 * What the firmware's device tree says about the machine, copied out of it once at boot: the tree itself lies in
 * memory that a domain may get.
 */
#ifndef HYP_MACHINE_H
#define HYP_MACHINE_H

#include "types.h"

#define MACHINE_RESERVED 32
#define MACHINE_GICRS	 8
#define MACHINE_SPIS	 988 /* INTIDs 32..1019 */
#define MACHINE_INTIDS	 1020

struct machine {
	struct range ram[HYP_RANGES];
	u32 rams;
	struct range reserved[MACHINE_RESERVED]; /* RAM that the firmware keeps: never given away */
	u32 reserveds;
	u32 cpus;
	u64 mpidr[HYP_CPUS]; /* affinity fields only */
	struct range uart;   /* a PL011; size 0: none */
	char uart_path[128];
	u32 gic_version;
	u32 gic_phandle;
	struct range gicd;
	struct range gicc; /* GICv2 */
	struct range gicr[MACHINE_GICRS];
	u32 gicrs;
	u64 gicr_stride; /* 0: each frame says its own size */
	struct range v2m;
	u32 timer[15]; /* "interrupts" of the architected timer, as cells */
	u32 timer_cells;
	u32 pmu[3]; /* "interrupts" of the PMU (a PPI), or pmu_cells = 0 */
	u32 pmu_cells;
	struct range smmu; /* the first; size 0: none */
	struct range payload; /* linux,initrd-start .. end */
	u8 rng_seed[64];
	u32 rng_seed_size;
	u64 intid_used[16]; /* bit n: the device tree wires INTID n to something */
};

/*
 * Reads the tree `fdt` (`limit` bytes are readable). Returns 0, -EINVAL for a tree that is broken, or -ENODEV
 * when something is missing that the hypervisor cannot do without (the rest is filled in); *what then names it.
 */
int machine_read(const void *fdt, size_t limit, struct machine *machine, const char **what);

#endif
