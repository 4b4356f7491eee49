/* SPDX-License-Identifier: MIT */
/*
 * Scheduling as programs see it: nice values, policies, affinity, yield; CPU time; the load average. The executor knows
 * weights and affinity alone. Real-time policies are recorded and answered, and weigh much; they do not starve others.
 */
#include "proc.h"
#include <linux/sched.h>
#include <linux/sched/types.h>

#define WEIGHT_REALTIME 262144u

/* Each step of nice is a factor of 1.25, nice 0 is 1024. */
static const u32 nice_weights[40] = {
	88818, 71054, 56843, 45475, 36380, 29104, 23283, 18626, 14901, 11921,
	9537, 7629, 6104, 4883, 3906, 3125, 2500, 2000, 1600, 1280,
	1024, 819, 655, 524, 419, 336, 268, 215, 172, 137,
	110, 88, 70, 56, 45, 36, 29, 23, 18, 15,
};

static void thread_weigh(struct thread *thread)
{
	if (thread->policy == SCHED_FIFO || thread->policy == SCHED_RR)
		thread->task.weight = WEIGHT_REALTIME;
	else if (thread->policy == SCHED_IDLE)
		thread->task.weight = 3;
	else
		thread->task.weight = nice_weights[thread->nice + 20];
}

SYSCALL_ASYNC(sched_yield, 0)
{
	ASYNC_BEGIN;
	AWAIT(task_yield);
	ASYNC_END;
}

/* --- nice --- */

static bool may_schedule(struct thread *target)
{
	const struct cred *a = current_thread()->cred, *b = target->cred;

	return a->euid == b->uid || a->euid == b->euid || cred_capable(a, CAP_SYS_NICE);
}

/* RLIMIT_NICE says 20 - nice. */
static bool may_raise(struct thread *thread, int nice)
{
	return nice >= thread->nice || (u64)(20 - nice) <= thread->process->limits[RLIMIT_NICE].rlim_cur ||
	       capable(CAP_SYS_NICE);
}

static long nice_set(struct thread *thread, int nice)
{
	if (!may_schedule(thread))
		return -EPERM;
	if (!may_raise(thread, nice))
		return -EACCES;
	thread->nice = nice;
	thread_weigh(thread);
	return 0;
}

/* Calls fn for every thread that (which, who) names; -ESRCH if there is none, else what fn made of the last result. */
static long priority_each(int which, int who, long (*fn)(struct thread *thread, long so_far, int nice), int nice) REQUIRES(process_lock)
{
	struct thread *self = current_thread(), *thread;
	struct process *process;
	long result = -ESRCH;

	if (which < PRIO_PROCESS || which > PRIO_USER)
		return -EINVAL;
	if (which == PRIO_PROCESS) {
		thread = who ? thread_find_locked(who) : self;
		return thread ? fn(thread, result, nice) : -ESRCH;
	}
	list_for_each(process, &all_processes, all_node)
		list_for_each(thread, &process->threads, process_node)
			if (which == PRIO_PGRP ? process->group->id == (who ? who : self->process->group->id)
					       : thread->cred->uid == (who ? (uid_t)who : self->cred->uid))
				result = fn(thread, result, nice);
	return result;
}

static long priority_set_one(struct thread *thread, long so_far, int nice)
{
	long error = nice_set(thread, nice);

	return error ? error : so_far == -ESRCH ? 0 : so_far;
}

/* The highest; as the system call gives it: 20 - nice, so that it is not negative. */
static long priority_get_one(struct thread *thread, long so_far, int unused)
{
	return max_t(long, so_far, 20 - thread->nice);
}

SYSCALL(setpriority, int, which, int, who, int, nice)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	long result = priority_each(which, who, priority_set_one, nice < -20 ? -20 : nice > 19 ? 19 : nice);

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

SYSCALL(getpriority, int, which, int, who)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	long result = priority_each(which, who, priority_get_one, 0);

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

/* --- policies --- */

