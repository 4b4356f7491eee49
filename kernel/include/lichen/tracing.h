/* SPDX-License-Identifier: MIT */
/*
 * Trace points of the kernel: records of lichen/trace.h in this CPU's ring. Off, a point costs a load and a branch; a system call's entry
 * and return cost nothing at all (proc/syscall.c, core/thread_run.c). On, a call that makes no request costs the note of when it was
 * entered, and no record. /proc/lichen/trace switches it and holds the records.
 */
#ifndef LICHEN_TRACING_H
#define LICHEN_TRACING_H

#include <lichen/types.h>
#include <lichen/trace.h>

struct task;

extern bool trace_on;

/* From any context. `task`: whom it concerns, or NULL. */
__cold void trace_put(u32 stage, u32 key, const struct task *task, u64 value);
/* LICHEN_TRACE_SUBMIT. If the task is a thread, it is one whose wakes and return are recorded, up to and with that return. */
__cold void trace_put_submit(u32 key, struct task *task, u64 value);
/* LICHEN_TRACE_RETURN of such a thread. */
__cold void trace_put_return(struct task *task);

/*
 * Loads and tests trace_on. As assembly where it counts: the compiler would take the address out of loops, into a register that has to be
 * saved, and that costs a single turn more than the whole point.
 */
static __always_inline bool trace_enabled(void)
{
#if LICHEN_TRACE_POINTS && defined(__aarch64__)
	u64 on;

	__asm__ volatile("adrp %0, trace_on\n\tldrb %w0, [%0, :lo12:trace_on]" : "=r"(on));
	return unlikely((u32)on);
#else
	return LICHEN_TRACE_POINTS && unlikely(trace_on);
#endif
}

#define trace_point(stage, key, task, value)                        \
	do {                                                        \
		if (trace_enabled())                                \
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
