/* SPDX-License-Identifier: MIT */
/*
 * How threads and processes end. A thread is told (exiting), and does it itself on its way to user mode (user_work.c): its
 * memory and files go first, which may wait; then, under process_lock, it leaves its process. The last thread makes the process
 * a zombie, which goes when the parent has waited for it (wait.c), or at once if nobody will.
 */
#include "proc.h"

static void thread_mark_exiting(struct thread *thread) REQUIRES(process_lock)
{
	thread->exiting = true;
	atomic_fetch_or(&thread->task.flags, TASK_KILLED);
	signal_recalculate_locked(thread);
	thread_interrupt(thread);
}

void process_exit_locked(struct process *process, int status)
{
	struct thread *thread;

	if (process->group_exiting || process->state >= PROCESS_ZOMBIE)
		return;
	process->group_exiting = true;
	process->exit_status = status;
	process->stop_signal = 0;
	if (process->state == PROCESS_STOPPED)
		process->state = PROCESS_RUNNING;
	list_for_each(thread, &process->threads, process_node)
		thread_mark_exiting(thread);
	wait_wake_all(&process->threads_changed);
}

void process_exit(struct process *process, int status)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);

	process_exit_locked(process, status);
	spin_unlock_irqrestore(&process_lock, flags);
}

void thread_exit(struct thread *thread, int status)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);

	thread->exit_code = status;
	thread_mark_exiting(thread);
	spin_unlock_irqrestore(&process_lock, flags);
}

SYSCALL(exit, int, code)
{
	thread_exit(current_thread(), (code & 0xff) << 8);
	return 0;
}

SYSCALL(exit_group, int, code)
{
	process_exit(current_thread()->process, (code & 0xff) << 8);
	return 0;
}

/* exec: the others end, and the caller becomes the leader, whoever it was. */
ASYNC_DEFINE(process_kill_others)
{
	struct process *process = f->thread->process;
	struct thread *thread;
	unsigned long flags;
	bool alone;

	ASYNC_BEGIN;
	flags = spin_lock_irqsave(&process_lock);
	if (process->group_exiting || f->thread->exiting || process->exec_thread) {
		spin_unlock_irqrestore(&process_lock, flags);
		ASYNC_RETURN(-EAGAIN);
	}
	process->exec_thread = f->thread;
	list_for_each(thread, &process->threads, process_node)
		if (thread != f->thread)
			thread_mark_exiting(thread);
	wait_wake_all(&process->threads_changed);
	spin_unlock_irqrestore(&process_lock, flags);
	for (;;) {
		f->ticket = wait_ticket(&process->threads_changed);
		flags = spin_lock_irqsave(&process_lock);
		alone = process->thread_count == 1;
		if (alone) {
			process->exec_thread = NULL;
			if (f->thread->tid != process->pid)
				thread_rename(f->thread, process->pid);
		}
		spin_unlock_irqrestore(&process_lock, flags);
		if (alone)
			break;
		AWAIT(wait_on, .queue = &process->threads_changed, .ticket = f->ticket, .uninterruptible = true);
	}
	ASYNC_END;
}

/* --- the parent --- */

static void siginfo_child(siginfo_t *info, struct process *child, int code) REQUIRES(process_lock)
{
	struct thread *thread = process_thread_locked(child);
	struct usage usage;

	process_usage_locked(child, &usage);
	siginfo_kernel(info, SIGCHLD, code);
	info->si_pid = child->pid;
	info->si_uid = thread ? thread->cred->uid : child->exit_uid;
	info->si_utime = usage.user / (NSEC_PER_SEC / 100);
	info->si_stime = usage.system / (NSEC_PER_SEC / 100);
	if (code == CLD_STOPPED)
		info->si_status = child->stop_signal;
	else if (code == CLD_CONTINUED)
		info->si_status = SIGCONT;
	else
		info->si_status = code == CLD_EXITED ? child->exit_status >> 8 : child->exit_status & 0x7f;
}

