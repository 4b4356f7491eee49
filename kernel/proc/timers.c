/* SPDX-License-Identifier: MIT */
/*
 * Timers of a process: the three of setitimer(2), those of timer_create(2), and the CPU time limit. All fields are under
 * process_lock. A periodic POSIX timer whose signal is pending is not armed: it goes on when the signal is taken, and what it
 * missed is the overrun count.
 */
#include "alarm.h"
#include "proc.h"
#include <linux/time.h>

#define POSIX_TIMERS_MAX 8192

struct interval_timer {
	struct alarm alarm;
	struct process *process;
	int signal;
};

struct posix_timer {
	struct alarm alarm;
	struct list node;
	struct process *process;
	int id, clock, notify, signal;
	sigval_t value;
	pid_t tid; /* SIGEV_THREAD_ID */
	pid_t cpu_tid; /* whose CPU time, or 0: the process's */
	u64 overrun, last_overrun;
	bool pending; /* its signal is queued */
};

struct process_timers {
	struct interval_timer interval[3]; /* ITIMER_REAL, _VIRTUAL, _PROF */
	struct interval_timer cpu_limit;
	struct list posix;
	u32 posix_count;
	int next_id;
};

/* --- CPU time, process_lock held --- */

static nsec_t process_cpu_time(struct process *process, bool user_only) REQUIRES(process_lock)
{
	struct usage usage;

	process_usage_locked(process, &usage);
	return user_only ? usage.user : usage.user + usage.system;
}

static nsec_t now_virtual(struct alarm *alarm) REQUIRES(process_lock)
{
	return process_cpu_time(container_of(alarm, struct interval_timer, alarm)->process, true);
}

static nsec_t now_prof(struct alarm *alarm) REQUIRES(process_lock)
{
	return process_cpu_time(container_of(alarm, struct interval_timer, alarm)->process, false);
}

static nsec_t now_posix_cpu(struct alarm *alarm) REQUIRES(process_lock)
{
	struct posix_timer *timer = container_of(alarm, struct posix_timer, alarm);
	struct thread *thread;
	nsec_t user, system;

	if (!timer->cpu_tid)
		return process_cpu_time(timer->process, false);
	thread = thread_find_locked(timer->cpu_tid);
	if (!thread)
		return 0;
	task_times(&thread->task, &user, &system);
	return user + system;
}

/* --- setitimer --- */

static void interval_ring(struct alarm *alarm)
{
	struct interval_timer *timer = container_of(alarm, struct interval_timer, alarm);
	unsigned long flags = spin_lock_irqsave(&process_lock);

	if (alarm_due(alarm)) {
		signal_send_process_locked(timer->process, timer->signal, NULL);
		alarm_forward(alarm);
	}
	spin_unlock_irqrestore(&process_lock, flags);
}

/* At the soft limit SIGXCPU, then each second again; at the hard limit the end (setrlimit(2)). */
static void cpu_limit_ring(struct alarm *alarm)
{
	struct interval_timer *timer = container_of(alarm, struct interval_timer, alarm);
	unsigned long flags = spin_lock_irqsave(&process_lock);

	if (alarm_due(alarm)) {
		u64 hard = timer->process->limits[RLIMIT_CPU].rlim_max;

		if (hard < TIME_FOREVER / NSEC_PER_SEC && now_prof(alarm) >= hard * NSEC_PER_SEC)
			process_exit_locked(timer->process, SIGKILL);
		else
			signal_send_process_locked(timer->process, SIGXCPU, NULL);
		alarm_forward(alarm);
	}
	spin_unlock_irqrestore(&process_lock, flags);
}

static void interval_init(struct interval_timer *timer, struct process *process, int clock, int signal,
	nsec_t (*now)(struct alarm *))
{
	alarm_init(&timer->alarm, clock, signal == SIGXCPU ? cpu_limit_ring : interval_ring);
	timer->alarm.now = now;
	timer->process = process;
	timer->signal = signal;
}

/* Made at first use; NULL without memory, or when the process has ended. */
static struct process_timers *timers_of(struct process *process)
{
	struct process_timers *timers = process->timers, *unused = NULL;
	unsigned long flags;

