/* SPDX-License-Identifier: MIT */
/*
 * Signals: sending, queueing, masks, dispositions. What happens when one is taken is in user_work.c, the frame on the user's
 * stack in arch/.../signal.c. Everything here is under process_lock. Reference: signal(7), POSIX 2.4.
 */
#include "proc.h"

#define DFL ((u64)SIG_DFL)
#define IGN ((u64)SIG_IGN)

const u64 signals_stop = SIGMASK(SIGSTOP) | SIGMASK(SIGTSTP) | SIGMASK(SIGTTIN) | SIGMASK(SIGTTOU);
const u64 signals_ignored = SIGMASK(SIGCONT) | SIGMASK(SIGCHLD) | SIGMASK(SIGWINCH) | SIGMASK(SIGURG);
static const u64 signals_core = SIGMASK(SIGQUIT) | SIGMASK(SIGILL) | SIGMASK(SIGTRAP) | SIGMASK(SIGABRT) | SIGMASK(SIGFPE) |
			 SIGMASK(SIGSEGV) | SIGMASK(SIGBUS) | SIGMASK(SIGSYS) | SIGMASK(SIGXCPU) | SIGMASK(SIGXFSZ);
static const u64 signals_synchronous = SIGMASK(SIGSEGV) | SIGMASK(SIGBUS) | SIGMASK(SIGILL) | SIGMASK(SIGTRAP) |
				       SIGMASK(SIGFPE) | SIGMASK(SIGSYS);

static struct slab_cache *pending_cache;

static void signal_init(void)
{
	pending_cache = slab_cache_create("pending_signal", sizeof(struct pending_signal), 0);
}
INITCALL(INIT_CORE, signal_init);

void signal_set_init(struct signal_set *set)
{
	set->bits = 0;
	list_init(&set->queue);
}

void siginfo_kernel(siginfo_t *info, int signal, int code)
{
	memset(info, 0, sizeof(*info));
	info->si_signo = signal;
	info->si_code = code;
}

static void pending_free(struct process *process, struct pending_signal *pending)
{
	list_remove(&pending->node);
	slab_free(pending_cache, pending);
	process->pending_count--;
}

/* Forgets what is pending of `mask`. */
void signal_set_flush(struct process *process, struct signal_set *set, u64 mask)
{
	struct pending_signal *p, *next;

	if (!(set->bits & mask))
		return;
	set->bits &= ~mask;
	list_for_each_safe(p, next, &set->queue, node)
		if (mask & SIGMASK(p->info.si_signo))
			pending_free(process, p);
}

static void signal_flush_everywhere(struct process *process, u64 mask) REQUIRES(process_lock)
{
	struct thread *thread;

	signal_set_flush(process, &process->pending, mask);
	list_for_each(thread, &process->threads, process_node)
		signal_set_flush(process, &thread->pending, mask);
}

/* --- is there work? --- */

/*
 * Makes a thread look at its flags, wherever it is: waiting, or in user mode on another CPU. The flag was set before; a thread
 * sets its state before it looks at the flags for the last time, so one of the two sees the other.
 */
void thread_interrupt(struct thread *thread)
{
	u32 state, cpu;

	task_wake(&thread->task);
	atomic_thread_fence(memory_order_seq_cst);
	state = atomic_load(&thread->task.state);
	cpu = thread->task.cpu;
	if ((state == TASK_RUNNING || state == TASK_NOTIFIED) && cpu != cpu_id())
		cpu_arch_kick(cpu);
}

/* A thread that a signal or a stop concerns has TASK_SIGNALLED set: its waits end, and it does not return to user mode. */
void signal_recalculate_locked(struct thread *thread)
{
	struct process *process = thread->process;
	bool set = ((thread->pending.bits | process->pending.bits) & ~thread->blocked) || thread->exiting ||
		   (process->stop_signal && !thread->stopped);

	if (set == task_signalled(&thread->task))
		return;
	if (set)
		atomic_fetch_or(&thread->task.flags, TASK_SIGNALLED);
	else
		atomic_fetch_and(&thread->task.flags, ~(u32)TASK_SIGNALLED);
}

