/* SPDX-License-Identifier: MIT */
/* The system calls about signals: sending, masks, actions, waiting for them. */
#include "proc.h"
#include <linux/signal.h>

#define MINIMUM_STACK 5120u /* MINSIGSTKSZ of arm64 */

static bool signal_valid(int signal)
{
	return signal > 0 && signal <= 64;
}

/* --- sending --- */

/* kill(2): same user (real or effective here, real or saved there), or CAP_KILL; SIGCONT within a session. */
static bool may_signal(struct thread *sender, struct process *target, int signal) REQUIRES(process_lock)
{
	struct thread *thread = process_thread_locked(target);
	const struct cred *a = sender->cred, *b;

	if (target == sender->process || cred_capable(a, CAP_KILL))
		return true;
	if (signal == SIGCONT && target->group && target->group->session == sender->process->group->session)
		return true;
	if (!thread)
		return a->euid == target->exit_uid || a->uid == target->exit_uid;
	b = thread->cred;
	return a->euid == b->suid || a->euid == b->uid || a->uid == b->suid || a->uid == b->uid;
}

static void siginfo_sender(siginfo_t *info, int signal, int code)
{
	struct thread *sender = current_thread();

	siginfo_kernel(info, signal, code);
	info->si_pid = sender->process->pid;
	info->si_uid = sender->cred->uid;
}

static long kill_one(struct process *process, int signal, const siginfo_t *info) REQUIRES(process_lock)
{
	if (!process)
		return -ESRCH;
	if (!may_signal(current_thread(), process, signal))
		return -EPERM;
	return signal ? signal_send_process_locked(process, signal, info) : 0;
}

/* Success if it reached anyone; else why not. */
static long kill_group(struct process_group *group, int signal, const siginfo_t *info) REQUIRES(process_lock)
{
	struct process *process;
	long result = -ESRCH;
	bool reached = false;

	if (!group)
		return -ESRCH;
	list_for_each(process, &group->members, group_node) {
		long error = kill_one(process, signal, info);

		if (!error)
			reached = true;
		result = error;
	}
	return reached ? 0 : result;
}

static long kill_all(int signal, const siginfo_t *info) REQUIRES(process_lock)
{
	struct process *self = current_thread()->process, *process;
	long result = -ESRCH;

	list_for_each(process, &all_processes, all_node) {
		long error;

		if (process == self || process == init_process)
			continue;
		error = kill_one(process, signal, info);
		if (error != -EPERM)
			result = error;
	}
	return result;
}

