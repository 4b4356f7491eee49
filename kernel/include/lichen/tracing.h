/* SPDX-License-Identifier: MIT */
/*
 * Trace points of the kernel: records of lichen/trace.h in this CPU's ring. Off, a point costs a load and a branch; a system call's entry
 * and return cost nothing at all (proc/syscall.c, core/thread_run.c). /proc/lichen/trace switches it and holds the records.
 */
#ifndef LICHEN_TRACING_H
#define LICHEN_TRACING_H

#include <lichen/types.h>
#include <lichen/trace.h>

struct task;

extern bool trace_on;

/* From any context. `task`: whom it concerns, or NULL. */
void trace_put(u32 stage, u32 key, const struct task *task, u64 value);

#define trace_point(stage, key, task, value)                     \
	do {                                                     \
		if (unlikely(trace_on))                          \
			trace_put((stage), (key), (task), (value)); \
	} while (0)

/* 0, -ENODEV: no rings (domains.conf has no `trace`), -ENOMEM. Points that other CPUs are at may still write a record afterwards. */
long trace_switch(bool on);
/* proc/syscall.c: from now on calls are recorded, or not. */
void trace_syscalls(bool on);
/* Bytes of all rings as struct lichen_trace_file describes them, at most; 0 without rings. Fills in at most that, returns how many. */
size_t trace_file_bytes(void);
size_t trace_file_copy(char *to, size_t room);

#endif