void signal_recalculate_all(struct process *process)
{
	struct thread *thread;

	list_for_each(thread, &process->threads, process_node) {
		signal_recalculate_locked(thread);
		if (task_signalled(&thread->task))
			thread_interrupt(thread);
	}
}

bool signal_fatal_pending(struct thread *thread)
{
	return thread->exiting || (thread->pending.bits & SIGMASK(SIGKILL)) ||
	       (thread->process->pending.bits & SIGMASK(SIGKILL));
}

/* --- sending --- */

/* PID 1 gets only what it asked for. */
static bool signal_init_is_safe(struct process *process, int signal, u64 handler)
{
	return process == init_process && (handler == DFL || (SIGMASK(signal) & SIGNALS_UNBLOCKABLE));
}

bool signal_ignored_locked(struct process *process, int signal)
{
	u64 handler = process->actions->action[signal - 1].handler;

	return handler == IGN || (handler == DFL && (SIGMASK(signal) & signals_ignored)) ||
	       signal_init_is_safe(process, signal, handler);
}

bool signal_is_ignored(int signal)
{
	struct thread *thread = current_thread();
	unsigned long flags = spin_lock_irqsave(&process_lock);
	bool ignored = (thread->blocked & SIGMASK(signal)) ||
		       thread->process->actions->action[signal - 1].handler == IGN;

	spin_unlock_irqrestore(&process_lock, flags);
	return ignored;
}

/* SIGCONT takes stops away and wakes, SIGSTOP and its like take SIGCONT away: when they are sent, blocked or not. */
static void signal_job_control(struct process *process, int signal) REQUIRES(process_lock)
{
	struct thread *thread;
	bool was_stopped = process->state == PROCESS_STOPPED;

	if (SIGMASK(signal) & signals_stop) {
		signal_flush_everywhere(process, SIGMASK(SIGCONT));
		return;
	}
	if (signal == SIGCONT)
		signal_flush_everywhere(process, signals_stop);
	if (!process->stop_signal || (signal != SIGCONT && signal != SIGKILL))
		return;
	process->stop_signal = 0;
	process->stopped_threads = 0;
	list_for_each(thread, &process->threads, process_node) {
		thread->stopped = false;
		signal_recalculate_locked(thread);
	}
	if (was_stopped) {
		process->state = PROCESS_RUNNING;
		if (signal == SIGCONT) {
			process->continued = true;
			process_notify_parent(process, CLD_CONTINUED);
		}
	}
	wait_wake_all(&process->threads_changed);
}

static long signal_queue(struct process *process, struct signal_set *set, int signal, const siginfo_t *info)
{
	struct pending_signal *pending = NULL;
	bool realtime = signal >= SIGRTMIN;

	if (!realtime && (set->bits & SIGMASK(signal)))
		return 0; /* plain signals do not queue */
	if (signal != SIGKILL && (process->pending_count < process->limits[RLIMIT_SIGPENDING].rlim_cur ||
					 (!realtime && (!info || info->si_code >= 0))))
		pending = slab_alloc(pending_cache);
	if (pending) {
		if (info) {
			pending->info = *info;
			pending->info.si_signo = signal;
		} else {
			siginfo_kernel(&pending->info, signal, SI_KERNEL);
		}
		list_add_tail(&set->queue, &pending->node);
		process->pending_count++;
	} else if (realtime && info && info->si_code != SI_USER) {
		return -EAGAIN;
	}
	set->bits |= SIGMASK(signal);
	return 0;
}

static bool thread_wants(struct thread *thread, int signal)
{
	return !(thread->blocked & SIGMASK(signal)) && !thread->exiting;
}

