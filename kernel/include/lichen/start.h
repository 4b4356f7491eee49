/* SPDX-License-Identifier: MIT */
/* The first task: mounts the root file system and starts PID 1. */
#ifndef LICHEN_START_H
#define LICHEN_START_H

#include <lichen/async.h>

extern const struct async_fn system_start_fn;
/* The architecture starts the other CPUs. */
void smp_arch_start(void);

#endif
