/* SPDX-License-Identifier: MIT */
/*
 * The device trees that domains get: the firmware's, edited, for the driver domain; a small generated one for the others.
 */
#ifndef HYP_DT_H
#define HYP_DT_H

#include <lichen/abi.h>

#include "layout.h"
#include "machine.h"

#define DT_SEED	    32
#define DT_DEVICES  LICHEN_SLOTS
#define DT_CHANNELS LICHEN_CHANNELS
#define DT_SLACK    (32 * KIB) /* what editing may add to the firmware's tree */
#define DT_FRONTEND (32 * KIB) /* a generated tree fits in this */

struct dt_device {
	u64 base; /* of its register page */
	u32 intid;
};

/* What a tree says about its domain. */
struct dt_domain {
	const char *cmdline;
	u64 cpus; /* set of CPU indices */
	const struct range_list *ram;
	struct range initrd; /* size 0: none */
	u8 seed[DT_SEED];
	bool has_seed;
	struct range info; /* struct lichen_info, and the statistics */
	struct range stats;
	struct range trace; /* size 0: none */
	const struct range_list *pool;
};

struct dt_frontend {
	struct dt_device device[DT_DEVICES];
	u32 devices;
	int completion_sgi; /* or -1 */
};

struct dt_backend {
	struct range control, doorbells, views, registers;
	u32 channel[DT_CHANNELS]; /* INTIDs */
	u32 channels;
	struct range_list shared; /* RAM of domains that share it all */
};

/* Takes off the air behind the tree's parts (QEMU's has a megabyte), and returns its size. For a tree that machine_read took. */
u32 dt_trim(void *fdt);

/*
 * Edits in place: `fdt` was opened into a buffer with DT_SLACK to spare. 0, or a negative errno: the tree is broken or the buffer too small.
 */
int dt_driver_edit(void *fdt, const struct machine *machine, const struct dt_domain *domain,
	const struct dt_backend *backend);

/* Makes a tree in `buffer`. 0, or -ENOSPC. */
int dt_frontend_make(void *buffer, size_t size, const struct machine *machine,
	const struct dt_domain *domain, const struct dt_frontend *frontend);

#endif
