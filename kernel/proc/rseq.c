/* SPDX-License-Identifier: MIT */
/*
 * Restartable sequences (rseq(2)): the number of the CPU in user memory, always right when user mode looks, and short sequences of
 * instructions that are sent to their abort handler when they were interrupted: by another thread on the CPU, or by a signal.
 * Work is done only where it can matter: after a thread lost its CPU in user mode or came to another one, and before a handler.
 * A call that blocks is no interruption: sequences make no calls.
 */
#include "proc.h"
#include <linux/rseq.h>

/* Fields that are newer than Debian 12's headers: node_id and mm_cid, after flags. A CPU's number serves as mm_cid. */
struct rseq_ids {
	u32 cpu_id_start, cpu_id;
};
struct rseq_extra {
	u32 node_id, mm_cid;
};
#define RSEQ_EXTRA    20
#define RSEQ_SIZE     32 /* the first version's; all that is registered has it */

#define RSEQ_NO_CPU   (~0u)

/* An interrupted sequence goes to its abort handler. 0, or -EFAULT: the program's structures are bad. */
ASYNC_DEFINE(rseq_fixup)
{
	struct thread *thread = thread_of(self);
	u64 pc;

	ASYNC_BEGIN;
	thread->rseq_interrupted = false;
	AWAIT(copy_in, .to = &f->address, .from = (void __user *)(thread->rseq + offsetof(struct rseq, rseq_cs)),
		.n = sizeof(f->address));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (!f->address)
		ASYNC_RETURN(0);
	COPY_IN(f->cs, (const void __user *)f->address);
	if (f->cs.version || f->cs.start_ip >= USER_END || f->cs.post_commit_offset >= USER_END - f->cs.start_ip ||
		f->cs.abort_ip >= USER_END || f->cs.abort_ip - f->cs.start_ip < f->cs.post_commit_offset)
		ASYNC_RETURN(-EFAULT);
	COPY_IN(f->signature, (const void __user *)(f->cs.abort_ip - sizeof(u32)));
	if (f->signature != thread->rseq_signature)
		ASYNC_RETURN(-EFAULT);
	/* Within or not, it is over. */
	f->zero = 0;
	COPY_OUT((void __user *)(thread->rseq + offsetof(struct rseq, rseq_cs)), f->zero);
	pc = thread->user.pc;
	if (pc - f->cs.start_ip < f->cs.post_commit_offset)
		thread->user.pc = f->cs.abort_ip;
	ASYNC_END;
}

ASYNC(rseq_write_ids, u32 cpu; struct rseq_ids ids; struct rseq_extra extra;)
{
	struct thread *thread = thread_of(self);

	ASYNC_BEGIN;
	f->ids = (struct rseq_ids){f->cpu == RSEQ_NO_CPU ? 0 : f->cpu, f->cpu};
	f->extra = (struct rseq_extra){0, f->cpu == RSEQ_NO_CPU ? 0 : f->cpu};
	COPY_OUT((void __user *)thread->rseq, f->ids);
	COPY_OUT((void __user *)(thread->rseq + RSEQ_EXTRA), f->extra);
	ASYNC_END;
}

/* On the way to user mode. If a copy waited and the thread moved, the executor has asked for this once more. */
ASYNC_DEFINE(rseq_update)
{
	struct thread *thread = thread_of(self);

	ASYNC_BEGIN;
	if (thread->rseq_interrupted) {
		AWAIT(rseq_fixup);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	if (thread->rseq_cpu != cpu_id()) {
		thread->rseq_cpu = cpu_id();
		AWAIT(rseq_write_ids, .cpu = thread->rseq_cpu);
		if (RESULT < 0)
			ASYNC_RETURN(RESULT);
	}
	ASYNC_END;
}

static long rseq_check(struct thread *thread, u64 address, u32 length, u32 signature, bool leave)
{
	if (leave) {
		if (!thread->rseq || thread->rseq != address || length != thread->rseq_length)
			return -EINVAL;
		return thread->rseq_signature == signature ? 0 : -EPERM;
	}
	if (thread->rseq) {
		if (thread->rseq != address || length != thread->rseq_length)
			return -EINVAL;
		return thread->rseq_signature == signature ? -EBUSY : -EPERM;
	}
	if (length < RSEQ_SIZE || address % RSEQ_SIZE)
		return -EINVAL;
	return user_range_ok((void __user *)address, length) ? 0 : -EFAULT;
}

SYSCALL_ASYNC(rseq, 4, SYS_ARG(u64, address) SYS_ARG(u32, length) SYS_ARG(int, flags) SYS_ARG(u32, signature) long error;)
{
	struct thread *thread = thread_of(self);

	ASYNC_BEGIN;
	if (f->flags & ~RSEQ_FLAG_UNREGISTER)
		ASYNC_RETURN(-EINVAL);
	f->error = rseq_check(thread, f->address, f->length, f->signature, f->flags & RSEQ_FLAG_UNREGISTER);
	if (f->error)
		ASYNC_RETURN(f->error);
	if (f->flags & RSEQ_FLAG_UNREGISTER) {
		AWAIT(rseq_write_ids, .cpu = RSEQ_NO_CPU);
		if (!RESULT)
			thread->rseq = 0;
		ASYNC_RETURN(RESULT);
	}
	thread->rseq_length = f->length;
	thread->rseq_signature = f->signature;
	thread->rseq_cpu = RSEQ_NO_CPU; /* written on the way out */
	thread->rseq = f->address;
	atomic_fetch_or(&self->flags, TASK_WORK);
	ASYNC_END;
}
