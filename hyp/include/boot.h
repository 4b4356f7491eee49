/* SPDX-License-Identifier: MIT */
/*
 * What the boot leaves behind for the start of later domains.
 */
#ifndef HYP_BOOT_H
#define HYP_BOOT_H

#include "domain.h"

/* Writes the device tree of a frontend to its place in the domain's memory; afterwards EL2 reaches none of that memory. Once a domain. */
bool boot_make_tree(struct domain *domain);

/* The hypervisor's C entry, with the MMU on. */
void hyp_main(u64 dtb) __attribute__((noreturn));

#endif