	if (timers)
		return timers;
	timers = kzalloc(sizeof(*timers));
	if (!timers)
		return NULL;
	list_init(&timers->posix);
	interval_init(&timers->interval[ITIMER_REAL], process, CLOCK_MONOTONIC, SIGALRM, NULL);
	interval_init(&timers->interval[ITIMER_VIRTUAL], process, ALARM_CPU, SIGVTALRM, now_virtual);
	interval_init(&timers->interval[ITIMER_PROF], process, ALARM_CPU, SIGPROF, now_prof);
	interval_init(&timers->cpu_limit, process, ALARM_CPU, SIGXCPU, now_prof);
	flags = spin_lock_irqsave(&process_lock);
	if (process->timers || process->state >= PROCESS_ZOMBIE) {
		unused = timers;
		timers = process->timers;
	} else {
		process->timers = timers;
	}
	spin_unlock_irqrestore(&process_lock, flags);
	kfree(unused);
	return timers;
}

static bool cpu_limit_is_endless(u64 seconds)
{
	return seconds >= TIME_FOREVER / NSEC_PER_SEC;
}

bool process_cpu_limit_prepare(struct process *process, u64 seconds)
{
	return cpu_limit_is_endless(seconds) || timers_of(process) || process->state >= PROCESS_ZOMBIE;
}

void process_cpu_limit_arm(struct process *process)
{
	struct process_timers *timers = process->timers;
	u64 seconds = process->limits[RLIMIT_CPU].rlim_cur;

	if (!timers)
		return;
	if (cpu_limit_is_endless(seconds))
		alarm_set(&timers->cpu_limit.alarm, 0, 0, false);
	else
		alarm_set(&timers->cpu_limit.alarm, max_t(u64, seconds, 1) * NSEC_PER_SEC, NSEC_PER_SEC, true);
}

static bool timeval_valid(const struct __kernel_old_timeval *t)
{
	return t->tv_sec >= 0 && (u64)t->tv_usec < 1000000;
}

static nsec_t timeval_to_ns(const struct __kernel_old_timeval *t)
{
	if ((u64)t->tv_sec >= TIME_FOREVER / NSEC_PER_SEC)
		return TIME_FOREVER;
	return t->tv_sec * NSEC_PER_SEC + t->tv_usec * 1000;
}

/* Never 0 for a timer that runs. */
static struct __kernel_old_timeval ns_to_timeval(nsec_t ns)
{
	if (ns && ns < 1000)
		ns = 1000;
	return (struct __kernel_old_timeval){.tv_sec = ns / NSEC_PER_SEC, .tv_usec = ns % NSEC_PER_SEC / 1000};
}

static void interval_get(struct process *process, int which, struct __kernel_old_itimerval *value)
{
	struct interval_timer *timer;

	memset(value, 0, sizeof(*value));
	if (!process->timers)
		return;
	timer = &process->timers->interval[which];
	value->it_interval = ns_to_timeval(timer->alarm.interval);
	value->it_value = ns_to_timeval(alarm_left(&timer->alarm));
}

SYSCALL_ASYNC(getitimer, 2, SYS_ARG(int, which) SYS_ARG(struct __kernel_old_itimerval __user *, out) struct __kernel_old_itimerval v;)
{
	unsigned long flags;

	ASYNC_BEGIN;
	if ((u32)f->which > ITIMER_PROF)
		ASYNC_RETURN(-EINVAL);
	flags = spin_lock_irqsave(&process_lock);
	interval_get(thread_of(self)->process, f->which, &f->v);
	spin_unlock_irqrestore(&process_lock, flags);
	COPY_OUT(f->out, f->v);
	ASYNC_END;
}