void process_notify_parent(struct process *process, int code)
{
	struct process *parent = process->parent;
	struct signal_action *action;
	siginfo_t info;

	if (!parent)
		return;
	action = &parent->actions->action[SIGCHLD - 1];
	if (action->handler != (u64)SIG_IGN && !(action->flags & SA_NOCLDSTOP)) {
		siginfo_child(&info, process, code);
		signal_send_process_locked(parent, SIGCHLD, &info);
	}
	wait_wake_all(&parent->children_changed);
}

/* A zombie tells its parent. True: the parent does not want to know, it goes at once. */
static bool process_notify_exit(struct process *process) REQUIRES(process_lock)
{
	struct process *parent = process->parent;
	int status = process->exit_status;
	bool unwanted = false;
	struct signal_action *action;
	siginfo_t info;

	if (!parent)
		return true;
	action = &parent->actions->action[SIGCHLD - 1];
	if (process->exit_signal == SIGCHLD &&
		(action->handler == (u64)SIG_IGN || (action->flags & SA_NOCLDWAIT)))
		unwanted = true;
	/* clone(2) takes any number below 256: not all of them are signals. */
	if (process->exit_signal && process->exit_signal <= 64 && !(unwanted && action->handler == (u64)SIG_IGN)) {
		siginfo_child(&info, process,
			!(status & 0x7f) ? CLD_EXITED : status & 0x80 ? CLD_DUMPED : CLD_KILLED);
		info.si_signo = process->exit_signal;
		signal_send_process_locked(parent, process->exit_signal, &info);
	}
	wait_wake_all(&parent->children_changed);
	return unwanted;
}

/* Who gets the children of a process that ends: the nearest subreaper above it, else init. */
static struct process *process_reaper(struct process *process)
{
	for (struct process *p = process->parent; p; p = p->parent)
		if (p->child_subreaper && p->state < PROCESS_ZOMBIE && !p->group_exiting)
			return p;
	return init_process;
}

static void process_release_locked(struct process *process, struct list *dead) REQUIRES(process_lock)
{
	process_unlink(process);
	list_add(dead, &process->all_node); /* put by the caller, without the lock */
}

static void children_reparent(struct process *process, struct list *dead) REQUIRES(process_lock)
{
	struct process *reaper = process_reaper(process), *child, *next;
	struct thread *thread;

	list_for_each_safe(child, next, &process->children, child_node) {
		list_remove(&child->child_node);
		child->parent = reaper;
		child->exit_signal = SIGCHLD;
		list_add_tail(&reaper->children, &child->child_node);
		list_for_each(thread, &child->threads, process_node)
			if (thread->pdeath_signal)
				signal_send_thread_locked(thread, thread->pdeath_signal, NULL);
		if (child->state == PROCESS_ZOMBIE) {
			if (process_notify_exit(child))
				process_release_locked(child, dead);
		} else {
			group_check_orphaned(child, process);
		}
	}
}

/* The last thread has gone. Returns the session whose leader this was, for the tty. */
static pid_t process_end(struct process *process, struct tty **tty, struct list *dead) REQUIRES(process_lock)
{
	pid_t session = 0;

	process->state = PROCESS_ZOMBIE;
	signal_set_flush(process, &process->pending, ~0ull);
	children_reparent(process, dead);
	group_check_orphaned(process, process->parent);
	if (process->group->session->id == process->pid) {
		session = process->pid;
		*tty = process->group->session->tty;
		process->group->session->tty = NULL;
	}
	if (process_notify_exit(process))
		process_release_locked(process, dead);
	wait_wake_poll(&process->exited, ~0ull);
	return session;
}

