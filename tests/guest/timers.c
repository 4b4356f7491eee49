// SPDX-License-Identifier: MIT
// Clocks and timers: what they refuse, that they ring when they should and count what they missed. No times are told.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static int64_t now(clockid_t clock)
{
	struct timespec t = {0, 0};

	CHECK(clock_gettime(clock, &t) == 0);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int64_t now_by_call(clockid_t clock)
{
	struct timespec t = {0, 0};

	CHECK(syscall(SYS_clock_gettime, clock, &t) == 0);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void clocks(void)
{
	static const clockid_t all[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, -1, -2, -6, 100, INT32_MIN};
	struct timespec t;
	struct timeval tv;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		long get = syscall(SYS_clock_gettime, all[i], &t) ? errno : 0;
		long resolution = syscall(SYS_clock_getres, all[i], &t) ? errno : 0;

		printf("clock %d: %s %s", all[i], get ? strerrorname_np(get) : "ok", resolution ? strerrorname_np(resolution) : "ok");
		if (!resolution && all[i] != CLOCK_REALTIME_COARSE && all[i] != CLOCK_MONOTONIC_COARSE)
			printf(" %ld.%09ld", t.tv_sec, t.tv_nsec);
		t = (struct timespec){0, 1000};
		/* CPU time does not pass for one that sleeps */
		if (all[i] != 3 && all[i] != -2 && all[i] != -6 && all[i] != -1 && all[i] != 2) {
			long sleep = syscall(SYS_clock_nanosleep, all[i], 0, &t, NULL);

			printf(" sleep %s", sleep ? strerrorname_np(errno) : "ok");
		}
		printf("\n");
	}
	SHOW(syscall(SYS_clock_gettime, 0, (void *)8));
	SHOW(syscall(SYS_clock_getres, 0, NULL));
	SHOW(syscall(SYS_clock_settime, 1, &t));
	t.tv_nsec = -1;
	SHOW(syscall(SYS_clock_settime, 0, &t));
	SHOW(syscall(SYS_gettimeofday, NULL, NULL));
	SHOW(syscall(SYS_gettimeofday, &tv, (void *)8));

	/* The vDSO and the call tell one time. */
	for (int clock = 0; clock < 2; clock++) {
		bool forward = true;

		for (int i = 0; i < 1000; i++) {
			int64_t a = now(clock), b = now_by_call(clock), c = now(clock);

			forward = forward && a <= b && b <= c;
		}
		printf("clock %d: vdso and call agree %d\n", clock, forward);
	}
	CHECK(gettimeofday(&tv, NULL) == 0);
	int64_t difference = now(CLOCK_REALTIME) - (tv.tv_sec * 1000000000ll + tv.tv_usec * 1000ll);
	printf("gettimeofday near %d\n", difference >= 0 && difference < 1000000000);
	CHECK(getauxval(AT_SYSINFO_EHDR));

	/* CPU time goes on while one computes, not while one sleeps. */
	int64_t before = now(CLOCK_PROCESS_CPUTIME_ID), thread = now(CLOCK_THREAD_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
	usleep(100000);
	int64_t slept = now(CLOCK_PROCESS_CPUTIME_ID) - before;
	before = now(CLOCK_PROCESS_CPUTIME_ID);
	while (now(CLOCK_MONOTONIC) - wall < 200000000)
		;
	int64_t worked = now(CLOCK_PROCESS_CPUTIME_ID) - before;
	printf("slept little %d, worked much %d, thread %d\n", slept < 50000000, worked > 20000000,
		now(CLOCK_THREAD_CPUTIME_ID) - thread > 20000000);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	int64_t sum = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000ll + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
	printf("rusage near %d\n", sum > 20000);
}

static void sleeps(void)
{
	struct timespec t = {0, 30000000}, left;
	int64_t start = now(CLOCK_MONOTONIC);

	SHOW(nanosleep(&t, NULL));
	printf("long enough %d\n", now(CLOCK_MONOTONIC) - start >= 30000000);
	t.tv_nsec = 1000000000;
	SHOW(nanosleep(&t, &left));
	t = (struct timespec){-1, 0};
	SHOW(nanosleep(&t, &left));
	SHOW(syscall(SYS_nanosleep, (void *)8, NULL));
	t = (struct timespec){0, 0};
	SHOW(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += 30000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	start = now(CLOCK_MONOTONIC);
	SHOW(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
	printf("long enough %d\n", now(CLOCK_MONOTONIC) - start >= 25000000);
	SHOW(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL));
}

/* --- signals of timers --- */

static volatile int rung, last_code, last_value, last_overrun, last_timer;

static void ring(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	rung++;
	last_code = info->si_code;
	last_value = info->si_value.sival_int;
	last_overrun = info->si_overrun;
	last_timer = info->si_timerid;
}

static void on(int signal)
{
	struct sigaction action = {.sa_sigaction = ring, .sa_flags = SA_SIGINFO};

	sigaction(signal, &action, NULL);
	rung = 0;
}

static void spin_ms(int ms)
{
	int64_t start = now(CLOCK_MONOTONIC);

	while (now(CLOCK_MONOTONIC) - start < ms * 1000000ll)
		;
}

static void intervals(void)
{
	struct itimerval value = {.it_value = {0, 20000}}, old;

	on(SIGALRM);
	SHOW(setitimer(ITIMER_REAL, &value, NULL));
	SHOW(pause());
	printf("rung %d code %d\n", rung, last_code);
	getitimer(ITIMER_REAL, &old);
	printf("off %ld %ld\n", old.it_value.tv_sec, old.it_value.tv_usec);
	value = (struct itimerval){{0, 10000}, {0, 10000}};
	on(SIGALRM);
	setitimer(ITIMER_REAL, &value, NULL);
	while (rung < 5)
		pause();
	value = (struct itimerval){{0, 0}, {100, 0}};
	setitimer(ITIMER_REAL, &value, &old);
	printf("was periodic %ld %d\n", old.it_interval.tv_usec, old.it_value.tv_usec > 0);
	SHOW(alarm(0));
	on(SIGVTALRM);
	value = (struct itimerval){{0, 0}, {0, 30000}};
	SHOW(setitimer(ITIMER_VIRTUAL, &value, NULL));
	usleep(60000);
	printf("virtual while asleep %d\n", rung);
	spin_ms(200);
	printf("virtual while computing %d\n", rung);
	on(SIGPROF);
	SHOW(setitimer(ITIMER_PROF, &value, NULL));
	spin_ms(200);
	printf("prof while computing %d\n", rung);
	value.it_value.tv_usec = 1000000;
	SHOW(setitimer(ITIMER_REAL, &value, NULL));
	SHOW(setitimer(3, &value, NULL));
	SHOW(getitimer(3, &value));
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, (void *)8, NULL));
	/* not inherited */
	value = (struct itimerval){{0, 0}, {100, 0}};
	setitimer(ITIMER_REAL, &value, NULL);
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		getitimer(ITIMER_REAL, &old);
		_exit(old.it_value.tv_sec != 0);
	}
	int status;
	waitpid(child, &status, 0);
	printf("child has it %#x\n", status);
	alarm(0);
}