SYSCALL_ASYNC(setitimer, 3, SYS_ARG(int, which) SYS_ARG(const struct __kernel_old_itimerval __user *, new)
	SYS_ARG(struct __kernel_old_itimerval __user *, old) struct __kernel_old_itimerval in; struct __kernel_old_itimerval out;)
{
	struct process *process = thread_of(self)->process;
	struct process_timers *timers;
	unsigned long flags;

	ASYNC_BEGIN;
	if (f->new) {
		COPY_IN(f->in, f->new);
		if (!timeval_valid(&f->in.it_value) || !timeval_valid(&f->in.it_interval))
			ASYNC_RETURN(-EINVAL);
	}
	if ((u32)f->which > ITIMER_PROF)
		ASYNC_RETURN(-EINVAL);
	timers = timers_of(process);
	if (!timers)
		ASYNC_RETURN(-ENOMEM);
	flags = spin_lock_irqsave(&process_lock);
	interval_get(process, f->which, &f->out);
	alarm_set(&timers->interval[f->which].alarm, timeval_to_ns(&f->in.it_value), timeval_to_ns(&f->in.it_interval), false);
	spin_unlock_irqrestore(&process_lock, flags);
	if (f->old)
		COPY_OUT(f->old, f->out);
	ASYNC_END;
}

/* --- timer_create --- */

static void posix_signal(struct posix_timer *timer) REQUIRES(process_lock)
{
	struct thread *thread;
	siginfo_t info;

	siginfo_kernel(&info, timer->signal, SI_TIMER);
	info.si_tid = timer->id;
	info.si_value = timer->value;
	info._sifields._timer._sys_private = 1; /* marks it for process_timer_taken */
	if (timer->notify & SIGEV_THREAD_ID) {
		thread = thread_find_locked(timer->tid);
		if (thread && thread->process == timer->process)
			signal_send_thread_locked(thread, timer->signal, &info);
	} else {
		signal_send_process_locked(timer->process, timer->signal, &info);
	}
}

static bool posix_is_ignored(struct posix_timer *timer) REQUIRES(process_lock)
{
	return (timer->notify & ~SIGEV_THREAD_ID) == SIGEV_NONE || signal_ignored_locked(timer->process, timer->signal);
}

static void posix_ring(struct alarm *alarm)
{
	struct posix_timer *timer = container_of(alarm, struct posix_timer, alarm);
	unsigned long flags = spin_lock_irqsave(&process_lock);

	if (alarm_due(alarm)) {
		if (posix_is_ignored(timer)) {
			/* Nobody would notice: no reason to ring more often than a thousand times a second. */
			if (alarm->interval && alarm->interval < 1000000)
				timer_start(&alarm->timer, time_monotonic() + 1000000);
			else
				alarm_forward(alarm);
		} else if (!timer->pending) {
			timer->pending = true;
			timer->overrun = 0;
			posix_signal(timer);
		}
	}
	spin_unlock_irqrestore(&process_lock, flags);
}

static struct posix_timer *posix_find(struct process *process, int id)
{
	struct posix_timer *timer;

	if (process->timers)
		list_for_each(timer, &process->timers->posix, node)
			if (timer->id == id)
				return timer;
	return NULL;
}

/* Programs see it as siginfo's overrun. A timer that was set or deleted meanwhile has no say. */
void process_timer_taken(struct process *process, siginfo_t *info)
{
	struct posix_timer *timer;
	u64 periods;

	if (info->si_code != SI_TIMER || !info->_sifields._timer._sys_private)
		return;
	info->_sifields._timer._sys_private = 0;
	timer = posix_find(process, info->si_tid);
	if (!timer || !timer->pending)
		return;
	timer->pending = false;
	periods = alarm_forward(&timer->alarm);
	timer->last_overrun = min_t(u64, periods ? periods - 1 : 0, INT32_MAX);
	info->si_overrun = timer->last_overrun;
}