static bool policy_realtime(int policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

static bool policy_known(int policy)
{
	return policy == SCHED_NORMAL || policy == SCHED_BATCH || policy == SCHED_IDLE || policy_realtime(policy);
}

/* The thread with process_lock held, or NULL. */
static struct thread *sched_target(pid_t tid) REQUIRES(process_lock)
{
	return tid ? thread_find_locked(tid) : current_thread();
}

static long policy_set(struct thread *thread, int policy, int priority, int nice, bool reset)
{
	u64 limit = thread->process->limits[RLIMIT_RTPRIO].rlim_cur;

	if (!policy_known(policy) || priority < 0 || priority > 99 || policy_realtime(policy) != (priority > 0))
		return -EINVAL;
	if (!may_schedule(thread))
		return -EPERM;
	if (!capable(CAP_SYS_NICE)) {
		if (policy_realtime(policy) && ((thread->policy != policy && !limit) ||
						       (priority > thread->rt_priority && (u64)priority > limit)))
			return -EPERM;
		if (!policy_realtime(policy) && !may_raise(thread, nice))
			return -EPERM;
		if (thread->reset_on_fork && !reset)
			return -EPERM;
	}
	thread->policy = policy;
	thread->rt_priority = priority;
	thread->nice = nice;
	thread->reset_on_fork = reset;
	thread_weigh(thread);
	return 0;
}

static long policy_call(pid_t tid, int policy, int priority)
{
	unsigned long flags;
	struct thread *thread;
	long result;

	if (tid < 0)
		return -EINVAL;
	flags = spin_lock_irqsave(&process_lock);
	thread = sched_target(tid);
	if (!thread)
		result = -ESRCH;
	else if (policy < 0) /* sched_setparam */
		result = policy_set(thread, thread->policy, priority, thread->nice, thread->reset_on_fork);
	else
		result = policy_set(thread, policy & ~SCHED_RESET_ON_FORK, priority, thread->nice,
			policy & SCHED_RESET_ON_FORK);
	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

SYSCALL_ASYNC(sched_setscheduler, 3, SYS_ARG(pid_t, tid) SYS_ARG(int, policy) SYS_ARG(const int __user *, param) int priority;)
{
	ASYNC_BEGIN;
	if (f->policy < 0 || !f->param)
		ASYNC_RETURN(-EINVAL);
	COPY_IN(f->priority, f->param);
	ASYNC_RETURN(policy_call(f->tid, f->policy, f->priority));
	ASYNC_END;
}

SYSCALL_ASYNC(sched_setparam, 2, SYS_ARG(pid_t, tid) SYS_ARG(const int __user *, param) int priority;)
{
	ASYNC_BEGIN;
	if (!f->param)
		ASYNC_RETURN(-EINVAL);
	COPY_IN(f->priority, f->param);
	ASYNC_RETURN(policy_call(f->tid, -1, f->priority));
	ASYNC_END;
}

/* What is asked of a thread: -ESRCH, -EINVAL. */
struct sched_answer {
	int policy, priority, nice;
	bool reset;
	u64 affinity;
};

static long sched_ask(pid_t tid, struct sched_answer *answer)
{
	unsigned long flags;
	struct thread *thread;

	if (tid < 0)
		return -EINVAL;
	flags = spin_lock_irqsave(&process_lock);
	thread = sched_target(tid);
	if (thread)
		*answer = (struct sched_answer){thread->policy, thread->rt_priority, thread->nice, thread->reset_on_fork,
			thread->task.affinity};
	spin_unlock_irqrestore(&process_lock, flags);
	return thread ? 0 : -ESRCH;
}

SYSCALL(sched_getscheduler, pid_t, tid)
{
	struct sched_answer answer;
	long error = sched_ask(tid, &answer);

	return error ? error : answer.policy | (answer.reset ? SCHED_RESET_ON_FORK : 0);
}

SYSCALL_ASYNC(sched_getparam, 2, SYS_ARG(pid_t, tid) SYS_ARG(int __user *, param) struct sched_answer answer; long error;)
{
	ASYNC_BEGIN;
	if (!f->param)
		ASYNC_RETURN(-EINVAL);
	f->error = sched_ask(f->tid, &f->answer);
	if (f->error)
		ASYNC_RETURN(f->error);
	COPY_OUT(f->param, f->answer.priority);
	ASYNC_END;
}

SYSCALL_ASYNC(sched_setattr, 3, SYS_ARG(pid_t, tid) SYS_ARG(struct sched_attr __user *, uattr) SYS_ARG(u32, flags) struct sched_attr attr;)
{
	struct thread *thread;
	unsigned long irq;
	long result;

	ASYNC_BEGIN;
	if (!f->uattr || f->tid < 0 || f->flags)
		ASYNC_RETURN(-EINVAL);
	AWAIT(copy_in, .to = &f->attr, .from = f->uattr, .n = SCHED_ATTR_SIZE_VER0);
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	if (f->attr.size && f->attr.size < SCHED_ATTR_SIZE_VER0)
		ASYNC_RETURN(-E2BIG);
	irq = spin_lock_irqsave(&process_lock);
	thread = sched_target(f->tid);
	if (!thread)
		result = -ESRCH;
	else if (f->attr.sched_nice < -20 || f->attr.sched_nice > 19)
		result = -EINVAL;
	else
		result = policy_set(thread, f->attr.sched_policy, f->attr.sched_priority, f->attr.sched_nice,
			f->attr.sched_flags & SCHED_FLAG_RESET_ON_FORK);
	spin_unlock_irqrestore(&process_lock, irq);
	ASYNC_RETURN(result);
	ASYNC_END;
}

SYSCALL_ASYNC(sched_getattr, 4, SYS_ARG(pid_t, tid) SYS_ARG(struct sched_attr __user *, uattr) SYS_ARG(u32, size) SYS_ARG(u32, flags)
	struct sched_attr attr; struct sched_answer answer; long error;)
{
	ASYNC_BEGIN;
	if (!f->uattr || f->flags || f->size < SCHED_ATTR_SIZE_VER0 || f->size > PAGE_SIZE)
		ASYNC_RETURN(-EINVAL);
	f->error = sched_ask(f->tid, &f->answer);
	if (f->error)
		ASYNC_RETURN(f->error);
	f->attr = (struct sched_attr){
		.size = min_t(u32, f->size, sizeof(f->attr)),
		.sched_policy = f->answer.policy,
		.sched_flags = f->answer.reset ? SCHED_FLAG_RESET_ON_FORK : 0,
		.sched_nice = policy_realtime(f->answer.policy) ? 0 : f->answer.nice,
		.sched_priority = f->answer.priority,
	};
	AWAIT(copy_out, .to = f->uattr, .from = &f->attr, .n = f->attr.size);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL(sched_get_priority_max, int, policy)
{
	if (policy_realtime(policy))
		return 99;
	return policy_known(policy) || policy == SCHED_DEADLINE ? 0 : -EINVAL;
}

SYSCALL(sched_get_priority_min, int, policy)
{
	if (policy_realtime(policy))
		return 1;
	return policy_known(policy) || policy == SCHED_DEADLINE ? 0 : -EINVAL;
}

SYSCALL_ASYNC(sched_rr_get_interval, 2, SYS_ARG(pid_t, tid) SYS_ARG(struct __kernel_timespec __user *, out) struct sched_answer answer;
	struct __kernel_timespec t; long error;)
{
	ASYNC_BEGIN;
	f->error = sched_ask(f->tid, &f->answer);
	if (f->error)
		ASYNC_RETURN(f->error);
	if (f->answer.policy == SCHED_RR)
		f->t.tv_nsec = 100 * 1000 * 1000;
	else if (f->answer.policy != SCHED_FIFO)
		f->t.tv_nsec = 3 * 1000 * 1000;
	COPY_OUT(f->out, f->t);
	ASYNC_END;
}

/* --- I/O priority: kept and answered; there is one queue a device and it is fair --- */

#define IOPRIO_CLASS(value) ((value) >> 13)
enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_WHO_PGRP, IOPRIO_WHO_USER };

static long ioprio_set_one(struct thread *thread, long so_far, int value)
{
	if (!may_schedule(thread))
		return -EPERM;
	thread->ioprio = value;
	return so_far == -ESRCH ? 0 : so_far;
}

/* Who never said follows the nice value, in the class "best effort". The smallest number is the best. */
static long ioprio_get_one(struct thread *thread, long so_far, int unused)
{
	long value = thread->ioprio ? thread->ioprio : 2 << 13 | (thread->nice + 20) / 5;

	return so_far < 0 ? value : min(so_far, value);
}

SYSCALL(ioprio_set, int, which, int, who, int, value)
{
	unsigned long flags;
	long result;

	if (which < IOPRIO_WHO_PROCESS || which > IOPRIO_WHO_USER || IOPRIO_CLASS(value) < 0 || IOPRIO_CLASS(value) > 3 ||
		(!IOPRIO_CLASS(value) && value) || (value & 0x1fff) > 7)
		return -EINVAL;
	if (IOPRIO_CLASS(value) == 1 && !capable(CAP_SYS_ADMIN) && !capable(CAP_SYS_NICE))
		return -EPERM;
	flags = spin_lock_irqsave(&process_lock);
	result = priority_each(which - IOPRIO_WHO_PROCESS, who, ioprio_set_one, value);
	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

SYSCALL(ioprio_get, int, which, int, who)
{
	unsigned long flags;
	long result;

	if (which < IOPRIO_WHO_PROCESS || which > IOPRIO_WHO_USER)
		return -EINVAL;
	flags = spin_lock_irqsave(&process_lock);
	result = priority_each(which - IOPRIO_WHO_PROCESS, who, ioprio_get_one, 0);
	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

/* --- affinity --- */

static u64 cpus_present(void)
{
	return cpu_count() >= 64 ? ~0ull : BIT(cpu_count()) - 1;
}

SYSCALL_ASYNC(sched_setaffinity, 3, SYS_ARG(pid_t, tid) SYS_ARG(u32, size) SYS_ARG(const u64 __user *, umask) u64 mask;)
{
	struct thread *thread;
	unsigned long flags;
	long result = 0;

	ASYNC_BEGIN;
	AWAIT(copy_in, .to = &f->mask, .from = f->umask, .n = min_t(u32, f->size, sizeof(f->mask)));
	if (RESULT < 0)
		ASYNC_RETURN(RESULT);
	f->mask &= cpus_present();
	flags = spin_lock_irqsave(&process_lock);
	thread = sched_target(f->tid);
	if (!thread)
		result = -ESRCH;
	else if (!may_schedule(thread))
		result = -EPERM;
	else if (!f->mask)
		result = -EINVAL;
	else
		thread->task.affinity = f->mask;
	spin_unlock_irqrestore(&process_lock, flags);
	if (result)
		ASYNC_RETURN(result);
	/* Leaves a CPU that it may not be on any more. */
	if (!f->tid || f->tid == thread_of(self)->tid)
		AWAIT(task_yield);
	ASYNC_END;
}

SYSCALL_ASYNC(sched_getaffinity, 3, SYS_ARG(pid_t, tid) SYS_ARG(u32, size) SYS_ARG(u64 __user *, umask) struct sched_answer answer; long error;)
{
	ASYNC_BEGIN;
	if (f->size * 8ull < cpu_count() || f->size % sizeof(u64))
		ASYNC_RETURN(-EINVAL);
	f->error = sched_ask(f->tid, &f->answer);
	if (f->error)
		ASYNC_RETURN(f->error);
	f->answer.affinity &= cpus_present();
	AWAIT(copy_out, .to = f->umask, .from = &f->answer.affinity, .n = sizeof(u64));
	ASYNC_RETURN(RESULT < 0 ? RESULT : (long)sizeof(u64));
	ASYNC_END;
}

SYSCALL_ASYNC(getcpu, 2, SYS_ARG(u32 __user *, cpu) SYS_ARG(u32 __user *, node) u32 value;)
{
	ASYNC_BEGIN;
	f->value = cpu_id();
	if (f->cpu)
		COPY_OUT(f->cpu, f->value);
	f->value = 0;
	if (f->node)
		COPY_OUT(f->node, f->value);
	ASYNC_END;
}

/* --- the load average --- */

#define LOAD_PERIOD (5 * NSEC_PER_SEC)

static u64 averages[3];
static struct timer load_timer;

static void count_runnable(struct task *task, void *arg)
{
	u32 state = atomic_load_explicit(&task->state, memory_order_relaxed);

	if ((task->flags & TASK_THREAD) && (state == TASK_QUEUED || state == TASK_RUNNING || state == TASK_NOTIFIED))
		++*(u64 *)arg;
}

u32 runnable_count(void)
{
	u64 n = 0;

	task_for_each(count_runnable, &n);
	return n;
}

/* Exponential decay over 1, 5 and 15 minutes in steps of 5 s: 2048 * exp(-5 / period). */
static void load_step(struct timer *timer)
{
	static const u32 decay[3] = {1884, 2014, 2037};
	u64 running = (u64)runnable_count() << 11;

	for (int i = 0; i < 3; i++)
		averages[i] = (averages[i] * decay[i] + running * (2048 - decay[i])) >> 11;
	/* Nothing to forget: the machine sleeps undisturbed until somebody asks. */
	if (running || averages[0] || averages[2])
		timer_start(timer, time_monotonic() + LOAD_PERIOD);
}

void load_average(u64 average[3])
{
	memcpy(average, averages, sizeof(averages));
	if (atomic_load(&load_timer.cpu) < 0)
		timer_start(&load_timer, time_monotonic() + LOAD_PERIOD);
}

static void load_init(void)
{
	timer_init(&load_timer, load_step);
	timer_start(&load_timer, LOAD_PERIOD);
}
INITCALL(INIT_LATE, load_init);
