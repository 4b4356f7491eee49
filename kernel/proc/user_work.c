/* SPDX-License-Identifier: MIT */
/*
 * What a thread does on its way back to user mode when a flag is set: it ends, stops, takes signals, makes an interrupted call
 * again. The only place where signals take effect.
 *
 *     loop:  exiting?            -> thread_end, never back
 *            a stop is on?       -> wait for SIGCONT or the end
 *            a signal?  default  -> ignore, stop, or the process ends
 *                       handler  -> frame on the user's stack; the next signal nests on top of it
 *            nothing left        -> restart the call, restore the mask
 */
#include "proc.h"

/* Joins the stop of the process; the last thread to do so completes it. */
static void stop_join(struct thread *thread) REQUIRES(process_lock)
{
	struct process *process = thread->process;

	if (!thread->stopped) {
		thread->stopped = true;
		process->stopped_threads++;
		signal_recalculate_locked(thread);
	}
	if (process->state == PROCESS_RUNNING && process->stopped_threads == process->thread_count) {
		process->state = PROCESS_STOPPED;
		process->stop_reported = false;
		process->continued = false;
		process_notify_parent(process, CLD_STOPPED);
	}
}

/* A stop signal was taken: true if the process stops (an orphaned group is not stopped from the terminal). */
static bool stop_begin(struct process *process, int signal) REQUIRES(process_lock)
{
	if (signal != SIGSTOP && group_is_orphaned_locked(process->group, NULL))
		return false;
	if (!process->stop_signal) {
		process->stop_signal = signal;
		process->stopped_threads = 0;
		signal_recalculate_all(process);
	}
	return true;
}

/* The interrupted call, if there was one, now that it is known whether a handler runs (action) or not (NULL). */
static void restart_decide(struct thread *thread, const struct signal_action *action)
{
	int code = thread->restart;
	bool again;

	if (!code)
		return;
	thread->restart = 0;
	if (code == ERESTARTNOINTR || !action)
		again = true;
	else
		again = code == ERESTARTSYS && (action->flags & SA_RESTART);
	if (again)
		arch_restart_call(thread, code == ERESTART_RESTARTBLOCK);
}

enum next { NEXT_NONE, NEXT_AGAIN, NEXT_HANDLER, NEXT_STOPPED, NEXT_END };

/* Decides the next step; for a handler fills in what its frame needs. Takes and drops process_lock. */
static enum next work_next(struct thread *thread, int *signal, struct signal_action *action, u64 *mask, siginfo_t *info)
{
	struct process *process = thread->process;
	unsigned long flags = spin_lock_irqsave(&process_lock);
	enum next next = NEXT_AGAIN;
	struct signal_action *entry;

	if (thread->exiting) {
		next = NEXT_END;
		goto out;
	}
	if (process->stop_signal) {
		stop_join(thread);
		next = NEXT_STOPPED;
		goto out;
	}
	*signal = signal_dequeue(thread, ~thread->blocked, info);
	if (!*signal) {
		signal_recalculate_locked(thread);
		next = NEXT_NONE;
		goto out;
	}
	entry = &process->actions->action[*signal - 1];
	if (entry->handler == (u64)SIG_IGN)
		goto out;
	if (entry->handler != (u64)SIG_DFL) {
		*action = *entry;
		if (entry->flags & SA_RESETHAND)
			entry->handler = (u64)SIG_DFL;
		*mask = thread->restore_blocked ? thread->saved_blocked : thread->blocked;
		thread->restore_blocked = false;
		next = NEXT_HANDLER;
		goto out;
	}
	if ((SIGMASK(*signal) & signals_ignored) || process == init_process)
		goto out;
	if (SIGMASK(*signal) & signals_stop)
		stop_begin(process, *signal);
	else
		process_exit_locked(process, signal_death(process, *signal));
out:
	spin_unlock_irqrestore(&process_lock, flags);
	return next;
}

/* The signals that are blocked while the handler runs. */
static void mask_for_handler(struct thread *thread, int signal, const struct signal_action *action)
{
	u64 mask = thread->blocked | action->mask;

	if (!(action->flags & SA_NODEFER))
		mask |= SIGMASK(signal);
	signal_mask_set(thread, mask);
}

static void signal_force_default(struct thread *thread, int signal)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);

	/* No room for the frame: SIGSEGV, unless that was the signal, or its handler cannot be entered either. */
	if (signal == SIGSEGV)
		thread->process->actions->action[SIGSEGV - 1].handler = (u64)SIG_DFL;
	spin_unlock_irqrestore(&process_lock, flags);
	signal_force(thread, SIGSEGV, SI_KERNEL, 0);
}

