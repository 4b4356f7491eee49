/* SPDX-License-Identifier: MIT */
/* Limits and usage: prlimit64, getrusage, times. */
#include "proc.h"
#include <linux/times.h>

#define TICK_NS (NSEC_PER_SEC / 100) /* of AT_CLKTCK */

u64 limit_get(unsigned resource)
{
	return current_thread()->process->limits[resource].rlim_cur;
}

/* prlimit(2): same user in all three, or CAP_SYS_RESOURCE. */
static bool may_limit(struct thread *target)
{
	const struct cred *a = current_thread()->cred, *b = target->cred;

	if (target->process == current_thread()->process || cred_capable(a, CAP_SYS_RESOURCE))
		return true;
	return a->uid == b->uid && a->uid == b->euid && a->uid == b->suid && a->gid == b->gid && a->gid == b->egid &&
	       a->gid == b->sgid;
}

static long limit_change(struct process *process, u32 resource, const struct rlimit64 *new, struct rlimit64 *old)
{
	*old = process->limits[resource];
	if (!new)
		return 0;
	if (new->rlim_cur > new->rlim_max)
		return -EINVAL;
	if (new->rlim_max > old->rlim_max && !capable(CAP_SYS_RESOURCE))
		return -EPERM;
	if (resource == RLIMIT_NOFILE && new->rlim_max > 1048576)
		return -EPERM; /* fs.nr_open */
	process->limits[resource] = *new;
	return 0;
}

/* The process of a thread (0: the caller's) whose limits the caller may read and set, with a reference; or an errno. */
static struct process *limit_target(pid_t tid)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct thread *thread = tid ? thread_find_locked(tid) : current_thread();
	struct process *process;

	if (!thread) {
		process = ERR_PTR(-ESRCH);
	} else if (!may_limit(thread)) {
		process = ERR_PTR(-EPERM);
	} else {
		process = thread->process;
		process_get(process);
	}
	spin_unlock_irqrestore(&process_lock, flags);
	return process;
}

static long limit_call(pid_t tid, u32 resource, const struct rlimit64 *new, struct rlimit64 *old)
{
	struct process *process;
	unsigned long flags;
	long result;

	if (resource >= RLIM_NLIMITS)
		return -EINVAL;
	process = limit_target(tid);
	if (IS_ERR(process))
		return PTR_ERR(process);
	if (new && resource == RLIMIT_CPU && !process_cpu_limit_prepare(process, new->rlim_cur)) {
		process_put(process);
		return -ENOMEM;
	}
	flags = spin_lock_irqsave(&process_lock);
	result = limit_change(process, resource, new, old);
	if (!result && new && resource == RLIMIT_CPU)
		process_cpu_limit_arm(process);
	spin_unlock_irqrestore(&process_lock, flags);
	process_put(process);
	return result;
}

SYSCALL_ASYNC(prlimit64, 4, SYS_ARG(pid_t, pid) SYS_ARG(u32, resource) SYS_ARG(const struct rlimit64 __user *, new)
	SYS_ARG(struct rlimit64 __user *, old) struct rlimit64 in; struct rlimit64 out;)
{
	long error;

	ASYNC_BEGIN;
	if (f->new)
		COPY_IN(f->in, f->new);
	error = limit_call(f->pid, f->resource, f->new ? &f->in : NULL, &f->out);
	if (error)
		ASYNC_RETURN(error);
	if (f->old)
		COPY_OUT(f->old, f->out);
	ASYNC_END;
}

SYSCALL_ASYNC(getrlimit, 2, SYS_ARG(u32, resource) SYS_ARG(struct rlimit64 __user *, old) struct rlimit64 out;)
{
	long error;

	ASYNC_BEGIN;
	error = limit_call(0, f->resource, NULL, &f->out);
	if (error)
		ASYNC_RETURN(error);
	COPY_OUT(f->old, f->out);
	ASYNC_END;
}

SYSCALL_ASYNC(setrlimit, 2, SYS_ARG(u32, resource) SYS_ARG(const struct rlimit64 __user *, new) struct rlimit64 in; struct rlimit64 out;)
{
	ASYNC_BEGIN;
	COPY_IN(f->in, f->new);
	ASYNC_RETURN(limit_call(0, f->resource, &f->in, &f->out));
	ASYNC_END;
}

static void thread_usage(struct thread *thread, struct usage *usage)
{
	*usage = (struct usage){
		.voluntary = thread->voluntary_switches,
		.involuntary = thread->involuntary_switches,
		.minor = thread->minor_faults,
		.major = thread->major_faults,
		.max_rss = thread->mm ? mm_note_peak(thread->mm) : 0,
	};
	task_times(&thread->task, &usage->user, &usage->system);
}

SYSCALL_ASYNC(getrusage, 2, SYS_ARG(int, who) SYS_ARG(struct rusage __user *, out) struct rusage r;)
{
	struct thread *thread = thread_of(self);
	struct usage usage;

	ASYNC_BEGIN;
	if (f->who == RUSAGE_SELF) {
		process_usage(thread->process, &usage);
		usage.max_rss = max(usage.max_rss, thread->mm->peak_resident);
	} else if (f->who == RUSAGE_CHILDREN) {
		usage = thread->process->children_usage;
	} else if (f->who == RUSAGE_THREAD) {
		thread_usage(thread, &usage);
	} else {
		ASYNC_RETURN(-EINVAL);
	}
	usage_to_user(&f->r, &usage);
	COPY_OUT(f->out, f->r);
	ASYNC_END;
}

SYSCALL_ASYNC(times, 1, SYS_ARG(struct tms __user *, out) struct tms t;)
{
	struct process *process = thread_of(self)->process;
	struct usage usage;

	ASYNC_BEGIN;
	if (f->out) {
		process_usage(process, &usage);
		f->t.tms_utime = usage.user / TICK_NS;
		f->t.tms_stime = usage.system / TICK_NS;
		f->t.tms_cutime = process->children_usage.user / TICK_NS;
		f->t.tms_cstime = process->children_usage.system / TICK_NS;
		COPY_OUT(f->out, f->t);
	}
	ASYNC_RETURN(time_monotonic() / TICK_NS);
	ASYNC_END;
}
