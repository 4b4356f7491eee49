/* SPDX-License-Identifier: MIT */
/* Reading the device tree (Devicetree Specification 0.4), on top of libfdt. False: not there, or malformed. */
#ifndef LICHEN_DEVICETREE_H
#define LICHEN_DEVICETREE_H

#include <lichen/types.h>

/* The index-th pair of `reg`, by the parent's cells. Addresses are taken as physical: no `ranges` translation. */
bool devicetree_reg(const void *dt, int node, int index, phys_addr_t *base, phys_addr_t *size);
bool devicetree_u32(const void *dt, int node, const char *name, u32 *value);
bool devicetree_string(const void *dt, int node, const char *name, const char **value);
/* No `status`, or it says okay. */
bool devicetree_enabled(const void *dt, int node);
/* A big-endian number of 1 or 2 cells. */
u64 devicetree_cells(const void *property, int cells);
/* Calls the drivers (irq.h) of all nodes. */
void devicetree_probe(void);

#endif
