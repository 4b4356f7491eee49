/* SPDX-License-Identifier: MIT */
/* Reading clocks and sleeping on them. Clock numbers: clock_gettime(2); negative ones are the CPU time of a pid or tid. */
#include "proc.h"
#include <linux/time.h>

/* Negative clock numbers (posix-timers' encoding): ~pid << 3 | per-thread << 2 | which. */
#define CPUCLOCK_PID(clock)    ((pid_t)~((clock) >> 3))
#define CPUCLOCK_THREAD(clock) ((clock) & 4)
#define CPUCLOCK_WHICH(clock)  ((clock) & 3)

enum { CPUCLOCK_PROF, CPUCLOCK_VIRT, CPUCLOCK_SCHED };

static nsec_t cpu_time(int which, u64 user, u64 system)
{
	return which == CPUCLOCK_VIRT ? user : user + system;
}

static nsec_t thread_clock(struct thread *thread, int which)
{
	nsec_t user, system;

	task_times(&thread->task, &user, &system);
	return cpu_time(which, user, system);
}

static nsec_t process_clock(struct process *process, int which)
{
	struct usage usage;

	process_usage(process, &usage);
	return cpu_time(which, usage.user, usage.system);
}

/* A dynamic CPU clock, of any process; threads only of the own one (clock_getcpuclockid(3), pthread_getcpuclockid(3)). */
static long cpu_clock_read(int clock, nsec_t *now)
{
	pid_t pid = CPUCLOCK_PID(clock);
	int which = CPUCLOCK_WHICH(clock);

	if (which > CPUCLOCK_SCHED)
		return -EINVAL;
	if (CPUCLOCK_THREAD(clock)) {
		struct thread *thread = thread_find(pid ? pid : current_thread()->tid);
		bool own = thread && thread->process == current_thread()->process;

		if (own)
			*now = thread_clock(thread, which);
		if (thread)
			thread_put(thread);
		return own ? 0 : -EINVAL;
	} else {
		struct process *process = process_find(pid ? pid : current_thread()->process->pid);

		if (!process)
			return -EINVAL;
		*now = process_clock(process, which);
		process_put(process);
		return 0;
	}
}

long clock_read(int clock, nsec_t *now)
{
	if (clock < 0)
		return cpu_clock_read(clock, now);
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_TAI:
		*now = time_realtime();
		return 0;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		*now = time_monotonic();
		return 0;
	case CLOCK_PROCESS_CPUTIME_ID:
		*now = process_clock(current_thread()->process, CPUCLOCK_SCHED);
		return 0;
	case CLOCK_THREAD_CPUTIME_ID:
		*now = thread_clock(current_thread(), CPUCLOCK_SCHED);
		return 0;
	}
	return -EINVAL;
}

bool clock_is_realtime(int clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI;
}

/* Clocks that one may sleep on and set timers by, CPU clocks aside. */
bool clock_has_timers(int clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
}

/* They would wake the machine: no clock of ours can, so they are as on a Linux without such a clock. */
bool clock_is_alarm(int clock)
{
	return clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
}

SYSCALL_ASYNC(clock_gettime, 2, SYS_ARG(int, clock) SYS_ARG(struct __kernel_timespec __user *, out) struct __kernel_timespec t;)
{
	nsec_t now;
	long error;

	ASYNC_BEGIN;
	error = clock_read(f->clock, &now);
	if (error)
		ASYNC_RETURN(error);
	f->t = ns_to_timespec(now);
	COPY_OUT(f->out, f->t);
	ASYNC_END;
}

SYSCALL_ASYNC(clock_getres, 2, SYS_ARG(int, clock) SYS_ARG(struct __kernel_timespec __user *, out) struct __kernel_timespec t;)
{
	nsec_t now;
	long error;

	ASYNC_BEGIN;
	error = clock_read(f->clock, &now);
	if (error)
		ASYNC_RETURN(error);
	f->t.tv_nsec = f->clock == CLOCK_REALTIME_COARSE || f->clock == CLOCK_MONOTONIC_COARSE ? 4000000 : 1;
	if (f->out)
		COPY_OUT(f->out, f->t);
	ASYNC_END;
}