SYSCALL(kill, pid_t, pid, int, signal)
{
	siginfo_t info;
	unsigned long flags;
	long result;

	if (signal < 0 || signal > 64)
		return -EINVAL;
	if (pid == INT32_MIN)
		return -ESRCH;
	siginfo_sender(&info, signal, SI_USER);
	flags = spin_lock_irqsave(&process_lock);
	if (pid > 0) {
		struct thread *thread;
		struct process *process = process_find_locked(pid);

		if (!process && (thread = thread_find_locked(pid))) /* any thread's number will do */
			process = thread->process;
		result = kill_one(process, signal, &info);
	} else if (pid == -1) {
		result = kill_all(signal, &info);
	} else {
		result = kill_group(pid ? group_find_locked(-pid) : current_thread()->process->group, signal, &info);
	}
	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

static long kill_thread(pid_t pid, pid_t tid, int signal, const siginfo_t *info)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct thread *thread = thread_find_locked(tid);
	long result = -ESRCH;

	if (thread && (pid <= 0 || thread->process->pid == pid)) {
		if (!may_signal(current_thread(), thread->process, signal))
			result = -EPERM;
		else
			result = signal ? signal_send_thread_locked(thread, signal, info) : 0;
	}
	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

SYSCALL(tgkill, pid_t, pid, pid_t, tid, int, signal)
{
	siginfo_t info;

	if (pid <= 0 || tid <= 0 || signal < 0 || signal > 64)
		return -EINVAL;
	siginfo_sender(&info, signal, SI_TKILL);
	return kill_thread(pid, tid, signal, &info);
}

SYSCALL(tkill, pid_t, tid, int, signal)
{
	siginfo_t info;

	if (tid <= 0 || signal < 0 || signal > 64)
		return -EINVAL;
	siginfo_sender(&info, signal, SI_TKILL);
	return kill_thread(0, tid, signal, &info);
}

/* Nobody but the kernel may say that the kernel or kill(2) sent it, but to oneself. */
static bool siginfo_is_forged(const siginfo_t *info, pid_t pid)
{
	return (info->si_code >= 0 || info->si_code == SI_TKILL) && current_thread()->process->pid != pid;
}

SYSCALL_ASYNC(rt_sigqueueinfo, 3, SYS_ARG(pid_t, pid) SYS_ARG(int, signal) SYS_ARG(const siginfo_t __user *, uinfo) siginfo_t info;)
{
	unsigned long flags;
	long result;

	ASYNC_BEGIN;
	COPY_IN(f->info, f->uinfo);
	if (f->signal < 0 || f->signal > 64)
		ASYNC_RETURN(-EINVAL);
	f->info.si_signo = f->signal;
	if (siginfo_is_forged(&f->info, f->pid))
		ASYNC_RETURN(-EPERM);
	flags = spin_lock_irqsave(&process_lock);
	result = kill_one(process_find_locked(f->pid), f->signal, &f->info);
	spin_unlock_irqrestore(&process_lock, flags);
	ASYNC_RETURN(result);
	ASYNC_END;
}

SYSCALL_ASYNC(rt_tgsigqueueinfo, 4, SYS_ARG(pid_t, pid) SYS_ARG(pid_t, tid) SYS_ARG(int, signal) SYS_ARG(const siginfo_t __user *, uinfo)
	siginfo_t info;)
{
	ASYNC_BEGIN;
	COPY_IN(f->info, f->uinfo);
	if (f->pid <= 0 || f->tid <= 0 || f->signal < 0 || f->signal > 64)
		ASYNC_RETURN(-EINVAL);
	f->info.si_signo = f->signal;
	if (siginfo_is_forged(&f->info, f->pid))
		ASYNC_RETURN(-EPERM);
	ASYNC_RETURN(kill_thread(f->pid, f->tid, f->signal, &f->info));
	ASYNC_END;
}

/* pidfd_send_signal: the process is known, the info is the caller's or NULL. */
long signal_send_checked(struct process *process, int signal, const siginfo_t *given)
{
	siginfo_t info;
	unsigned long flags;
	long result;

	if (given) {
		if (given->si_signo != signal)
			return -EINVAL;
		if (siginfo_is_forged(given, process->pid))
			return -EPERM;
		info = *given;
	} else {
		siginfo_sender(&info, signal, SI_USER);
	}
	if (signal < 0 || signal > 64)
		return -EINVAL;
	flags = spin_lock_irqsave(&process_lock);
	if (process->state == PROCESS_DEAD)
		result = -ESRCH;
	else
		result = kill_one(process, signal, &info);
	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

/* --- dispositions and masks --- */

/* The kernel's struct sigaction on arm64. */
struct user_sigaction {
	u64 handler, flags, restorer, mask;
};

#define SA_KNOWN                                                                                   \
	(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND | SA_RESTORER | \
		SA_EXPOSE_TAGBITS)

SYSCALL_ASYNC(rt_sigaction, 4, SYS_ARG(int, signal) SYS_ARG(const struct user_sigaction __user *, action)
	SYS_ARG(struct user_sigaction __user *, old) SYS_ARG(size_t, size) struct user_sigaction in; struct user_sigaction out;)
{
	struct process *process = thread_of(self)->process;
	struct signal_action *entry;
	struct signal_action new;
	unsigned long flags;

	ASYNC_BEGIN;
	if (f->size != sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	if (f->action)
		COPY_IN(f->in, f->action);
	if (!signal_valid(f->signal) || (f->action && (SIGMASK(f->signal) & SIGNALS_UNBLOCKABLE)))
		ASYNC_RETURN(-EINVAL);
	flags = spin_lock_irqsave(&process_lock);
	entry = &process->actions->action[f->signal - 1];
	f->out = (struct user_sigaction){entry->handler, entry->flags, entry->restorer, entry->mask};
	spin_unlock_irqrestore(&process_lock, flags);
	if (f->action) {
		new = (struct signal_action){f->in.handler, (u32)f->in.flags & (u32)SA_KNOWN, f->in.restorer,
			f->in.mask & ~SIGNALS_UNBLOCKABLE};
		signal_action_set(process, f->signal, &new);
	}
	if (f->old)
		COPY_OUT(f->old, f->out);
	ASYNC_END;
}

SYSCALL_ASYNC(rt_sigprocmask, 4, SYS_ARG(int, how) SYS_ARG(const u64 __user *, set) SYS_ARG(u64 __user *, old) SYS_ARG(size_t, size) u64 in;
	u64 out;)
{
	struct thread *thread = thread_of(self);

	ASYNC_BEGIN;
	if (f->size != sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	f->out = thread->blocked;
	if (f->set) {
		COPY_IN(f->in, f->set);
		if (f->how == SIG_BLOCK)
			signal_mask_set(thread, thread->blocked | f->in);
		else if (f->how == SIG_UNBLOCK)
			signal_mask_set(thread, thread->blocked & ~f->in);
		else if (f->how == SIG_SETMASK)
			signal_mask_set(thread, f->in);
		else
			ASYNC_RETURN(-EINVAL);
	}
	if (f->old)
		COPY_OUT(f->old, f->out);
	ASYNC_END;
}

SYSCALL_ASYNC(rt_sigpending, 2, SYS_ARG(u64 __user *, set) SYS_ARG(size_t, size) u64 out;)
{
	struct thread *thread = thread_of(self);

	ASYNC_BEGIN;
	if (f->size > sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	f->out = (thread->pending.bits | thread->process->pending.bits) & thread->blocked;
	AWAIT(copy_out, .to = f->set, .from = &f->out, .n = f->size);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/* Not interrupted by anything but a handler: nothing can wake it but signals. */
ASYNC(pause, struct wait_queue queue; u32 ticket;)
{
	ASYNC_BEGIN;
	wait_queue_init(&f->queue);
	for (;;) {
		f->ticket = wait_ticket(&f->queue);
		AWAIT(wait_on, .queue = &f->queue, .ticket = f->ticket);
		if (RESULT < 0)
			ASYNC_RETURN(-ERESTARTNOHAND);
	}
	ASYNC_END;
}

SYSCALL_ASYNC(rt_sigsuspend, 2, SYS_ARG(const u64 __user *, set) SYS_ARG(size_t, size) u64 mask;)
{
	ASYNC_BEGIN;
	if (f->size != sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	COPY_IN(f->mask, f->set);
	signal_mask_temporary(thread_of(self), f->mask);
	AWAIT(pause);
	signal_mask_end(thread_of(self), true);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

/*
 * While it waits the signals of the set are unblocked, so that they wake it (and are not lost to another thread); what it then
 * takes is never delivered to a handler.
 */
SYSCALL_ASYNC(rt_sigtimedwait, 4, SYS_ARG(const u64 __user *, uset) SYS_ARG(siginfo_t __user *, uinfo)
	SYS_ARG(const struct __kernel_timespec __user *, utimeout) SYS_ARG(size_t, size) u64 set; u64 blocked; struct __kernel_timespec timeout;
	nsec_t deadline; siginfo_t info; u32 ticket; int signal; long result;)
{
	struct thread *thread = thread_of(self);
	unsigned long flags;

	ASYNC_BEGIN;
	if (f->size != sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	COPY_IN(f->set, f->uset);
	f->set &= ~SIGNALS_UNBLOCKABLE;
	if (f->utimeout) {
		COPY_IN(f->timeout, f->utimeout);
		if (!timespec_valid(&f->timeout))
			ASYNC_RETURN(-EINVAL);
		f->deadline = deadline_after(timespec_to_ns(&f->timeout));
	}
	f->blocked = thread->blocked;
	f->result = 0;
	for (;;) {
		f->ticket = wait_ticket(&thread->process->signalled);
		flags = spin_lock_irqsave(&process_lock);
		f->signal = signal_dequeue(thread, f->set, &f->info);
		if (f->signal || f->result < 0)
			thread->blocked = f->blocked;
		else
			thread->blocked = f->blocked & ~f->set;
		signal_recalculate_locked(thread);
		spin_unlock_irqrestore(&process_lock, flags);
		if (f->signal || f->result < 0)
			break;
		f->result = -EAGAIN;
		if (f->utimeout && !timespec_to_ns(&f->timeout))
			continue;
		AWAIT(wait_on, .queue = &thread->process->signalled, .ticket = f->ticket, .deadline = f->deadline);
		if (RESULT == -EINTR)
			f->result = -EINTR_FINAL;
		else if (RESULT == 0)
			f->result = 0;
	}
	if (!f->signal)
		ASYNC_RETURN(f->result);
	if (f->uinfo)
		COPY_OUT(f->uinfo, f->info);
	ASYNC_RETURN(f->signal);
	ASYNC_END;
}

/* --- the alternate stack --- */

long altstack_set(struct thread *thread, u32 flags, u64 sp, u64 size)
{
	u32 mode = flags & ~SS_AUTODISARM;

	if (thread->altstack_size && !(thread->altstack_flags & SS_AUTODISARM) &&
		arch_on_stack(&thread->user, thread->altstack_sp, thread->altstack_size))
		return -EPERM;
	if (mode != 0 && mode != SS_DISABLE && mode != SS_ONSTACK)
		return -EINVAL;
	if (mode == SS_DISABLE) {
		sp = size = 0;
	} else if (size < MINIMUM_STACK) {
		return -ENOMEM;
	}
	thread->altstack_sp = sp;
	thread->altstack_size = size;
	thread->altstack_flags = flags;
	return 0;
}

SYSCALL_ASYNC(sigaltstack, 2, SYS_ARG(const stack_t __user *, new) SYS_ARG(stack_t __user *, old) stack_t in; stack_t out;)
{
	struct thread *thread = thread_of(self);
	long error;

	ASYNC_BEGIN;
	if (f->new)
		COPY_IN(f->in, f->new);
	f->out.ss_sp = (void *)thread->altstack_sp;
	f->out.ss_size = thread->altstack_size;
	f->out.ss_flags = !thread->altstack_size ? SS_DISABLE : thread->altstack_flags & SS_AUTODISARM;
	if (thread->altstack_size && !f->out.ss_flags &&
		arch_on_stack(&thread->user, thread->altstack_sp, thread->altstack_size))
		f->out.ss_flags = SS_ONSTACK;
	if (f->new) {
		error = altstack_set(thread, f->in.ss_flags, (u64)f->in.ss_sp, f->in.ss_size);
		if (error)
			ASYNC_RETURN(error);
	}
	if (f->old)
		COPY_OUT(f->old, f->out);
	ASYNC_END;
}
