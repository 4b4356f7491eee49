// SPDX-License-Identifier: MIT
// cflags: -Wno-infinite-recursion -Wno-array-bounds
// Signals: masks, queues, restarts, alternate stacks, job control, waits. What happens is told in order; times and
// addresses are not.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

static volatile int seen, seen_code, seen_value, depth;
static volatile pid_t seen_pid;
static char trace[400];

static void note(int signal, siginfo_t *info, void *context)
{
	(void)context;
	seen++;
	seen_code = info->si_code;
	seen_value = info->si_value.sival_int;
	seen_pid = info->si_pid;
	snprintf(trace + strlen(trace), sizeof(trace) - strlen(trace), " %d", signal);
}

static void on(int signal, int flags, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};

	CHECK(sigaction(signal, &action, NULL) == 0);
}

static void told(const char *what)
{
	printf("%s: seen %d:%s\n", what, seen, trace);
	seen = 0;
	trace[0] = 0;
}

static sigset_t set_of(int a, int b)
{
	sigset_t set;

	sigemptyset(&set);
	if (a)
		sigaddset(&set, a);
	if (b)
		sigaddset(&set, b);
	return set;
}

static uint64_t pending_bits(void)
{
	uint64_t bits = 0;

	syscall(SYS_rt_sigpending, &bits, sizeof(bits));
	return bits;
}

static void basics(void)
{
	struct sigaction action;
	sigset_t set = set_of(SIGUSR1, SIGRTMIN + 1), old;

	on(SIGUSR1, 0, note);
	on(SIGRTMIN + 1, 0, note);
	on(SIGRTMIN, 0, note);
	SHOW(raise(SIGUSR1));
	CHECK(seen_code == SI_TKILL && seen_pid == getpid());
	SHOW(kill(getpid(), SIGUSR1));
	CHECK(seen_code == SI_USER);
	told("sent");

	SHOW(sigprocmask(SIG_BLOCK, &set, &old));
	for (int i = 0; i < 3; i++) {
		kill(getpid(), SIGUSR1);
		sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i});
	}
	told("blocked");
	printf("pending %#lx\n", pending_bits());
	SHOW(sigprocmask(SIG_SETMASK, &old, NULL));
	CHECK(seen_code == SI_QUEUE || seen_code == SI_USER);
	told("unblocked: one plain, three queued");

	/* Lower numbers first; handlers nest, so that the last one entered runs first. */
	set = set_of(SIGRTMIN, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &set, &old);
	sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 1});
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 2});
	sigprocmask(SIG_SETMASK, &old, NULL);
	told("order");

	SHOW(kill(getpid(), 65));
	SHOW(kill(getpid(), -1));
	SHOW(kill(0x3ffffff, 0));
	SHOW(kill(getpid(), 0));
	SHOW(syscall(SYS_tgkill, getpid(), 1, 0));
	SHOW(syscall(SYS_tgkill, -1, 1, 0));
	SHOW(syscall(SYS_rt_sigaction, SIGKILL, &action, NULL, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGKILL, NULL, &action, 8));
	SHOW(syscall(SYS_rt_sigaction, 0, NULL, &action, 8));
	SHOW(syscall(SYS_rt_sigaction, 65, NULL, &action, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, NULL, &action, 16));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, (void *)8, NULL, 8));
	SHOW(syscall(SYS_rt_sigprocmask, 7, &set, NULL, 8));
	SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 4));
	SHOW(syscall(SYS_rt_sigprocmask, 7, NULL, NULL, 8));
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, &old);
	uint64_t bits = 0;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &bits, 8);
	printf("full mask %#lx\n", bits);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* --- flags --- */

static void nest(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	if (++depth < 3)
		raise(signal);
}

