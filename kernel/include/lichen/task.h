/* SPDX-License-Identifier: MIT */
/*
 * Tasks and the executor. A task is an async stack and a place in a run queue, nothing more; a thread of a process
 * (process.h) is a task with user registers.
 *
 *               task_start                       picked
 *     (new) ----------------> QUEUED ------------------------------> RUNNING
 *                               ^  ^                                  |  |  ^
 *                               |  | wake                 step PENDING|  |  | wake while running:
 *                               |  |                                  v  |  | remembered, requeued
 *                               |  +------------------------------ BLOCKED  v
 *                               +---- preempted, yield -------------- NOTIFIED
 *
 * The state changes by compare-and-swap alone, so a wake that races with going to sleep is never lost.
 */
#ifndef LICHEN_TASK_H
#define LICHEN_TASK_H

#include <lichen/async.h>
#include <lichen/list.h>
#include <lichen/rbtree.h>
#include <lichen/wait.h>

enum task_state { TASK_QUEUED, TASK_RUNNING, TASK_NOTIFIED, TASK_BLOCKED, TASK_DEAD };

struct task {
	struct async_stack async; /* first: ASYNC_STACK() */
	_Atomic u32 state;
	_Atomic u32 flags; /* TASK_* below */
	u32 cpu;	   /* where it runs, or ran last */
	u32 weight;	   /* share of CPU time; 1024 = nice 0 */
	u64 affinity;	   /* bit n: may run on CPU n */
	u64 vruntime;	   /* weighted ns of CPU time, orders the run queue */
	u64 runtime_user, runtime_system; /* ns; read them by task_times() */
	struct rb_node run_node;
	struct list all_node; /* every task, for backtraces */
	const char *name;     /* of a detached task; threads have theirs in struct thread */
};

#define TASK_THREAD	BIT(0) /* is the first member of a struct thread */
#define TASK_SIGNALLED	BIT(1) /* a signal is pending that the thread does not block: interruptible waits end */
#define TASK_RESCHED	BIT(2) /* should give way before it returns to user mode */
#define TASK_WORK	BIT(3) /* has something to do before it returns to user mode: process.h */
#define TASK_TRACED	BIT(4) /* made a request: its wakes, and its return to user mode, are recorded: tracing.h */
#define TASK_KILLED	BIT(5) /* it ends when it returns to user mode: killable waits end */

/*
 * Prepares a zeroed task whose first async segment is `bytes` at `room`: weight of nice 0, any CPU, state QUEUED, so that
 * wakes do nothing before task_start.
 */
void task_init(struct task *task, void *room, size_t bytes);
/* Makes a task runnable for the first time. */
void task_start(struct task *task);
/* From any context. Harmless on a task that is not waiting. */
void task_wake(struct task *task);
/* Gives way to others: 0. */
ASYNC_DECLARE(task_yield, bool yielded;);
/* True if the running task has used its slice and others wait: long loops then AWAIT(task_yield). */
bool task_should_yield(struct task *self);

static inline bool task_signalled(struct task *task)
{
	return atomic_load_explicit(&task->flags, memory_order_acquire) & TASK_SIGNALLED;
}

static inline bool task_killed(struct task *task)
{
	return atomic_load_explicit(&task->flags, memory_order_acquire) & TASK_KILLED;
}

/*
 * A detached task: runs fn with a copy of the arguments, is freed when it returns. NULL without memory. `name` must be static.
 *     task_spawn("writeback", &writeback_fn, &(struct writeback_args){...}, sizeof(struct writeback_args));
 */
struct task *task_spawn(const char *name, const struct async_fn *fn, const void *args, size_t args_size);

/* CPU time up to now, ns. */
void task_times(struct task *task, nsec_t *user, nsec_t *system);

/* Calls fn for every task, under a lock, interrupts masked. */
void task_for_each(void (*fn)(struct task *task, void *arg), void *arg);
/* Writes the async backtrace ("name (file:line)" a line, innermost first) into buf; the length without the NUL. */
size_t task_backtrace(struct task *task, char *buf, size_t bytes);

/* The loop of a CPU: picks tasks, steps them or lets them run in user mode, idles. */
void __noreturn executor_run(void);

_Static_assert(offsetof(struct task, async) == 0, "ASYNC_STACK() casts a task to its stack");

#endif