/* A thread leaves its process: the last thing that others see of it. */
static pid_t thread_leave(struct thread *thread, struct tty **tty)
{
	struct process *process = thread->process, *p, *next;
	struct list dead = LIST_INIT(dead);
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct usage own = {
		.voluntary = thread->voluntary_switches,
		.involuntary = thread->involuntary_switches,
		.minor = thread->minor_faults,
		.major = thread->major_faults,
	};
	pid_t session = 0;
	bool last = false;

	task_times(&thread->task, &own.user, &own.system);
	thread_unlink(thread);
	usage_add(&process->usage, &own);
	signal_set_flush(process, &thread->pending, ~0ull);
	if (thread->stopped)
		process->stopped_threads--;
	if (thread->tid == process->pid)
		process->leader_status = thread->exit_code;
	if (!process->thread_count) {
		if (!process->group_exiting)
			process->exit_status = process->leader_status;
		process->exit_uid = thread->cred->uid;
		memcpy(process->exit_name, thread->name, sizeof(process->exit_name));
		session = process_end(process, tty, &dead);
		last = true;
	} else {
		if (process->stop_signal && process->state == PROCESS_RUNNING &&
			process->stopped_threads == process->thread_count) {
			process->state = PROCESS_STOPPED;
			process->stop_reported = false;
			process_notify_parent(process, CLD_STOPPED);
		}
		wait_wake_all(&process->threads_changed);
	}
	spin_unlock_irqrestore(&process_lock, flags);
	if (last)
		process_timers_end(process);
	list_for_each_safe(p, next, &dead, all_node) {
		list_remove(&p->all_node);
		process_put(p);
	}
	return session;
}

/*
 * The address space is left, by exec or exit: robust futexes are released, a joiner learns of the end (set_tid_address(2)),
 * a vfork parent goes on. The thread's own mm must be active still.
 */
ASYNC_DEFINE(thread_leave_mm)
{
	static const u32 zero = 0;
	struct thread *thread = f->thread;

	ASYNC_BEGIN;
	if (thread->robust_list) {
		AWAIT(futex_exit, .thread = thread, .head = thread->robust_list);
		thread->robust_list = 0;
	}
	if (thread->clear_child_tid) {
		if (atomic_load(&thread->mm->users) > 1) {
			AWAIT(copy_out, .to = thread->clear_child_tid, .from = &zero, .n = sizeof(zero));
			if (!RESULT)
				AWAIT(futex_wake_address, .address = thread->clear_child_tid, .count = 1);
		}
		thread->clear_child_tid = NULL;
	}
	ASYNC_END;
}

void thread_vfork_done(struct thread *thread)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct completion *done = thread->vfork_done;

	thread->vfork_done = NULL;
	if (done)
		complete(done);
	spin_unlock_irqrestore(&process_lock, flags);
}

ASYNC_DEFINE(thread_end)
{
	struct thread *thread = thread_of(self);
	unsigned long flags;
	u64 peak;

	ASYNC_BEGIN;
	AWAIT(thread_leave_mm, .thread = thread);
	mm_note_peak(thread->mm);
	peak = thread->mm->peak_resident;
	flags = spin_lock_irqsave(&process_lock);
	thread->process->usage.max_rss = max(thread->process->usage.max_rss, peak);
	f->mm = thread->mm;
	f->files = thread->files;
	f->fs = thread->fs;
	thread->mm = NULL;
	thread->files = NULL;
	thread->fs = NULL;
	mm_activate(NULL);
	spin_unlock_irqrestore(&process_lock, flags);
	AWAIT(mm_put, .mm = f->mm);
	thread_vfork_done(thread);
	AWAIT(files_put, .files = f->files);
	AWAIT(fs_context_put, .fs = f->fs);
	if (thread->process == init_process && thread->process->thread_count == 1) {
		log_err("init has ended with status %#x: the machine goes off", thread->process->exit_status);
		machine_off();
	}
	f->session = thread_leave(thread, &f->tty);
	if (f->session && f->tty)
		tty_session_ended(f->tty, f->session);
	ASYNC_END;
}