long signal_send_thread_locked(struct thread *thread, int signal, const siginfo_t *info)
{
	struct process *process = thread->process;
	long error;

	if (list_empty(&thread->process_node))
		return -ESRCH;
	if (signal == SIGKILL && process != init_process) {
		process_exit_locked(process, SIGKILL);
		return 0;
	}
	signal_job_control(process, signal);
	if (signal_ignored_locked(process, signal) && !(thread->blocked & SIGMASK(signal)))
		return 0;
	error = signal_queue(process, &thread->pending, signal, info);
	if (error)
		return error;
	wait_wake_all(&process->signalled);
	if (thread_wants(thread, signal)) {
		signal_recalculate_locked(thread);
		thread_interrupt(thread);
		if (signal == SIGKILL)
			wait_wake_all(&process->threads_changed);
	}
	return 0;
}

/* Which of several threads is interrupted: the leader, else any that does not block it. */
long signal_send_process_locked(struct process *process, int signal, const siginfo_t *info)
{
	struct thread *thread, *target = NULL;
	bool all_block = true;
	long error;

	if (process->state >= PROCESS_ZOMBIE)
		return 0;
	if (signal == SIGKILL && process != init_process) {
		process_exit_locked(process, SIGKILL);
		return 0;
	}
	signal_job_control(process, signal);
	list_for_each(thread, &process->threads, process_node)
		if (!(thread->blocked & SIGMASK(signal)))
			all_block = false;
	if (signal_ignored_locked(process, signal) && !all_block)
		return 0;
	error = signal_queue(process, &process->pending, signal, info);
	if (error)
		return error;
	wait_wake_all(&process->signalled);
	list_for_each(thread, &process->threads, process_node) {
		if (!thread_wants(thread, signal))
			continue;
		if (!target || thread->tid == process->pid)
			target = thread;
	}
	if (target) {
		signal_recalculate_locked(target);
		thread_interrupt(target);
	}
	return 0;
}

long signal_send_group_locked(struct process_group *group, int signal, const siginfo_t *info)
{
	struct process *process;
	long result = -ESRCH;

	list_for_each(process, &group->members, group_node) {
		long error = signal ? signal_send_process_locked(process, signal, info) : 0;

		if (result)
			result = error;
	}
	return result;
}

long signal_send_thread(struct thread *thread, int signal, const siginfo_t *info)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	long result = signal_send_thread_locked(thread, signal, info);

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

long signal_send_process(struct process *process, int signal, const siginfo_t *info)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	long result = signal_send_process_locked(process, signal, info);

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

long signal_send_group(pid_t group, int signal, const siginfo_t *info)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process_group *g = group_find_locked(group);
	long result = g ? signal_send_group_locked(g, signal, info) : -ESRCH;

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

/* The wait status of a process that a signal ends. No core is written; the bit says that one would have been. */
int signal_death(struct process *process, int signal)
{
	return signal | ((SIGMASK(signal) & signals_core) && process->limits[RLIMIT_CORE].rlim_cur ? 0x80 : 0);
}

/* A fault repeats forever if it is blocked or ignored, so then it is the default action: death. PID 1 dies of it too. */
void signal_force(struct thread *thread, int signal, int code, u64 address)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct process *process = thread->process;
	struct signal_action *action = &process->actions->action[signal - 1];
	siginfo_t info;

	siginfo_kernel(&info, signal, code);
	if (code != SI_KERNEL)
		info.si_addr = (void *)address;
	if (action->handler == IGN || action->handler == DFL || (thread->blocked & SIGMASK(signal))) {
		action->handler = DFL;
		process_exit_locked(process, signal_death(process, signal));
	} else {
		signal_queue(process, &thread->pending, signal, &info);
		signal_recalculate_locked(thread);
	}
	spin_unlock_irqrestore(&process_lock, flags);
}

/* --- taking --- */

static int signal_choose(u64 bits)
{
	if (!bits)
		return 0;
	if (bits & signals_synchronous)
		bits &= signals_synchronous;
	return __builtin_ctzll(bits) + 1;
}