ASYNC_DEFINE(thread_user_work)
{
	struct thread *thread = thread_of(self);
	struct signal_action action;
	siginfo_t info;
	enum next next;
	int signal;
	u64 mask;

	ASYNC_BEGIN;
	for (;;) {
		atomic_fetch_and(&self->flags, ~(u32)TASK_WORK);
		if (thread_of(self)->set_child_tid) {
			AWAIT(copy_out, .to = thread_of(self)->set_child_tid, .from = &thread_of(self)->tid, .n = sizeof(u32));
			thread_of(self)->set_child_tid = NULL;
		}
		thread = thread_of(self);
		f->ticket = wait_ticket(&thread->process->threads_changed);
		next = work_next(thread, &signal, &action, &mask, &info);
		if (next == NEXT_NONE) {
			if (!rseq_is_due(thread))
				break;
			AWAIT(rseq_update);
			if (!RESULT)
				break;
			thread_of(self)->rseq = 0;
			signal_force(thread_of(self), SIGSEGV, SI_KERNEL, 0);
			continue;
		}
		if (next == NEXT_END) {
			AWAIT(thread_end);
			ASYNC_RETURN(-ESRCH);
		}
		if (next == NEXT_STOPPED) {
			AWAIT(wait_on, .queue = &thread->process->threads_changed, .ticket = f->ticket, .uninterruptible = true);
		} else if (next == NEXT_HANDLER) {
			restart_decide(thread, &action);
			f->signal = signal;
			f->action = action;
			f->mask = mask;
			f->info = info;
			if (thread->rseq) {
				AWAIT(rseq_fixup);
				if (RESULT < 0) {
					thread_of(self)->rseq = 0;
					signal_force(thread_of(self), SIGSEGV, SI_KERNEL, 0);
				}
			}
			AWAIT(signal_enter_handler, .thread = thread_of(self), .signal = f->signal, .action = f->action, .mask = f->mask,
				.info = f->info);
			if (RESULT < 0)
				signal_force_default(thread_of(self), f->signal);
			else
				mask_for_handler(thread_of(self), f->signal, &f->action);
		}
	}
	thread = thread_of(self);
	restart_decide(thread, NULL);
	if (thread->restore_blocked) {
		thread->restore_blocked = false;
		signal_mask_set(thread, thread->saved_blocked);
	}
	ASYNC_END;
}

/* --- what the entry code reports --- */

/* No page for a program that needs one now: it ends, nobody else. */
static void process_out_of_memory(struct thread *thread)
{
	log_ratelimited(LOG_ERR, "out of memory: %s[%d] ends", thread->name, thread->tid);
	process_exit(thread->process, SIGKILL);
}

static void thread_fault_failed(struct thread *thread, long error, u64 address, u64 esr)
{
	thread->fault_address = address;
	thread->fault_syndrome = esr;
	if (error == -EFAULT)
		signal_force(thread, SIGSEGV, SEGV_MAPERR, address);
	else if (error == -EACCES)
		signal_force(thread, SIGSEGV, SEGV_ACCERR, address);
	else if (error == -ENOMEM)
		process_out_of_memory(thread);
	else
		signal_force(thread, SIGBUS, BUS_ADRERR, address);
}

struct fault_resolve_args {
	struct thread *thread;
	u64 address;
	u64 access;
	u64 esr;
};

ASYNC(fault_resolve, struct thread *thread; u64 address; u64 access; u64 esr;)
{
	ASYNC_BEGIN;
	f->thread->major_faults++;
	AWAIT(mm_fault, .mm = f->thread->mm, .address = f->address, .access = f->access);
	if (RESULT < 0)
		thread_fault_failed(f->thread, RESULT, f->address, f->esr);
	ASYNC_END;
}

enum async_poll thread_page_fault(struct thread *thread, u64 address, u32 access, u64 esr)
{
	long error = mm_fault_fast(thread->mm, address, access);

	if (likely(!error)) {
		thread->minor_faults++;
		return READY;
	}
	if (error != -EAGAIN) {
		thread_fault_failed(thread, error, address, esr);
		return READY;
	}
	return async_call(&thread->task, &fault_resolve_fn,
		&(struct fault_resolve_args){thread, address, access, esr}, sizeof(struct fault_resolve_args));
}