static long realtime_set(nsec_t now)
{
	if (now < time_monotonic())
		return -EINVAL; /* before the machine was started */
	time_set_realtime(now);
	vdso_update();
	alarms_clock_was_set();
	return 0;
}

SYSCALL_ASYNC(clock_settime, 2, SYS_ARG(int, clock) SYS_ARG(const struct __kernel_timespec __user *, in) struct __kernel_timespec t;)
{
	ASYNC_BEGIN;
	if (f->clock != CLOCK_REALTIME)
		ASYNC_RETURN(-EINVAL);
	COPY_IN(f->t, f->in);
	if (!timespec_valid(&f->t))
		ASYNC_RETURN(-EINVAL);
	if (!capable(CAP_SYS_TIME))
		ASYNC_RETURN(-EPERM);
	ASYNC_RETURN(realtime_set(timespec_to_ns(&f->t)));
	ASYNC_END;
}

SYSCALL_ASYNC(gettimeofday, 2, SYS_ARG(struct __kernel_old_timeval __user *, out) SYS_ARG(struct timezone __user *, zone)
	struct __kernel_old_timeval t; struct timezone z;)
{
	nsec_t now;

	ASYNC_BEGIN;
	now = time_realtime();
	f->t.tv_sec = now / NSEC_PER_SEC;
	f->t.tv_usec = now % NSEC_PER_SEC / 1000;
	if (f->out)
		COPY_OUT(f->out, f->t);
	if (f->zone)
		COPY_OUT(f->zone, f->z);
	ASYNC_END;
}

SYSCALL_ASYNC(settimeofday, 2, SYS_ARG(const struct __kernel_old_timeval __user *, in) SYS_ARG(const struct timezone __user *, zone)
	struct __kernel_old_timeval t;)
{
	ASYNC_BEGIN;
	if (f->in) {
		COPY_IN(f->t, f->in);
		if (f->t.tv_sec < 0 || (u64)f->t.tv_usec >= 1000000)
			ASYNC_RETURN(-EINVAL);
	}
	if (!capable(CAP_SYS_TIME))
		ASYNC_RETURN(-EPERM);
	/* A time zone in the kernel was a mistake; it is taken and forgotten, as on most Linux systems. */
	ASYNC_RETURN(f->in ? realtime_set(f->t.tv_sec * NSEC_PER_SEC + f->t.tv_usec * 1000ull) : 0);
	ASYNC_END;
}

/* --- sleeping --- */

/* restart: deadline (monotonic), where the rest goes. */
ASYNC(sleep_again, RESTART_ARGS struct __kernel_timespec rest;)
{
	nsec_t now;

	ASYNC_BEGIN;
	AWAIT(sleep_until, .deadline = f->restart[0]);
	if (RESULT != -EINTR)
		ASYNC_RETURN(RESULT);
	now = time_monotonic();
	f->rest = ns_to_timespec(f->restart[0] > now ? f->restart[0] - now : 0);
	if (f->restart[1])
		COPY_OUT((struct __kernel_timespec __user *)f->restart[1], f->rest);
	ASYNC_RETURN(-ERESTART_RESTARTBLOCK);
	ASYNC_END;
}

/* `at` on the clock; a clock that is set wakes and looks again. */
ASYNC(sleep_absolute, int clock; nsec_t at; u32 ticket;)
{
	nsec_t now;

	ASYNC_BEGIN;
	for (;;) {
		f->ticket = wait_ticket(&clock_set_queue);
		if (clock_read(f->clock, &now) || now >= f->at)
			ASYNC_RETURN(0);
		AWAIT(wait_on, .queue = &clock_set_queue, .ticket = f->ticket, .deadline = deadline_after(f->at - now));
		if (RESULT == -EINTR)
			ASYNC_RETURN(-ERESTARTNOHAND);
	}
	ASYNC_END;
}