/* -errno, or 0 and the timer filled in. */
static long posix_prepare(struct posix_timer *timer, int clock, const sigevent_t *event)
{
	struct process *process = current_thread()->process;
	int kind;

	timer->process = process;
	timer->clock = clock;
	if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID || clock < 0) {
		nsec_t now;

		if (clock_read(clock, &now))
			return -EINVAL;
		if (clock < 0 && ~(clock >> 3) && ~(clock >> 3) != process->pid && !(clock & 4))
			return -EINVAL; /* others' CPU time */
		alarm_init(&timer->alarm, ALARM_CPU, posix_ring);
		timer->alarm.now = now_posix_cpu;
		if (clock == CLOCK_THREAD_CPUTIME_ID || (clock < 0 && (clock & 4)))
			timer->cpu_tid = clock < 0 && ~(clock >> 3) ? ~(clock >> 3) : current_thread()->tid;
	} else if (clock_has_timers(clock)) {
		alarm_init(&timer->alarm, clock, posix_ring);
	} else {
		nsec_t now;

		return clock_read(clock, &now) && !clock_is_alarm(clock) ? -EINVAL : -EOPNOTSUPP;
	}
	if (!event) {
		timer->notify = SIGEV_SIGNAL;
		timer->signal = SIGALRM;
		return 0;
	}
	timer->notify = event->sigev_notify;
	timer->signal = event->sigev_signo;
	timer->value = event->sigev_value;
	kind = event->sigev_notify & ~SIGEV_THREAD_ID;
	if (kind != SIGEV_SIGNAL && kind != SIGEV_NONE && kind != SIGEV_THREAD)
		return -EINVAL;
	if (kind != SIGEV_NONE && (timer->signal <= 0 || timer->signal > 64))
		return -EINVAL;
	if (event->sigev_notify & SIGEV_THREAD_ID) {
		struct thread *thread = thread_find(event->sigev_notify_thread_id);
		bool own = thread && thread->process == process;

		if (thread)
			thread_put(thread);
		if (!own || kind != SIGEV_SIGNAL)
			return -EINVAL;
		timer->tid = event->sigev_notify_thread_id;
	}
	return 0;
}

static void posix_add(struct process *process, struct posix_timer *timer, bool default_value)
{
	struct process_timers *timers = process->timers;
	unsigned long flags = spin_lock_irqsave(&process_lock);

	while (posix_find(process, timers->next_id))
		timers->next_id = (timers->next_id + 1) & INT32_MAX;
	timer->id = timers->next_id;
	timers->next_id = (timers->next_id + 1) & INT32_MAX;
	if (default_value)
		timer->value.sival_int = timer->id;
	list_add_tail(&timers->posix, &timer->node);
	timers->posix_count++;
	spin_unlock_irqrestore(&process_lock, flags);
}

static void posix_remove(struct posix_timer *timer)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);

	list_remove(&timer->node);
	timer->process->timers->posix_count--;
	alarm_set(&timer->alarm, 0, 0, false);
	spin_unlock_irqrestore(&process_lock, flags);
	alarm_cancel(&timer->alarm);
	kfree(timer);
}

SYSCALL_ASYNC(timer_create, 3, SYS_ARG(int, clock) SYS_ARG(const sigevent_t __user *, uevent) SYS_ARG(int __user *, uid) sigevent_t event;
	struct posix_timer *timer; long error;)
{
	struct process *process = thread_of(self)->process;

	ASYNC_BEGIN;
	if (f->uevent)
		COPY_IN(f->event, f->uevent);
	if (!timers_of(process))
		ASYNC_RETURN(-ENOMEM);
	if (process->timers->posix_count >= min_t(u64, POSIX_TIMERS_MAX, limit_get(RLIMIT_SIGPENDING)))
		ASYNC_RETURN(-EAGAIN);
	f->timer = kzalloc(sizeof(*f->timer));
	if (!f->timer)
		ASYNC_RETURN(-EAGAIN);
	f->error = posix_prepare(f->timer, f->clock, f->uevent ? &f->event : NULL);
	if (f->error) {
		kfree(f->timer);
		ASYNC_RETURN(f->error);
	}
	posix_add(process, f->timer, !f->uevent);
	AWAIT(copy_out, .to = f->uid, .from = &f->timer->id, .n = sizeof(int));
	if (RESULT < 0) {
		posix_remove(f->timer);
		ASYNC_RETURN(-EFAULT);
	}
	ASYNC_END;
}