static void flags(void)
{
	struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER}, now;

	on(SIGUSR1, SA_NODEFER, nest);
	depth = 0;
	raise(SIGUSR1);
	told("nodefer nests");
	on(SIGUSR1, 0, nest);
	depth = 0;
	raise(SIGUSR1);
	told("deferred: one after another");
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	sigaction(SIGUSR1, NULL, &now);
	printf("after resethand: default %d, flags %#x\n", now.sa_handler == SIG_DFL, now.sa_flags & ~0x04000000);
	told("resethand");

	/* sa_mask holds others back */
	memset(&action, 0, sizeof(action));
	action.sa_sigaction = nest;
	action.sa_flags = SA_SIGINFO;
	sigaddset(&action.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &action, NULL);
	on(SIGUSR2, 0, note);
	depth = 2;
	kill(getpid(), SIGUSR1);
	depth = 0;
	told("mask");

	/* A signal that becomes ignored is forgotten. */
	sigset_t set = set_of(SIGUSR2, 0), old;
	sigprocmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR2);
	printf("pending %#lx\n", pending_bits());
	signal(SIGUSR2, SIG_IGN);
	printf("pending %#lx\n", pending_bits());
	kill(getpid(), SIGUSR2);
	printf("pending while ignored and blocked %#lx\n", pending_bits());
	on(SIGUSR2, 0, note);
	sigprocmask(SIG_SETMASK, &old, NULL);
	told("was ignored");
}

/* --- restarts --- */

static void alarm_in_ms(int ms)
{
	struct itimerval t = {.it_value = {ms / 1000, ms % 1000 * 1000}};

	setitimer(ITIMER_REAL, &t, NULL);
}

static int restart_pipe[2];

static void wake_by_byte(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	if (write(restart_pipe[1], "x", 1) != 1)
		abort();
}

static void restarts(void)
{
	char c;
	struct timespec t = {0, 50 * 1000 * 1000}, left = {9, 9}, start, end;
	struct pollfd poll_fd;
	sigset_t none;
	siginfo_t info;

	CHECK(pipe(restart_pipe) == 0);
	sigemptyset(&none);
	on(SIGALRM, 0, note);
	alarm_in_ms(20);
	SHOW(read(restart_pipe[0], &c, 1));
	told("read, no restart");
	on(SIGALRM, SA_RESTART, wake_by_byte);
	alarm_in_ms(20);
	SHOW(read(restart_pipe[0], &c, 1));
	told("read, restart");

	on(SIGALRM, SA_RESTART, note);
	alarm_in_ms(20);
	t.tv_sec = 5;
	SHOW(nanosleep(&t, &left));
	CHECK(left.tv_sec >= 4 && left.tv_sec <= 5);
	told("nanosleep is never restarted by a handler");
	alarm_in_ms(20);
	SHOW(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &left));
	told("clock_nanosleep");
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += 5;
	alarm_in_ms(20);
	SHOW(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, &left));
	told("clock_nanosleep absolute");

	poll_fd = (struct pollfd){.fd = restart_pipe[0], .events = POLLIN};
	alarm_in_ms(20);
	SHOW(poll(&poll_fd, 1, -1));
	told("poll");
	alarm_in_ms(20);
	SHOW(sigsuspend(&none));
	told("sigsuspend");
	alarm_in_ms(20);
	SHOW(pause());
	told("pause");
	sigset_t set = set_of(SIGUSR2, 0);
	alarm_in_ms(20);
	SHOW(sigwaitinfo(&set, &info));
	told("sigwaitinfo");
	uint32_t word = 0;
	alarm_in_ms(20);
	t = (struct timespec){5, 0};
	SHOW(syscall(SYS_futex, &word, 128, 0, &t));
	told("futex with timeout");

	/* wait4 goes on with SA_RESTART */
	pid_t child = fork();
	if (!child) {
		usleep(60 * 1000);
		_exit(3);
	}
	alarm_in_ms(20);
	int status = 0;
	pid_t got = waitpid(child, &status, 0);
	printf("waited %d status %#x\n", got == child, status);
	told("wait4, restart");
	child = fork();
	if (!child) {
		usleep(60 * 1000);
		_exit(3);
	}
	on(SIGALRM, 0, note);
	alarm_in_ms(20);
	SHOW(waitpid(child, &status, 0));
	waitpid(child, &status, 0);
	told("wait4, no restart");

	/* A stop and a continue without a handler: nobody notices, the sleep lasts as long as asked. */
	child = fork();
	if (!child) {
		t = (struct timespec){0, 300 * 1000 * 1000};
		clock_gettime(CLOCK_MONOTONIC, &start);
		int result = nanosleep(&t, NULL);
		clock_gettime(CLOCK_MONOTONIC, &end);
		long ms = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
		_exit(result == 0 && ms >= 299 ? 0 : 1);
	}
	usleep(50 * 1000);
	kill(child, SIGSTOP);
	waitpid(child, &status, WUNTRACED);
	printf("stopped %d by %d\n", WIFSTOPPED(status), WSTOPSIG(status));
	usleep(50 * 1000);
	kill(child, SIGCONT);
	waitpid(child, &status, WCONTINUED);
	printf("continued %d\n", WIFCONTINUED(status));
	waitpid(child, &status, 0);
	printf("slept all of it: %#x\n", status);
}

