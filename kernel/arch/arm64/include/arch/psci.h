/* SPDX-License-Identifier: MIT */
/* Power and CPUs through the firmware. */
#ifndef ARCH_PSCI_H
#define ARCH_PSCI_H

#include <lichen/types.h>

void psci_init(const void *dt);
/* 0, or PSCI's negative error. Addresses are physical. */
long psci_cpu_on(u64 mpidr, phys_addr_t entry, u64 context);

#endif