static void posix_get(struct posix_timer *timer, struct __kernel_itimerspec *out)
{
	nsec_t left;

	/* One whose signal waits to be taken shows where it would be. */
	if (timer->pending && timer->alarm.interval && timer->alarm.next) {
		nsec_t passed = alarm_left(&timer->alarm) > 1 ? 0 : 1;

		left = passed ? timer->alarm.interval : alarm_left(&timer->alarm);
	} else {
		left = alarm_left(&timer->alarm);
	}
	out->it_interval = ns_to_timespec(timer->alarm.interval);
	out->it_value = ns_to_timespec(left);
}

SYSCALL_ASYNC(timer_gettime, 2, SYS_ARG(int, id) SYS_ARG(struct __kernel_itimerspec __user *, out) struct __kernel_itimerspec v;)
{
	struct posix_timer *timer;
	unsigned long flags;

	ASYNC_BEGIN;
	flags = spin_lock_irqsave(&process_lock);
	timer = posix_find(thread_of(self)->process, f->id);
	if (timer)
		posix_get(timer, &f->v);
	spin_unlock_irqrestore(&process_lock, flags);
	if (!timer)
		ASYNC_RETURN(-EINVAL);
	COPY_OUT(f->out, f->v);
	ASYNC_END;
}

SYSCALL_ASYNC(timer_settime, 4, SYS_ARG(int, id) SYS_ARG(int, flags) SYS_ARG(const struct __kernel_itimerspec __user *, new)
	SYS_ARG(struct __kernel_itimerspec __user *, old) struct __kernel_itimerspec in; struct __kernel_itimerspec out;)
{
	struct posix_timer *timer;
	unsigned long flags;

	ASYNC_BEGIN;
	if (!f->new)
		ASYNC_RETURN(-EINVAL);
	COPY_IN(f->in, f->new);
	if (!timespec_valid(&f->in.it_value) || !timespec_valid(&f->in.it_interval))
		ASYNC_RETURN(-EINVAL);
	flags = spin_lock_irqsave(&process_lock);
	timer = posix_find(thread_of(self)->process, f->id);
	if (timer) {
		posix_get(timer, &f->out);
		timer->pending = false;
		timer->last_overrun = 0;
		alarm_set(&timer->alarm, timespec_to_ns(&f->in.it_value), timespec_to_ns(&f->in.it_interval),
			f->flags & TIMER_ABSTIME);
	}
	spin_unlock_irqrestore(&process_lock, flags);
	if (!timer)
		ASYNC_RETURN(-EINVAL);
	if (f->old)
		COPY_OUT(f->old, f->out);
	ASYNC_END;
}

SYSCALL(timer_getoverrun, int, id)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct posix_timer *timer = posix_find(current_thread()->process, id);
	long result = timer ? (long)timer->last_overrun : -EINVAL;

	spin_unlock_irqrestore(&process_lock, flags);
	return result;
}

SYSCALL(timer_delete, int, id)
{
	unsigned long flags = spin_lock_irqsave(&process_lock);
	struct posix_timer *timer = posix_find(current_thread()->process, id);

	if (timer) { /* taken out here, so that two who delete it do not both have it */
		list_remove(&timer->node);
		list_init(&timer->node);
	}
	spin_unlock_irqrestore(&process_lock, flags);
	if (!timer)
		return -EINVAL;
	posix_remove(timer);
	return 0;
}

/* --- exec and exit --- */

void process_timers_exec(struct process *process)
{
	if (!process->timers)
		return;
	while (!list_empty(&process->timers->posix))
		posix_remove(list_first(&process->timers->posix, struct posix_timer, node));
}

void process_timers_end(struct process *process)
{
	struct process_timers *timers = process->timers;
	unsigned long flags;

	if (!timers)
		return;
	process_timers_exec(process);
	flags = spin_lock_irqsave(&process_lock);
	process->timers = NULL;
	for (int i = 0; i < 3; i++)
		alarm_set(&timers->interval[i].alarm, 0, 0, false);
	alarm_set(&timers->cpu_limit.alarm, 0, 0, false);
	spin_unlock_irqrestore(&process_lock, flags);
	for (int i = 0; i < 3; i++)
		alarm_cancel(&timers->interval[i].alarm);
	alarm_cancel(&timers->cpu_limit.alarm);
	kfree(timers);
}

void process_timers_free(struct process *process)
{
	kfree(process->timers);
}