/* --- the alternate stack --- */

static char alternate[65536];
static stack_t during;
static void *volatile stack_address;

static void on_stack(int signal, siginfo_t *info, void *context)
{
	char here;

	note(signal, info, context);
	stack_address = &here;
	sigaltstack(NULL, &during);
}

static bool in_alternate(void)
{
	return (char *)stack_address >= alternate && (char *)stack_address < alternate + sizeof(alternate);
}

static sigjmp_buf jump;

static void overflow_handler(int signal, siginfo_t *info, void *context)
{
	(void)context;
	seen_code = info->si_code;
	siglongjmp(jump, signal);
}

static volatile int sink;

static __attribute__((noinline, noclone)) int overflow(int n)
{
	volatile char room[4096];

	room[0] = n;
	sink = overflow(n + 1) + room[0];
	return sink;
}

static void altstack(void)
{
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)}, old;

	SHOW(sigaltstack(NULL, &old));
	printf("flags %d\n", old.ss_flags);
	stack.ss_size = 1000;
	SHOW(sigaltstack(&stack, NULL));
	stack.ss_size = sizeof(alternate);
	stack.ss_flags = 77;
	SHOW(sigaltstack(&stack, NULL));
	stack.ss_flags = 0;
	SHOW(sigaltstack(&stack, NULL));
	on(SIGUSR1, SA_ONSTACK, on_stack);
	raise(SIGUSR1);
	printf("on it %d, flags during %d\n", in_alternate(), during.ss_flags);
	on(SIGUSR1, 0, on_stack);
	raise(SIGUSR1);
	printf("on it %d, flags during %d\n", in_alternate(), during.ss_flags);

	on(SIGSEGV, SA_ONSTACK, overflow_handler);
	int signal = sigsetjmp(jump, 1);
	if (!signal)
		overflow(0);
	printf("stack overflow: signal %d code %d\n", signal, seen_code);
	sigaltstack(NULL, &old);
	printf("after the jump: flags %d\n", old.ss_flags);

	stack.ss_flags = 1 << 31; /* SS_AUTODISARM */
	SHOW(sigaltstack(&stack, NULL));
	on(SIGUSR1, SA_ONSTACK, on_stack);
	raise(SIGUSR1);
	printf("autodisarm: on it %d, flags during %d\n", in_alternate(), during.ss_flags);
	sigaltstack(NULL, &old);
	printf("and after %#x, size %zu\n", old.ss_flags, old.ss_size);
	stack.ss_flags = SS_DISABLE;
	SHOW(sigaltstack(&stack, NULL));
	signal = 0;
	told("altstack");
}

/* --- faults --- */

static volatile uintptr_t fault_address, fault_pc;

static void fault_handler(int signal, siginfo_t *info, void *context)
{
	seen_code = info->si_code;
	fault_address = (uintptr_t)info->si_addr;
	fault_pc = ((ucontext_t *)context)->uc_mcontext.pc;
	siglongjmp(jump, signal);
}

static void fault(const char *what, void (*action)(char *), char *at)
{
	int signal;

	seen_code = 0;
	fault_address = 0;
	signal = sigsetjmp(jump, 1);
	if (!signal)
		action(at);
	printf("%s: signal %d code %d address %s\n", what, signal, seen_code,
		fault_address == (uintptr_t)at ? "as expected" : fault_address == fault_pc ? "pc" : "other");
}

static void do_read(char *at)
{
	sink = *(volatile char *)at;
}
static void do_write(char *at)
{
	*(volatile char *)at = 1;
}
static void do_jump(char *at)
{
	((void (*)(void))at)();
}
static void do_brk(char *at)
{
	(void)at;
	__asm__ volatile("brk #1");
}
static void do_undefined(char *at)
{
	(void)at;
	__asm__ volatile(".inst 0x00000000");
}
static void do_privileged(char *at)
{
	(void)at;
	__asm__ volatile("mrs x0, vbar_el1" : : : "x0");
}

