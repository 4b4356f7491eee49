/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Trace points of the module: records of lichen/trace.h in this CPU's ring, while the hypervisor
 * says that it is on. A point is an instruction that does nothing, and is patched when that changes.
 */
#ifndef LICHEN_MODULE_TRACE_H
#define LICHEN_MODULE_TRACE_H

#include <linux/jump_label.h>
#include <lichen/trace.h>

DECLARE_STATIC_KEY_FALSE(trace_on);

/* Once, before the first point. */
void trace_start(void);
/* LICHEN_MACHINE_TRACE has come. May sleep. */
void trace_changed(void);
/* Any context. */
void trace_put(u32 stage, u32 key, u64 value);

#define trace_enabled() (LICHEN_TRACE_POINTS && static_branch_unlikely(&trace_on))

#define trace_point(stage, key, value)                      \
	do {                                                \
		if (trace_enabled())                        \
			trace_put((stage), (key), (value)); \
	} while (0)

#endif
