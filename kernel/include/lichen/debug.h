/* SPDX-License-Identifier: MIT */
/* What the panic and the magic key show. */
#ifndef LICHEN_DEBUG_H
#define LICHEN_DEBUG_H

#include <lichen/types.h>

/* False if another CPU panics already. */
bool log_panic_begin(void);
/* Return addresses of the kernel stack to the log: from a frame pointer, or from the caller (NULL). */
void debug_arch_backtrace(const void *frame_pointer);
/* Memory that can be read without a fault; constants of the kernel image. */
bool debug_arch_readable(const void *p, size_t bytes);
bool debug_arch_constant(const void *p, size_t bytes);
/* Stops this CPU for good, interrupts masked. */
void __noreturn cpu_arch_halt(void);
/* All tasks, their states and async backtraces, to the log: the magic key. */
void debug_show_tasks(void);
struct task;
const char *debug_thread_name(struct task *task);
/* this_cpu() is valid. */
extern bool cpus_ready;

#endif
