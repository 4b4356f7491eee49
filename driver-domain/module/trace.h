/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Trace points of the module: records of lichen/trace.h in this CPU's ring, while the hypervisor
 * says that it is on.
 */
#ifndef LICHEN_MODULE_TRACE_H
#define LICHEN_MODULE_TRACE_H

#include <lichen/trace.h>

extern const u32 *trace_switch;

/* Once, before the first point. */
void trace_start(void);
/* Any context. */
void trace_put(u32 stage, u32 key, u64 value);

#define trace_point(stage, key, value)                        \
	do {                                                  \
		if (unlikely(READ_ONCE(*trace_switch)))       \
			trace_put((stage), (key), (value));   \
	} while (0)

#endif
