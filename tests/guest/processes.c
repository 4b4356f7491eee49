// SPDX-License-Identifier: MIT
// cflags: -Wno-stringop-overflow
// Processes: fork, clone, vfork, wait in all its forms, groups and sessions, orphans, limits, identities, clocks' calls.
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <sys/personality.h>
#include <sys/sysinfo.h>
#include <sys/random.h>
#include <unistd.h>
#include "check.h"

static void report(const char *what, pid_t pid)
{
	int status = 0;

	CHECK(waitpid(pid, &status, 0) == pid);
	printf("%s: %#x\n", what, status);
}

static void forks(void)
{
	int value = 1, p[2];
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		value = 2;
		_exit(value + 40);
	}
	report("exit code", child);
	printf("own copy: %d\n", value);
	child = vfork();
	if (!child) {
		value = 3;
		_exit(0);
	}
	report("vfork", child);
	printf("shared memory: %d\n", value);
	for (int signal = 1; signal < 32; signal++) {
		if (signal == SIGSTOP || signal == SIGCONT || signal == SIGCHLD || signal == SIGTSTP || signal == SIGTTIN ||
			signal == SIGTTOU || signal == SIGURG || signal == SIGWINCH)
			continue;
		child = fork();
		if (!child) {
			struct rlimit none = {0, 0};

			setrlimit(RLIMIT_CORE, &none);
			kill(getpid(), signal);
			for (;;)
				pause();
		}
		int status;
		CHECK(waitpid(child, &status, 0) == child);
		printf("%d:%d ", signal, WIFSIGNALED(status) ? WTERMSIG(status) : -1);
	}
	printf("\n");
	/* A child sees its parent's descriptors and places. */
	CHECK(pipe(p) == 0);
	child = fork();
	if (!child) {
		close(p[0]);
		_exit(write(p[1], "child", 5) == 5 ? lseek(p[1], 0, SEEK_CUR) == -1 : 9);
	}
	close(p[1]);
	char buffer[10] = "";
	SHOW(read(p[0], buffer, sizeof(buffer)));
	SHOW(read(p[0], buffer, sizeof(buffer)));
	close(p[0]);
	report("pipe", child);
}