static void faults(void)
{
	char *none = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *readable, *past;
	int fd = open("signals-file", O_CREAT | O_RDWR | O_TRUNC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, 100) == 0);
	readable = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	past = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (int signal = 1; signal < 32; signal++)
		if (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGTRAP || signal == SIGFPE)
			on(signal, 0, fault_handler);
	fault("read of nothing", do_read, (char *)16);
	fault("read beyond user memory", do_read, (char *)0xffff000000001000ul);
	fault("read without right", do_read, none);
	fault("write without right", do_write, readable);
	fault("execute without right", do_jump, readable);
	fault("execute nothing", do_jump, (char *)0x1000);
	fault("execute odd", do_jump, readable + 2);
	fault("beyond the file", do_read, past + 4096);
	fault("write beyond the file", do_write, past + 8192);
	fault("brk", do_brk, NULL);
	fault("undefined", do_undefined, NULL);
	fault("privileged", do_privileged, NULL);
	close(fd);
	unlink("signals-file");

	/* Blocked or ignored, a fault kills. */
	for (int way = 0; way < 3; way++) {
		pid_t child = fork();
		if (!child) {
			struct rlimit no_core = {0, 0};
			sigset_t set = set_of(SIGSEGV, 0);

			setrlimit(RLIMIT_CORE, &no_core);
			if (way == 0)
				signal(SIGSEGV, SIG_IGN);
			else if (way == 1)
				sigprocmask(SIG_BLOCK, &set, NULL);
			else
				signal(SIGSEGV, SIG_DFL);
			do_read((char *)16);
			_exit(0);
		}
		int status;
		waitpid(child, &status, 0);
		printf("killed by %d\n", WTERMSIG(status));
	}
	/* kill(SIGSEGV) of a process that ignores it does nothing. */
	signal(SIGSEGV, SIG_IGN);
	SHOW(kill(getpid(), SIGSEGV));
	signal(SIGSEGV, SIG_DFL);
}

/* --- waiting for signals --- */

static void waits(void)
{
	sigset_t set = set_of(SIGUSR1, SIGRTMIN + 2), old;
	siginfo_t info;
	struct timespec zero = {0, 0}, bad = {0, -1}, some = {0, 20 * 1000 * 1000};
	struct signalfd_siginfo from_fd;

	on(SIGUSR1, 0, note);
	sigprocmask(SIG_BLOCK, &set, &old);
	SHOW(sigtimedwait(&set, &info, &zero));
	SHOW(sigtimedwait(&set, &info, &some));
	SHOW(sigtimedwait(&set, &info, &bad));
	kill(getpid(), SIGUSR1);
	sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 42});
	SHOW(sigtimedwait(&set, &info, &zero));
	printf("code %d own %d\n", info.si_code, info.si_pid == getpid());
	SHOW(sigwaitinfo(&set, &info));
	printf("code %d value %d\n", info.si_code, info.si_value.sival_int);
	SHOW(sigtimedwait(&set, &info, &zero));

	pid_t child = fork();
	if (!child) {
		usleep(30 * 1000);
		sigqueue(getppid(), SIGRTMIN + 2, (union sigval){.sival_int = 7});
		_exit(0);
	}
	SHOW(sigwaitinfo(&set, &info));
	printf("from child %d value %d\n", info.si_pid == child, info.si_value.sival_int);
	waitpid(child, NULL, 0);
	told("none of them was handled");

	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	CHECK(fd >= 0);
	SHOW(read(fd, &from_fd, sizeof(from_fd)));
	SHOW(read(fd, &from_fd, 10));
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	SHOW(poll(&poll_fd, 1, 0));
	sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 9});
	kill(getpid(), SIGUSR1);
	SHOW(poll(&poll_fd, 1, 0));
	struct signalfd_siginfo two[3];
	long n = read(fd, two, sizeof(two));
	printf("read %ld: %u code %d, %u code %d int %d\n", n / (long)sizeof(two[0]), two[0].ssi_signo, two[0].ssi_code,
		two[1].ssi_signo, two[1].ssi_code, two[1].ssi_int);
	SHOW(signalfd(0, &set, 0));
	SHOW(signalfd(fd, &set, 0x1234));
	close(fd);
	sigprocmask(SIG_SETMASK, &old, NULL);
	told("nor these");

	SHOW(sigqueue(getpid(), 65, (union sigval){.sival_int = 1}));
	memset(&info, 0, sizeof(info));
	info.si_code = SI_USER;
	SHOW(syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &info));
}

