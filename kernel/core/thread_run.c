/* SPDX-License-Identifier: MIT */
/*
 * A thread on a CPU: its frames are stepped, its flags looked at, then it enters user mode. The contract with processes is in
 * process.h.
 */
#include <lichen/tracing.h>
#include <lichen/cpu.h>
#include <lichen/debug.h>
#include <lichen/executor.h>
#include <lichen/process.h>
#include <asm/errno.h>

#define TASK_IN_USER_WORK BIT(8) /* the outermost frame is thread_user_work */

const char *debug_thread_name(struct task *task)
{
	return thread_of(task)->name;
}

void executor_enter_thread(struct task *task)
{
	struct thread *thread = thread_of(task);

	mm_activate(thread->mm);
	thread_arch_load(thread);
	/* Where restartable sequences look: proc/rseq.c. */
	if (thread->rseq && (thread->rseq_interrupted || thread->rseq_cpu != this_cpu()->id))
		atomic_fetch_or_explicit(&task->flags, TASK_WORK, memory_order_relaxed);
}

void executor_leave_thread(struct task *task, enum executor_verdict why)
{
	struct thread *thread = thread_of(task);

	if (why == EXECUTOR_BLOCK)
		thread->voluntary_switches++;
	else
		thread->involuntary_switches++;
	if (thread->rseq && thread->syscall < 0)
		thread->rseq_interrupted = true;
	thread_arch_save(thread);
	mm_activate(NULL);
}

void executor_arch_leave_thread(void)
{
}

void executor_end_thread(struct task *task)
{
	thread_put(thread_of(task));
}

void executor_charge(struct task *task, nsec_t ns)
{
	nsec_t user = task->flags & TASK_THREAD ? min(thread_arch_user_time(), ns) : 0;

	task->runtime_user += user;
	task->runtime_system += ns - user;
}

enum user_verdict { ENTER_USER, GIVE_UP };

/* Until it may enter user mode: then returns with interrupts masked. Else *verdict says what to do with it. */
static enum user_verdict user_prepare(struct task *task, enum executor_verdict *verdict)
{
	for (;;) {
		u32 flags;

		irq_save();
		flags = atomic_load_explicit(&task->flags, memory_order_acquire);
		if (likely(!(flags & (TASK_SIGNALLED | TASK_WORK | TASK_RESCHED | (LICHEN_TRACE_POINTS ? TASK_TRACED : 0)))))
			return ENTER_USER;
		if (!(flags & (TASK_SIGNALLED | TASK_WORK | TASK_RESCHED))) {
			trace_put_return(task);
			return ENTER_USER;
		}
		irq_restore(0);
		if (flags & (TASK_SIGNALLED | TASK_WORK)) {
			atomic_fetch_or_explicit(&task->flags, TASK_IN_USER_WORK, memory_order_relaxed);
			if (async_call(task, &thread_user_work_fn, NULL, 0) == PENDING) {
				*verdict = EXECUTOR_BLOCK;
				return GIVE_UP;
			}
			atomic_fetch_and_explicit(&task->flags, ~(u32)TASK_IN_USER_WORK, memory_order_relaxed);
			if (task->async.result == -ESRCH) {
				*verdict = EXECUTOR_ENDED;
				return GIVE_UP;
			}
			continue;
		}
		*verdict = EXECUTOR_PREEMPTED;
		return GIVE_UP;
	}
}

enum executor_verdict executor_run_thread(struct task *task)
{
	struct thread *thread = thread_of(task);
	enum executor_verdict verdict;

	if (task->async.top) {
		if (trace_enabled() && task->flags & TASK_TRACED)
			trace_put(LICHEN_TRACE_RUN, LICHEN_TRACE_NO_KEY, task, 0);
		if (async_resume(task) == PENDING)
			return EXECUTOR_BLOCK;
		if (task->flags & TASK_IN_USER_WORK) {
			atomic_fetch_and_explicit(&task->flags, ~(u32)TASK_IN_USER_WORK, memory_order_relaxed);
			if (task->async.result == -ESRCH)
				return EXECUTOR_ENDED;
		} else {
			thread_frames_done(thread);
		}
	}
	if (user_prepare(task, &verdict) == ENTER_USER)
		thread_arch_enter(thread);
	return verdict;
}

void thread_return(struct task *task)
{
	enum executor_verdict verdict;

	if (user_prepare(task, &verdict) == ENTER_USER)
		return;
	executor_done(verdict);
	for (;;)
		executor_step();
}