static void waits(void)
{
	int status;
	siginfo_t info;
	struct rusage usage;
	pid_t child, other;

	SHOW(waitpid(-1, &status, 0));
	SHOW(waitpid(-1, &status, WNOHANG));
	SHOW(waitpid(getpid(), &status, 0));
	SHOW(waitpid(1 << 30, &status, 0));
	SHOW(wait4(-1, &status, 0x100, NULL));
	SHOW(waitid(P_ALL, 0, &info, 0));
	SHOW(waitid(P_ALL, 0, &info, WEXITED));
	SHOW(waitid(77, 0, &info, WEXITED));
	SHOW(waitid(P_PID, -1, &info, WEXITED));
	SHOW(waitid(P_PIDFD, 0, &info, WEXITED));
	SHOW(waitpid(INT32_MIN, &status, 0));

	child = fork();
	if (!child)
		_exit(7);
	memset(&info, 0, sizeof(info));
	SHOW(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
	printf("signo %d code %d status %d mine %d uid %d\n", info.si_signo, info.si_code, info.si_status, info.si_pid == child,
		info.si_uid == getuid());
	SHOW(waitid(P_PID, child, &info, WEXITED | WNOHANG));
	memset(&info, 1, sizeof(info));
	SHOW(waitid(P_PID, child, &info, WEXITED | WNOHANG));

	child = fork();
	if (!child)
		for (;;)
			pause();
	memset(&info, 1, sizeof(info));
	SHOW(waitid(P_ALL, 0, &info, WEXITED | WNOHANG));
	printf("nothing yet: pid %d signo %d\n", info.si_pid, info.si_signo);
	SHOW(waitpid(child, &status, WNOHANG));
	kill(child, SIGKILL);
	SHOW(wait4(child, &status, 0, &usage) == child);
	printf("%#x usage %d\n", status, usage.ru_maxrss >= 0);

	/* by group */
	child = fork();
	if (!child) {
		setpgid(0, 0);
		_exit(1);
	}
	setpgid(child, child);
	other = fork();
	if (!other)
		_exit(2);
	SHOW(waitpid(-child, &status, 0) == child);
	SHOW(waitpid(0, &status, 0) == other);
	SHOW(waitpid(0, &status, 0));

	/* Children that nobody wants to hear of go by themselves. */
	signal(SIGCHLD, SIG_IGN);
	child = fork();
	if (!child)
		_exit(3);
	SHOW(waitpid(child, &status, 0));
	signal(SIGCHLD, SIG_DFL);
	struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
	sigaction(SIGCHLD, &action, NULL);
	child = fork();
	if (!child)
		_exit(3);
	SHOW(waitpid(child, &status, 0));
	signal(SIGCHLD, SIG_DFL);

	/* a clone child */
	child = syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (!child)
		_exit(4);
	usleep(30000);
	SHOW(waitpid(child, &status, 0));
	SHOW(waitpid(child, &status, __WCLONE) == child);
	signal(SIGUSR2, SIG_IGN);
	child = syscall(SYS_clone, SIGUSR2, 0, 0, 0, 0);
	if (!child)
		_exit(4);
	usleep(30000);
	SHOW(waitpid(child, &status, __WALL) == child);
	signal(SIGUSR2, SIG_DFL);

	/* An exit status that cannot be written is lost, as the child is. */
	child = fork();
	if (!child)
		_exit(5);
	SHOW(syscall(SYS_wait4, child, 8, 0, NULL));
	SHOW(waitpid(child, &status, 0));
}

static void orphans(void)
{
	int p[2], status;
	pid_t child;
	char c;
	struct pid {
		pid_t self, parent;
	} told;

	CHECK(pipe(p) == 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	int value = 0;
	prctl(PR_GET_CHILD_SUBREAPER, &value);
	printf("subreaper %d\n", value);
	child = fork();
	if (!child) {
		pid_t grandchild = fork();

		if (!grandchild) {
			while (getppid() != 1 && kill(getppid(), 0) == 0 && usleep(1000) == 0) {
				static int n;

				if (n++ > 60)
					break;
			}
			told = (struct pid){getpid(), getppid()};
			CHECK(write(p[1], &told, sizeof(told)) == sizeof(told));
			_exit(6);
		}
		_exit(0);
	}
	report("child", child);
	SHOW(read(p[0], &told, sizeof(told)));
	printf("the grandchild's parent is the subreaper: %d\n", told.parent == getpid());
	SHOW(waitpid(told.self, &status, 0) == told.self);
	printf("%#x\n", status);
	prctl(PR_SET_CHILD_SUBREAPER, 0);

	/* The death of the parent as a signal. */
	child = fork();
	if (!child) {
		pid_t grandchild = fork();

		if (!grandchild) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			CHECK(write(p[1], "r", 1) == 1);
			for (;;)
				pause();
		}
		CHECK(read(p[0], &c, 1) == 1);
		_exit(0);
	}
	report("parent of a bound child", child);
	close(p[1]);
	SHOW(read(p[0], &c, 1)); /* the last writer was killed */
	close(p[0]);

	/* A stopped member of a group that becomes an orphan gets SIGHUP and SIGCONT. */
	CHECK(pipe(p) == 0);
	child = fork();
	if (!child) {
		setsid();
		pid_t grandchild = fork();

		if (!grandchild) {
			setpgid(0, 0);
			raise(SIGSTOP);
			for (;;)
				pause();
		}
		waitpid(grandchild, &status, WUNTRACED);
		_exit(WIFSTOPPED(status) ? 0 : 1);
	}
	report("leader", child);
	close(p[1]);
	SHOW(read(p[0], &c, 1));
	close(p[0]);
}

static void sessions(void)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		pid_t me = getpid(), own;

		SHOW(setsid() == me);
		SHOW(getsid(0) == me);
		SHOW(getpgid(0) == me);
		SHOW(setsid());
		SHOW(setpgid(0, 0));
		SHOW(setpgid(0, 1));
		SHOW(setpgid(1, 1));
		SHOW(setpgid(0, -1));
		SHOW(setpgid(1 << 30, 0));
		SHOW(getpgid(1 << 30));
		SHOW(getsid(1 << 30));
		own = fork();
		if (!own)
			for (;;)
				pause();
		SHOW(setpgid(own, own));
		SHOW(getpgid(own) == own);
		SHOW(setpgid(own, 0x3fffff));
		SHOW(setpgid(own, me));
		SHOW(getpgid(own) == me);
		SHOW(setpgid(own, own));
		SHOW(kill(-own, 0));
		SHOW(kill(-own, SIGTERM));
		SHOW(waitpid(-own, &status, 0) == own);
		SHOW(kill(-own, 0));
		fflush(stdout);
		_exit(0);
	}
	report("session", child);
}