/* CPU time passes only while somebody runs: looks again when it could have been enough. */
ASYNC(sleep_cpu_clock, int clock; nsec_t at; u32 ticket;)
{
	nsec_t now;

	ASYNC_BEGIN;
	for (;;) {
		if (clock_read(f->clock, &now))
			ASYNC_RETURN(-EINVAL);
		if (now >= f->at)
			ASYNC_RETURN(0);
		AWAIT(sleep_until, .deadline = deadline_after(max_t(nsec_t, (f->at - now) / cpu_count(), 1000000)));
		if (RESULT == -EINTR)
			ASYNC_RETURN(-ERESTARTNOHAND);
	}
	ASYNC_END;
}

static void sleep_restart_set(struct thread *thread, nsec_t deadline, void __user *rest)
{
	thread->restart_fn = &sleep_again_fn;
	thread->restart_args[0] = deadline;
	thread->restart_args[1] = (u64)rest;
}

SYSCALL_ASYNC(nanosleep, 2, SYS_ARG(const struct __kernel_timespec __user *, in) SYS_ARG(struct __kernel_timespec __user *, out)
	struct __kernel_timespec t; nsec_t deadline;)
{
	ASYNC_BEGIN;
	COPY_IN(f->t, f->in);
	if (!timespec_valid(&f->t))
		ASYNC_RETURN(-EINVAL);
	f->deadline = deadline_after(timespec_to_ns(&f->t));
	AWAIT(sleep_again, .restart = {f->deadline, (u64)f->out});
	if (RESULT == -ERESTART_RESTARTBLOCK)
		sleep_restart_set(thread_of(self), f->deadline, f->out);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}

SYSCALL_ASYNC(clock_nanosleep, 4, SYS_ARG(int, clock) SYS_ARG(int, flags) SYS_ARG(const struct __kernel_timespec __user *, in)
	SYS_ARG(struct __kernel_timespec __user *, out) struct __kernel_timespec t; nsec_t at; nsec_t now;)
{
	ASYNC_BEGIN;
	f->clock = f->clock == CLOCK_PROCESS_CPUTIME_ID ? CPUCLOCK_SCHED | ~0u << 3 : f->clock;
	if (clock_is_alarm(f->clock))
		ASYNC_RETURN(-EOPNOTSUPP);
	if (f->clock >= 0 && !clock_has_timers(f->clock)) {
		if (f->clock == CLOCK_THREAD_CPUTIME_ID || clock_read(f->clock, &f->now))
			ASYNC_RETURN(-EINVAL);
		ASYNC_RETURN(-EOPNOTSUPP);
	}
	if (clock_read(f->clock, &f->now))
		ASYNC_RETURN(-EINVAL);
	COPY_IN(f->t, f->in);
	if (!timespec_valid(&f->t))
		ASYNC_RETURN(-EINVAL);
	f->at = timespec_to_ns(&f->t);
	if (f->clock < 0) {
		AWAIT(sleep_cpu_clock, .clock = f->clock, .at = f->flags & TIMER_ABSTIME ? f->at : f->now + f->at);
		ASYNC_RETURN(RESULT);
	}
	if (f->flags & TIMER_ABSTIME) {
		AWAIT(sleep_absolute, .clock = f->clock, .at = f->at);
		ASYNC_RETURN(RESULT);
	}
	f->at = deadline_after(f->at);
	AWAIT(sleep_again, .restart = {f->at, (u64)f->out});
	if (RESULT == -ERESTART_RESTARTBLOCK)
		sleep_restart_set(thread_of(self), f->at, f->out);
	ASYNC_RETURN(RESULT);
	ASYNC_END;
}