static int signal_take(struct process *process, struct signal_set *set, u64 mask, siginfo_t *info)
{
	int signal = signal_choose(set->bits & mask);
	struct pending_signal *p, *found = NULL;
	bool more = false;

	if (!signal)
		return 0;
	list_for_each(p, &set->queue, node) {
		if (p->info.si_signo != signal)
			continue;
		if (found) {
			more = true;
			break;
		}
		found = p;
	}
	if (found) {
		*info = found->info;
		pending_free(process, found);
	} else {
		siginfo_kernel(info, signal, SI_USER);
	}
	if (!more)
		set->bits &= ~SIGMASK(signal);
	return signal;
}

int signal_dequeue(struct thread *thread, u64 mask, siginfo_t *info)
{
	int signal = signal_take(thread->process, &thread->pending, mask, info);

	if (!signal)
		signal = signal_take(thread->process, &thread->process->pending, mask, info);
	if (signal) {
		process_timer_taken(thread->process, info);
		signal_recalculate_locked(thread);
	}
	return signal;
}

/* --- masks --- */

void signal_mask_set(struct thread *thread, u64 mask)
{
	struct process *process = thread->process;
	unsigned long flags = spin_lock_irqsave(&process_lock);
	u64 newly = (mask & ~SIGNALS_UNBLOCKABLE) & ~thread->blocked;
	struct thread *other;

	thread->blocked = mask & ~SIGNALS_UNBLOCKABLE;
	signal_recalculate_locked(thread);
	/* What was left to this thread by choice must find another. */
	if (process->pending.bits & newly)
		list_for_each(other, &process->threads, process_node)
			if (other != thread && (process->pending.bits & newly & ~other->blocked)) {
				signal_recalculate_locked(other);
				thread_interrupt(other);
				break;
			}
	spin_unlock_irqrestore(&process_lock, flags);
}

void signal_mask_temporary(struct thread *thread, u64 mask)
{
	thread->saved_blocked = thread->blocked;
	thread->restore_blocked = true;
	signal_mask_set(thread, mask);
}

/* If it was interrupted, the handler must still run under the temporary mask; user_work.c puts the old one back. */
void signal_mask_end(struct thread *thread, bool interrupted)
{
	if (interrupted) {
		atomic_fetch_or(&thread->task.flags, TASK_WORK);
		return;
	}
	thread->restore_blocked = false;
	signal_mask_set(thread, thread->saved_blocked);
}

/* --- dispositions --- */

struct signal_actions *signal_actions_create(void)
{
	struct signal_actions *actions = kzalloc(sizeof(*actions));

	if (actions)
		atomic_init(&actions->users, 1);
	return actions;
}

struct signal_actions *signal_actions_copy(struct signal_actions *from)
{
	struct signal_actions *actions = signal_actions_create();
	unsigned long flags;

	if (!actions)
		return NULL;
	flags = spin_lock_irqsave(&process_lock);
	memcpy(actions->action, from->action, sizeof(actions->action));
	spin_unlock_irqrestore(&process_lock, flags);
	return actions;
}

void signal_actions_put(struct signal_actions *actions)
{
	if (atomic_fetch_sub_explicit(&actions->users, 1, memory_order_acq_rel) == 1)
		kfree(actions);
}

void signal_actions_reset(struct signal_actions *actions)
{
	for (int i = 0; i < 64; i++) {
		u64 handler = actions->action[i].handler;

		actions->action[i] = (struct signal_action){.handler = handler == IGN ? IGN : DFL};
	}
}

void signal_actions_reset_all(struct signal_actions *actions)
{
	for (int i = 0; i < 64; i++)
		if (actions->action[i].handler != IGN)
			actions->action[i] = (struct signal_action){.handler = DFL};
}

/* A signal that becomes ignored is no longer pending. */
long signal_action_set(struct process *process, int signal, const struct signal_action *action)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);

	process->actions->action[signal - 1] = *action;
	if (action->handler == IGN || (action->handler == DFL && (SIGMASK(signal) & signals_ignored))) {
		signal_flush_everywhere(process, SIGMASK(signal));
		signal_recalculate_all(process);
	}
	spin_unlock_irqrestore(&process_lock, flags);
	return 0;
}