/* --- clone and clone3 --- */

static long clone3(struct clone_args *args, size_t size)
{
	return syscall(SYS_clone3, args, size);
}

static void clones(void)
{
	struct clone_args args = {.exit_signal = SIGCHLD};
	char big[256] = "";
	int pidfd = -1, status;
	pid_t tid = 0, child;

	SHOW(clone3(&args, 8));
	SHOW(clone3(&args, 10000));
	SHOW(clone3(NULL, sizeof(args)));
	memcpy(big, &args, sizeof(args));
	big[200] = 1;
	SHOW(clone3((void *)big, sizeof(big)));
	args.flags = CLONE_THREAD;
	SHOW(clone3(&args, sizeof(args)));
	args.flags = CLONE_SIGHAND;
	SHOW(clone3(&args, sizeof(args)));
	args.flags = CLONE_FS | CLONE_NEWNS;
	SHOW(clone3(&args, sizeof(args)));
	args.flags = 0;
	args.exit_signal = 100;
	SHOW(clone3(&args, sizeof(args)));
	args.exit_signal = SIGCHLD;
	args.stack = 4096;
	SHOW(clone3(&args, sizeof(args)));
	args.stack = 0;
	args.flags = CLONE_DETACHED;
	SHOW(clone3(&args, sizeof(args)));
	args.flags = CLONE_PIDFD | CLONE_PARENT_SETTID;
	args.pidfd = (uintptr_t)&pidfd;
	args.parent_tid = (uintptr_t)&tid;
	fflush(stdout);
	child = clone3(&args, sizeof(args));
	if (!child)
		_exit(9);
	CHECK(child > 0 && tid == child && pidfd >= 0);
	printf("pidfd close on exec %d\n", fcntl(pidfd, F_GETFD));
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
	SHOW(poll(&poll_fd, 1, 5000));
	siginfo_t info = {0};
	SHOW(waitid(P_PIDFD, pidfd, &info, WEXITED));
	printf("status %d\n", info.si_status);
	SHOW(syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0));
	close(pidfd);

	SHOW(syscall(SYS_pidfd_open, 1 << 30, 0));
	SHOW(syscall(SYS_pidfd_open, 0, 0));
	SHOW(syscall(SYS_pidfd_open, getpid(), 7));
	pidfd = syscall(SYS_pidfd_open, getpid(), 0);
	CHECK(pidfd >= 0);
	signal(SIGUSR1, SIG_IGN);
	SHOW(syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0));
	SHOW(syscall(SYS_pidfd_send_signal, pidfd, 99, NULL, 0));
	SHOW(syscall(SYS_pidfd_send_signal, 0, SIGUSR1, NULL, 0));
	SHOW(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0));
	close(pidfd);

	/* shared: files, fs */
	child = syscall(SYS_clone, CLONE_FILES | CLONE_FS | SIGCHLD, 0, 0, 0, 0);
	if (!child) {
		dup2(1, 77);
		umask(0123);
		chdir("/");
		_exit(0);
	}
	waitpid(child, &status, 0);
	char cwd[100];
	printf("shared: descriptor %d umask %#o cwd %s\n", fcntl(77, F_GETFD), umask(022), getcwd(cwd, sizeof(cwd)) ? cwd : "");
	close(77);
	child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (!child) {
		SHOW(unshare(CLONE_FILES));
		close(1);
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("unshared: descriptor %d\n", fcntl(1, F_GETFD));
	SHOW(unshare(0x12));
	/* the child's tid, in the child */
	static pid_t in_child;
	child = syscall(SYS_clone, CLONE_CHILD_SETTID | SIGCHLD, 0, 0, 0, &in_child);
	if (!child)
		_exit(in_child == getpid() ? 0 : 1);
	report("child tid", child);
	printf("not in the parent: %d\n", in_child);
}

/* --- threads --- */

static void *run(void *arg)
{
	return (void *)((long)arg + gettid() * 0);
}

static void *leave(void *arg)
{
	usleep((long)arg);
	_exit(11);
}