/* --- threads --- */

static volatile pid_t handled_by;

static void which_thread(int signal, siginfo_t *info, void *context)
{
	note(signal, info, context);
	handled_by = gettid();
}

static volatile pid_t other;
static pthread_barrier_t barrier;

static void *thread(void *arg)
{
	sigset_t none;

	(void)arg;
	other = gettid();
	pthread_barrier_wait(&barrier);
	sigfillset(&none);
	sigdelset(&none, SIGUSR1);
	sigsuspend(&none);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void threads(void)
{
	sigset_t set = set_of(SIGUSR1, 0), old;
	pthread_t id;

	on(SIGUSR1, 0, which_thread);
	pthread_barrier_init(&barrier, NULL, 2);
	sigprocmask(SIG_BLOCK, &set, &old);
	CHECK(pthread_create(&id, NULL, thread, NULL) == 0);
	pthread_barrier_wait(&barrier);
	usleep(20 * 1000);
	kill(getpid(), SIGUSR1); /* blocked here: goes to the other */
	pthread_barrier_wait(&barrier);
	printf("handled by the other thread: %d\n", handled_by == other);
	pthread_join(id, NULL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	told("threads");
}

/* --- job control --- */

static void job_control(void)
{
	int status, p[2];
	siginfo_t info;
	pid_t child;

	CHECK(pipe(p) == 0);
	/* In a group of its own, that has us to continue it: the terminal's stops count. */
	child = fork();
	if (!child) {
		char c;

		setpgid(0, 0);

		for (;;)
			if (read(p[0], &c, 1) == 1 && c == 'q')
				_exit(5);
	}
	while (getpgid(child) != child)
		usleep(1000);
	kill(child, SIGTSTP);
	SHOW(waitpid(child, &status, WUNTRACED) == child);
	printf("status %#x\n", status);
	SHOW(waitpid(child, &status, WUNTRACED | WNOHANG));
	kill(child, SIGTERM); /* waits */
	usleep(20 * 1000);
	SHOW(waitpid(child, &status, WNOHANG));
	SHOW(waitid(P_PID, child, &info, WSTOPPED | WNOHANG));
	kill(child, SIGCONT);
	SHOW(waitpid(child, &status, 0) == child);
	printf("status %#x\n", status);

	child = fork();
	if (!child)
		for (;;)
			pause();
	kill(child, SIGSTOP);
	memset(&info, 0, sizeof(info));
	SHOW(waitid(P_PID, child, &info, WSTOPPED));
	printf("code %d status %d signo %d\n", info.si_code, info.si_status, info.si_signo);
	kill(child, SIGCONT);
	memset(&info, 0, sizeof(info));
	SHOW(waitid(P_PID, child, &info, WCONTINUED));
	printf("code %d status %d\n", info.si_code, info.si_status);
	kill(child, SIGSTOP);
	waitpid(child, &status, WUNTRACED);
	kill(child, SIGKILL); /* ends it, stopped or not */
	SHOW(waitpid(child, &status, 0) == child);
	printf("status %#x\n", status);

	/* SIGCHLD for stops, unless SA_NOCLDSTOP */
	for (int way = 0; way < 2; way++) {
		on(SIGCHLD, way ? SA_NOCLDSTOP | SA_RESTART : SA_RESTART, note);
		child = fork();
		if (!child)
			for (;;)
				pause();
		kill(child, SIGSTOP);
		waitpid(child, &status, WUNTRACED);
		kill(child, SIGCONT);
		waitpid(child, &status, WCONTINUED);
		usleep(50 * 1000); /* Linux tells of it when the child runs */
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		told(way ? "without stops" : "with stops");
	}
	signal(SIGCHLD, SIG_DFL);

	/* Stop signals of the terminal do not stop an orphaned group. */
	child = fork();
	if (!child) {
		setsid();
		raise(SIGTSTP);
		_exit(8);
	}
	waitpid(child, &status, WUNTRACED);
	printf("orphaned group: status %#x\n", status);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	basics();
	flags();
	restarts();
	altstack();
	faults();
	waits();
	threads();
	job_control();
	return CHECK_RESULT();
}