static void posix_timers(void)
{
	timer_t first, second;
	int id;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 77};
	struct itimerspec value = {{0, 0}, {0, 20000000}}, old;
	sigset_t set, none;

	on(SIGRTMIN);
	SHOW(timer_create(CLOCK_MONOTONIC, &event, &first));
	SHOW(timer_settime(first, 0, &value, NULL));
	SHOW(timer_gettime(first, &old));
	printf("runs %d\n", old.it_value.tv_nsec > 0);
	pause();
	printf("rung %d code %d value %d overrun %d\n", rung, last_code, last_value, last_overrun);
	SHOW(timer_gettime(first, &old));
	printf("off %ld %ld\n", old.it_value.tv_sec, old.it_value.tv_nsec);
	/* periodic, blocked for a while: one signal, and a count */
	sigemptyset(&set);
	sigemptyset(&none);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	value = (struct itimerspec){{0, 5000000}, {0, 5000000}};
	rung = 0;
	SHOW(timer_settime(first, 0, &value, &old));
	usleep(60000);
	sigsuspend(&none);
	printf("missed some %d, told %d\n", last_overrun >= 5, timer_getoverrun(first) == last_overrun || rung > 1);
	value = (struct itimerspec){{0, 0}, {0, 0}};
	SHOW(timer_settime(first, 0, &value, NULL));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	/* absolute, in the past */
	rung = 0;
	value.it_value.tv_nsec = 1;
	SHOW(timer_settime(first, TIMER_ABSTIME, &value, NULL));
	usleep(20000);
	printf("past: rung %d\n", rung);
	/* default event: SIGALRM with the timer's number */
	on(SIGALRM);
	SHOW(syscall(SYS_timer_create, CLOCK_REALTIME, NULL, &id));
	second = (timer_t)(long)id;
	value.it_value.tv_nsec = 10000000;
	SHOW(syscall(SYS_timer_settime, id, 0, &value, NULL));
	pause();
	printf("default: code %d own number %d\n", last_code, last_value == id && last_timer == id);
	SHOW(syscall(SYS_timer_delete, id));
	SHOW(syscall(SYS_timer_delete, id));
	SHOW(syscall(SYS_timer_settime, id, 0, &value, NULL));
	SHOW(syscall(SYS_timer_getoverrun, id));
	(void)second;
	/* CPU time */
	on(SIGRTMIN);
	timer_t cpu;
	SHOW(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &cpu));
	value.it_value.tv_nsec = 30000000;
	SHOW(timer_settime(cpu, 0, &value, NULL));
	usleep(50000);
	printf("cpu timer while asleep %d\n", rung);
	spin_ms(200);
	printf("cpu timer while computing %d\n", rung);
	SHOW(timer_delete(cpu));
	/* to one thread */
	event.sigev_notify = SIGEV_THREAD_ID;
	event._sigev_un._tid = gettid();
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
	value.it_value.tv_nsec = 10000000;
	rung = 0;
	syscall(SYS_timer_settime, id, 0, &value, NULL);
	pause();
	printf("thread timer %d\n", rung);
	event._sigev_un._tid = 1;
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
	event.sigev_notify = 99;
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = 99;
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
	event.sigev_signo = 0;
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
	event.sigev_notify = SIGEV_NONE;
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
	SHOW(syscall(SYS_timer_create, 99, &event, &id));
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC_COARSE, &event, &id));
	SHOW(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, (void *)8));
	SHOW(timer_delete(first));
}