static void *exec_self(void *arg)
{
	char *argv[] = {arg, "again", NULL};

	execv(arg, argv);
	return NULL;
}

static void threads(const char *self)
{
	pthread_t id[20];
	long sum = 0;
	pid_t child;

	for (long i = 0; i < 20; i++)
		CHECK(pthread_create(&id[i], NULL, run, (void *)i) == 0);
	for (long i = 0; i < 20; i++) {
		void *result;

		CHECK(pthread_join(id[i], &result) == 0);
		sum += (long)result;
	}
	printf("sum of threads %ld\n", sum);
	fflush(stdout);
	child = fork();
	if (!child) { /* one thread ends them all */
		pthread_create(&id[0], NULL, leave, (void *)20000);
		for (;;)
			pause();
	}
	report("exit_group by another thread", child);
	child = fork();
	if (!child) { /* the first thread leaves, the others go on */
		pthread_create(&id[0], NULL, leave, (void *)50000);
		pthread_exit(NULL);
	}
	report("the first thread left", child);
	child = fork();
	if (!child) {
		pthread_create(&id[0], NULL, leave, (void *)50000000);
		pthread_create(&id[1], NULL, exec_self, (void *)self);
		for (;;)
			pause();
	}
	report("exec by another thread", child);
	child = fork();
	if (!child) {
		pthread_create(&id[0], NULL, leave, (void *)50000000);
		raise(SIGKILL);
	}
	report("all threads killed", child);
}

/* --- identities and limits --- */

static void identities(void)
{
	uid_t r, e, s;
	pid_t child;

	SHOW(getuid());
	SHOW(setuid(-1));
	SHOW(setresuid(-1, -1, -1));
	fflush(stdout);
	child = fork();
	if (!child) {
		gid_t groups[4] = {30, 10, 20, 10};
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct data[2];

		SHOW(setgroups(4, groups));
		SHOW(getgroups(0, NULL));
		SHOW(getgroups(2, groups));
		SHOW(getgroups(4, groups));
		printf("%d %d %d %d\n", groups[0], groups[1], groups[2], groups[3]);
		SHOW(syscall(SYS_capget, &header, data));
		printf("root has all: %d\n", data[0].effective == 0xffffffff);
		SHOW(setresgid(100, 101, 102));
		SHOW(setresuid(1000, 1001, 0));
		getresuid(&r, &e, &s);
		printf("%d %d %d\n", r, e, s);
		SHOW(syscall(SYS_capget, &header, data));
		printf("effective %#x permitted %d\n", data[0].effective, data[0].permitted != 0);
		SHOW(setuid(0));
		SHOW(seteuid(1000));
		SHOW(seteuid(0));
		SHOW(setresuid(1000, 1000, 1000));
		SHOW(setuid(0));
		SHOW(setgid(0));
		SHOW(setgid(102));
		SHOW(setregid(-1, 100));
		SHOW(setreuid(0, -1));
		SHOW(setgroups(0, NULL));
		SHOW(kill(1, 0));
		SHOW(sethostname("x", 1));
		SHOW(setfsuid(0));
		SHOW(setfsuid(1000));
		SHOW(setpriority(PRIO_PROCESS, 0, -5));
		SHOW(setpriority(PRIO_PROCESS, 0, 5));
		SHOW(getpriority(PRIO_PROCESS, 0));
		SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
		SHOW(prctl(PR_CAPBSET_DROP, 3, 0, 0, 0));
		SHOW(prctl(PR_CAPBSET_READ, 3, 0, 0, 0));
		SHOW(prctl(PR_CAPBSET_READ, 99, 0, 0, 0));
		fflush(stdout);
		_exit(0);
	}
	report("identities", child);
}

static void limits(void)
{
	struct rlimit limit;

	for (int i = 0; i < 16; i++) {
		CHECK(getrlimit(i, &limit) == 0);
		if (i != RLIMIT_NPROC && i != RLIMIT_SIGPENDING && i != RLIMIT_MEMLOCK && i != RLIMIT_NOFILE)
			printf("limit %d: %ld %ld\n", i, (long)limit.rlim_cur, (long)limit.rlim_max);
	}
	SHOW(getrlimit(16, &limit));
	limit = (struct rlimit){10, 5};
	SHOW(setrlimit(RLIMIT_CORE, &limit));
	limit = (struct rlimit){10, 20};
	SHOW(setrlimit(RLIMIT_FSIZE, &limit));
	limit = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	SHOW(setrlimit(RLIMIT_FSIZE, &limit));
	SHOW(syscall(SYS_prlimit64, 1 << 30, 0, NULL, &limit));
	SHOW(syscall(SYS_prlimit64, 1, 0, NULL, (void *)8));
	/* CPU time */
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		limit = (struct rlimit){1, 3};
		setrlimit(RLIMIT_CPU, &limit);
		for (;;)
			;
	}
	report("too long", child);
}

