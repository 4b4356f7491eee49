/* SPDX-License-Identifier: MIT */
/*
 * The rings of lichen/trace.h. They are the hypervisor's memory, made at boot when domains.conf asks for them; each domain
 * maps what it may see.
 */
#ifndef HYP_TRACE_H
#define HYP_TRACE_H

#include "domain.h"

#include <lichen/trace.h>

extern bool trace_on;
#define trace_enabled() (LICHEN_TRACE_POINTS && unlikely(trace_on))

/* Once, before domains are mapped. `bytes` of records a ring; 0: no rings. */
void trace_init(u32 cpu_count, u64 bytes);
void trace_map(struct domain *domain);
/* Header and rings; size 0: there are none. */
struct range trace_window(void);

/* LICHEN_HVC_TRACE: 0, -ENODEV, -EINVAL. */
long trace_switch(u64 on);

/* A record in the CPU's ring. Only while trace_on. */
void trace_put(const struct cpu *cpu, u32 stage, u32 key);

#endif
