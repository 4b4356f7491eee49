/* SPDX-License-Identifier: MIT */
/* Between the executor (core/executor.c), the code that runs threads (core/thread_run.c) and the architecture. */
#ifndef LICHEN_EXECUTOR_H
#define LICHEN_EXECUTOR_H

#include <lichen/task.h>

enum executor_verdict {
	EXECUTOR_BLOCK,	    /* waits for a wake */
	EXECUTOR_PREEMPTED, /* goes back to the queue */
	EXECUTOR_ENDED,	    /* will never run again */
};

/* This CPU takes part. */
void executor_online(void);
/* Runs one task for a while; waits for one first. */
void executor_step(void);
/* Runs one task, or waits once for an interrupt. */
void executor_poll(void);
/* The running task gives up the CPU. */
void executor_done(enum executor_verdict verdict);
/* The running task shall run after the first of its queue. */
void executor_fall_behind(struct task *task);

/* --- threads; interrupts masked but in _run and _end --- */
void executor_enter_thread(struct task *task);
void executor_leave_thread(struct task *task, enum executor_verdict why);
/* Steps its frames, then lets it run in user mode: does not return as long as it does. */
enum executor_verdict executor_run_thread(struct task *task);
/* The last touch of a thread that has ended. */
void executor_end_thread(struct task *task);
/* CPU time of a task, ns. */
void executor_charge(struct task *task, nsec_t ns);
/* No thread's address space stays in use on an idle CPU. */
void executor_arch_leave_thread(void);

#endif