static void oddities(void)
{
	struct utsname name;
	char comm[17] = "";
	cpu_set_t set;
	unsigned int cpu = 99, node = 99;
	struct sysinfo info;
	struct tms t;

	CHECK(uname(&name) == 0);
	printf("%s %s\n", name.sysname, name.machine);
	SHOW(uname((void *)8));
	SHOW(prctl(PR_SET_NAME, "a name that is much too long"));
	SHOW(prctl(PR_GET_NAME, comm));
	printf("[%s]\n", comm);
	SHOW(prctl(PR_SET_NAME, "short"));
	SHOW(prctl(12345));
	SHOW(prctl(PR_GET_DUMPABLE));
	SHOW(prctl(PR_SET_DUMPABLE, 5));
	SHOW(prctl(PR_SET_PDEATHSIG, 65));
	SHOW(prctl(PR_GET_TIMERSLACK));
	SHOW(personality(0xffffffff));
	SHOW(sched_getscheduler(0));
	SHOW(sched_getscheduler(1 << 30));
	SHOW(sched_getscheduler(-1));
	struct sched_param param = {1};
	SHOW(sched_setscheduler(0, SCHED_OTHER, &param));
	param.sched_priority = 0;
	SHOW(sched_setscheduler(0, SCHED_FIFO, &param));
	SHOW(sched_setscheduler(0, 77, &param));
	SHOW(sched_setscheduler(0, SCHED_BATCH, &param));
	SHOW(sched_getscheduler(0));
	SHOW(sched_setscheduler(0, SCHED_OTHER, &param));
	SHOW(sched_get_priority_max(SCHED_FIFO));
	SHOW(sched_get_priority_min(SCHED_RR));
	SHOW(sched_get_priority_max(99));
	SHOW(sched_yield());
	SHOW(sched_getaffinity(0, sizeof(set), &set));
	SHOW(CPU_ISSET(0, &set));
	SHOW(syscall(SYS_sched_getaffinity, 0, 7, &set));
	CPU_ZERO(&set);
	SHOW(sched_setaffinity(0, sizeof(set), &set));
	CPU_SET(0, &set);
	SHOW(sched_setaffinity(0, sizeof(set), &set));
	SHOW(sched_setaffinity(1 << 30, sizeof(set), &set));
	SHOW(syscall(SYS_getcpu, &cpu, &node, NULL));
	printf("cpu %u node %u\n", cpu, node);
	SHOW(getpriority(PRIO_PROCESS, 1 << 30));
	SHOW(getpriority(9, 0));
	SHOW(sysinfo(&info));
	CHECK(info.totalram > 0 && info.mem_unit > 0 && info.procs > 0 && info.procs < 1000);
	CHECK(times(&t) > 0);
	SHOW(syscall(SYS_getrusage, 5, &t));
	char random[300] = "";
	SHOW(getrandom(random, sizeof(random), 0));
	SHOW(getrandom(random, 10, 0x77));
	SHOW(getrandom((void *)8, 10, 0));
	SHOW(syscall(SYS_set_robust_list, 0, 5));
	SHOW(syscall(SYS_get_robust_list, 0, (void *)8, (void *)8));
	SHOW(syscall(SYS_reboot, 1, 2, 3, 4));
	SHOW(syscall(SYS_reboot, 0xfee1dead, 672274793, 12345, 0));
	SHOW(syscall(SYS_ioprio_get, 9, 0));
	SHOW(syscall(499));
	SHOW(syscall(100000));
	SHOW(syscall(-1));
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		return getpid() == gettid() ? 12 : 13;
	forks();
	waits();
	orphans();
	sessions();
	clones();
	threads(argv[0]);
	identities();
	limits();
	oddities();
	return CHECK_RESULT();
}
