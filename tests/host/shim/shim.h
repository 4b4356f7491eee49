/* SPDX-License-Identifier: MIT */
/*
 * Kernel code on the host. The core's own sources (async, wait, mutex, timer, executor ...) run as they are; this gives
 * what is below them: CPUs that are threads, a clock, pages, kmalloc, the log on stderr. A test program says
 *
 *     // kernel: core/slab-free sources of the kernel, besides shim's (below kernel/)
 *
 * and calls shim_start(1) for a single CPU (its own thread, no concurrency) before anything else.
 */
#ifndef SHIM_H
#define SHIM_H

#include <lichen/async.h>
#include <lichen/task.h>

/* The calling thread becomes CPU 0; `cpus` - 1 more threads begin to run tasks. */
void shim_start(unsigned cpus);
/* Ends the other CPUs' threads. */
void shim_stop(void);

/*
 * Runs an async function to its end, and whatever other tasks are runnable meanwhile; its result. Called on CPU 0, from no
 * task. If nothing can ever run again (no timer, no other CPU) it prints all backtraces and aborts.
 */
long shim_run(const struct async_fn *fn, const void *args, size_t args_size);
#define async_run(callee, ...)                                                                     \
	({                                                                                         \
		struct callee##_frame _args = {__VA_ARGS__};                                       \
		shim_run(&callee##_fn, &_args.async + 1, sizeof(_args) - sizeof(_args.async));      \
	})

/* The monotonic clock jumps ahead: what waits for a time that has come runs from now on, beside what the test does. */
void shim_clock_advance(nsec_t ns);
/* From here on only that moves it. */
void shim_clock_stop(void);

/* Objects and pages that are allocated now: a test compares before and after. */
size_t shim_allocated(void);
/* From here on every n-th allocation fails (0: none). */
void shim_fail_allocations(unsigned every);
/* As with a driver domain: only pages asked for with ALLOC_POOL lie in the pool. */
void shim_pool_separate(bool yes);

#endif