static void descriptors(void)
{
	struct itimerspec value = {{0, 10000000}, {0, 10000000}}, old;
	uint64_t count = 0;
	int fd;

	SHOW(timerfd_create(99, 0));
	SHOW(timerfd_create(CLOCK_MONOTONIC, 0x1234));
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	CHECK(fd >= 0);
	SHOW(read(fd, &count, 8));
	SHOW(read(fd, &count, 4));
	SHOW(write(fd, &count, 8));
	SHOW(timerfd_settime(fd, 0, &value, &old));
	printf("was off %ld\n", old.it_value.tv_nsec);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	SHOW(poll(&poll_fd, 1, 5000));
	printf("revents %#x\n", poll_fd.revents);
	usleep(50000);
	SHOW(read(fd, &count, 8));
	printf("several %d\n", count >= 4);
	SHOW(timerfd_gettime(fd, &old));
	printf("runs %d every %ld\n", old.it_value.tv_nsec > 0, old.it_interval.tv_nsec);
	fcntl(fd, F_SETFL, 0);
	SHOW(read(fd, &count, 8));
	value = (struct itimerspec){{0, 0}, {0, 0}};
	SHOW(timerfd_settime(fd, 0, &value, NULL));
	value = (struct itimerspec){{0, 0}, {0, 1}};
	SHOW(timerfd_settime(fd, TFD_TIMER_ABSTIME, &value, NULL));
	SHOW(read(fd, &count, 8));
	printf("once %lu\n", count);
	value.it_value.tv_nsec = -1;
	SHOW(timerfd_settime(fd, 0, &value, NULL));
	value.it_value.tv_nsec = 1;
	SHOW(timerfd_settime(fd, 0x70, &value, NULL));
	SHOW(timerfd_settime(0, 0, &value, NULL));
	SHOW(timerfd_settime(-1, 0, &value, NULL));
	close(fd);
	/* a clock that is set */
	fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	struct timespec real = {1700000000, 0};
	SHOW(clock_settime(CLOCK_REALTIME, &real));
	value.it_value = real;
	value.it_value.tv_sec += 1000;
	SHOW(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &value, NULL));
	SHOW(read(fd, &count, 8));
	real.tv_sec += 2000;
	SHOW(clock_settime(CLOCK_REALTIME, &real));
	SHOW(read(fd, &count, 8));
	SHOW(timerfd_settime(fd, TFD_TIMER_ABSTIME, &value, NULL));
	usleep(20000);
	SHOW(read(fd, &count, 8));
	real.tv_sec = 0;
	SHOW(clock_settime(CLOCK_REALTIME, &real)); /* before the machine was started */
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	clocks();
	sleeps();
	intervals();
	posix_timers();
	descriptors();
	return CHECK_RESULT();
}
