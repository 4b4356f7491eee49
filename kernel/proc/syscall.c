/* SPDX-License-Identifier: MIT */
/*
 * From the svc instruction to the function, and back: the table that is made of the .syscalls section, and what becomes of
 * results. The way of a call that does not block touches no lock, no run queue and no heap.
 */
#include "proc.h"
#include <lichen/tracing.h>

#define SYSCALL_NUMBERS 512

extern const struct syscall syscall_table_start[], syscall_table_end[];
static const struct syscall *syscalls[SYSCALL_NUMBERS];
/*
 * What dispatch looks into: the table, or an empty one while the trace is on. So a call whose entry is noted takes the way of those that are
 * not there, and one whose is not has nothing to test.
 */
static const struct syscall *none[SYSCALL_NUMBERS];
static const struct syscall **traced_lookup = syscalls;
#define lookup (LICHEN_TRACE_POINTS ? traced_lookup : syscalls)
static _Atomic u64 unknown_logged[SYSCALL_NUMBERS / 64 + 1];

static void syscall_table_init(void)
{
	for (const struct syscall *s = syscall_table_start; s < syscall_table_end; s++) {
		kassert(s->number < SYSCALL_NUMBERS && !syscalls[s->number]);
		syscalls[s->number] = s;
	}
}
INITCALL(INIT_CORE, syscall_table_init);

const char *syscall_name(unsigned number)
{
	return number < SYSCALL_NUMBERS && syscalls[number] ? syscalls[number]->name : NULL;
}

/* One line for each number; all numbers beyond the table share one. */
static __noinline long syscall_unknown(struct thread *thread, u64 number)
{
	u32 slot = number < SYSCALL_NUMBERS ? number : SYSCALL_NUMBERS;
	u64 bit = BIT(slot % 64);

	if (!(atomic_fetch_or(&unknown_logged[slot / 64], bit) & bit))
		log_info("%s[%d]: system call %lld is not there", thread->name, thread->tid, (long long)number);
	return -ENOSYS;
}

/* A call ended with one of the codes that programs never see: what becomes of it is decided on the way to user mode. */
static __noinline void syscall_interrupted(struct thread *thread, long result)
{
	if (result == -EINTR_FINAL) {
		thread->user.x[0] = -EINTR;
		return;
	}
	thread->user.x[0] = -EINTR;
	thread->restart = result == -EINTR ? ERESTARTSYS : -result;
	atomic_fetch_or(&thread->task.flags, TASK_WORK);
}

static __always_inline void syscall_result(struct thread *thread, long result)
{
	if (unlikely(result == -EINTR || (u64)(result + EINTR_FINAL) <= EINTR_FINAL - ERESTARTSYS))
		syscall_interrupted(thread, result);
	else
		thread->user.x[0] = result;
}

void trace_syscalls(bool on)
{
	*(const struct syscall **volatile *)&traced_lookup = on ? none : syscalls;
}

/* async_call, for arguments that are words. */
static __always_inline enum async_poll syscall_begin(struct task *task, const struct syscall *s, const u64 *x)
{
	struct async_frame *frame = async_push_fn(&task->async, s->fn);
	u64 *args = (u64 *)(frame + 1);

	if (unlikely(!frame)) {
		task->async.result = -ENOMEM;
		return READY;
	}
	async_frame_make(&task->async, frame, NULL, s->fn);
	for (u32 i = 0; i < s->nargs; i++) {
		args[i] = x[i];
		__asm__ volatile("" : : : "memory"); /* not a call of memcpy */
	}
	return s->fn->step(task, frame);
}

enum async_poll syscall_dispatch(struct thread *thread)
{
	u64 *x = thread->user.x;
	u64 number = (u32)x[8];
	const struct syscall *s;
	long result;

	if (unlikely(number >= SYSCALL_NUMBERS || !(s = lookup[number]))) {
		if (number >= SYSCALL_NUMBERS || !(s = syscalls[number])) {
			x[0] = syscall_unknown(thread, number);
			return READY;
		}
		thread->trace_entry = lichen_trace_time();
	}
	thread->syscall = number;
	thread->syscall_x0 = x[0];
	if (s->is_async) {
		if (syscall_begin(&thread->task, s, x) == PENDING)
			return PENDING;
		result = thread->task.async.result;
	} else {
		result = s->call(x[0], x[1], x[2], x[3], x[4], x[5]);
	}
	if (unlikely(thread->syscall < 0)) /* rt_sigreturn, execve: all registers were replaced */
		return READY;
	thread->syscall = -1;
	syscall_result(thread, result);
	return READY;
}

/* Frames that ran over several wakes: a system call's, or a fault's. */
void thread_frames_done(struct thread *thread)
{
	if (thread->syscall < 0)
		return;
	thread->syscall = -1;
	syscall_result(thread, thread->task.async.result);
}

SYSCALL_ASYNC(restart_syscall, 0, struct thread *thread;)
{
	ASYNC_BEGIN;
	f->thread = thread_of(self);
	if (!f->thread->restart_fn)
		ASYNC_RETURN(-EINTR_FINAL);
	AWAIT_OP(f->thread->restart_fn, restart,
		.restart = {f->thread->restart_args[0], f->thread->restart_args[1], f->thread->restart_args[2],
			f->thread->restart_args[3]});
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
