// SPDX-License-Identifier: MIT
// deadline: 400
/*
 * Wild values to every system call number, a million calls: they end or return errors, the kernel stays up, and its
 * memory comes back.
 *
 * Workers make the calls, most without privilege, some as root (without those calls with which root may rightly
 * end the machine or the test). An argument is another seed. A timer interrupts calls that block; a worker that stands still or dies is replaced.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"
#include "meminfo.h"

#define CALLS 1000000u
#define ROOT_CALLS 100000u
#define NUMBERS 470
#define NOBODY 65534
#define STILL_MS 400
#define SLACK_KIB 8192 /* of memory: caches that a kernel may keep */
#define DIRECTORY "/tmp/wild"

static volatile uint32_t *shared_calls; /* how many were made, by all workers */
static uint64_t first_seed;
static volatile uint32_t *shared_number; /* the last one: for people, when something goes wrong */
static uint64_t seed;
static char *pages; /* four: read and write, read only, none, read and write */
static long page;

static uint64_t random_next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool is_forbidden(long number, bool root)
{
	static const short for_all[] = { SYS_exit, SYS_exit_group, SYS_rt_sigreturn };
	static const short for_root[] = { SYS_reboot, SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo,
		SYS_rt_tgsigqueueinfo, SYS_pidfd_send_signal, SYS_vhangup, SYS_ptrace, SYS_process_vm_writev, SYS_prlimit64,
		SYS_clock_settime, SYS_settimeofday, SYS_adjtimex, SYS_clock_adjtime, SYS_sched_setparam,
		SYS_sched_setscheduler, SYS_sched_setattr, SYS_setpriority, SYS_sethostname, SYS_kexec_load, SYS_swapoff,
		SYS_setrlimit, SYS_process_madvise, SYS_process_mrelease, SYS_umount2 };

	for (size_t i = 0; i < sizeof(for_all) / sizeof(for_all[0]); i++)
		if (number == for_all[i])
			return true;
	for (size_t i = 0; root && i < sizeof(for_root) / sizeof(for_root[0]); i++)
		if (number == for_root[i])
			return true;
	return false;
}

/* In order: nothing, small, descriptors, good pointers, bad ones, the kernel's half, edges, anything. */
static uint64_t wild_value(void)
{
	static const uint64_t edges[] = { ~0ull, 1ull << 63, 1ull << 31, ~0u, 1ull << 32, INT64_MAX, 1ull << 48,
		0xffff000000000000, 0xffffffc000000000, 0xdeadbeefdeadbeef, 4096, 4095, 1ull << 47, -22ull, -4096ull };
	static const char *const names[] = { "", "/", "file", "link", "directory", "pipe", "missing", "directory/..",
		"/proc/self/maps", "/proc/self/fd", "/dev/null", "/dev/tty", "/etc/passwd", "file/not", "loop" };
	uint64_t r = random_next();

	switch (r >> 8 & 15) {
	case 0:
	case 1:
		return 0;
	case 2:
	case 3:
		return r >> 16 & 7;
	case 4:
		return r >> 16 & 0xfff;
	case 5:
	case 6:
		return r >> 16 & 15; /* descriptors */
	case 7:
		return (uint64_t)pages + (r >> 16 & 0xff8);
	case 8:
		return (uint64_t)pages + 2 * page - 1 - (r >> 16 & 63); /* read only, and where it ends */
	case 9:
		return (uint64_t)pages + 2 * page + (r >> 16 & 0xfff);
	case 10:
		return (uint64_t)strcpy(pages + page - 64, names[(r >> 16) % (sizeof(names) / sizeof(names[0]))]);
	case 11:
		return (uint64_t)pages + page - (r >> 16 & 31);
	case 12:
		return edges[(r >> 16) % (sizeof(edges) / sizeof(edges[0]))];
	case 13:
		return 1ull << (r >> 16 & 63);
	case 14:
		return (uint64_t)(-100 + (int64_t)(r >> 16 & 127)); /* AT_FDCWD and its like */
	default:
		return random_next();
	}
}

static void on_alarm(int number)
{
	(void)number;
}

static void limit(int resource, rlim_t value)
{
	struct rlimit limits = { value, value };

	setrlimit(resource, &limits);
}

/* What a worker has open: 3.. file, directory, pipe, sockets, null, and its own maps. */
static void worker_files(void)
{
	int fds[2];

	open("file", O_RDWR);
	open("directory", O_RDONLY | O_DIRECTORY);
	if (pipe2(fds, O_NONBLOCK))
		_exit(1);
	socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
	open("/dev/null", O_RDWR);
	open("/proc/self/maps", O_RDONLY);
}

static void worker_prepare(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = { { 0, 3000 }, { 0, 3000 } };

	if (chdir(DIRECTORY))
		_exit(1);
	worker_files();
	dup2(open("/dev/null", O_RDWR), 0);
	dup2(0, 1);
	dup2(0, 2);
	page = sysconf(_SC_PAGESIZE);
	pages = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(pages, 0x5a, 4 * page);
	mprotect(pages + page, page, PROT_READ);
	mprotect(pages + 2 * page, page, PROT_NONE);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	limit(RLIMIT_AS, 64 << 20);
	limit(RLIMIT_FSIZE, 1 << 20);
	limit(RLIMIT_NPROC, 40);
	limit(RLIMIT_NOFILE, 200);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_MEMLOCK, 1 << 20);
}

static void __attribute__((noreturn)) worker(uint64_t start, unsigned int calls, bool root)
{
	seed = (start + first_seed * 1000000007) * 0x9e3779b97f4a7c15 + 1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	worker_prepare();
	if (!root && (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)))
		_exit(1);
	for (unsigned int i = 0; i < calls; i++) {
		long number = (long)(random_next() % NUMBERS);
		uint64_t a[6];

		for (int j = 0; j < 6; j++)
			a[j] = wild_value();
		if (is_forbidden(number, root))
			continue;
		*shared_number = (uint32_t)number;
		long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
		__atomic_fetch_add(shared_calls, 1, __ATOMIC_RELAXED);
		if ((number == SYS_clone || number == SYS_clone3) && result == 0)
			syscall(SYS_exit_group, 0);
	}
	syscall(SYS_exit_group, 0);
	__builtin_unreachable();
}

static void pause_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

/* Ends everything that runs as nobody: what wild calls have left behind. */
static void sweep(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (setresuid(NOBODY, NOBODY, NOBODY))
			_exit(1);
		kill(-1, SIGKILL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void round_of_calls(unsigned int calls, bool root)
{
	unsigned int goal = *shared_calls + calls;
	unsigned int workers = 0;

	for (uint64_t start = root ? 1000000 : 1; *shared_calls < goal; start++) {
		pid_t pid = fork();
		uint32_t last = *shared_calls;
		int still = 0;

		if (pid == 0)
			worker(start, 5000, root);
		CHECK(pid > 0);
		if (pid < 0)
			return;
		if (++workers % 100 == 0)
			fprintf(stderr, "%u calls\n", *shared_calls);
		while (waitpid(pid, NULL, WNOHANG) == 0) {
			pause_ms(10);
			still = *shared_calls == last ? still + 10 : 0;
			last = *shared_calls;
			if (still >= STILL_MS) {
				kill(pid, SIGCONT);
				kill(pid, SIGKILL);
				still = 0;
			}
		}
		sweep();
	}
	fprintf(stderr, "%u calls%s by %u workers\n", calls, root ? " as root" : "", workers);
}

static void files_make(void)
{
	mkdir(DIRECTORY, 0755);
	CHECK(chdir(DIRECTORY) == 0);
	close(open("file", O_RDWR | O_CREAT, 0666));
	chmod("file", 0666);
	mkdir("directory", 0755);
	CHECK(chmod("directory", 0777) == 0);
	CHECK(symlink("file", "link") == 0);
	CHECK(symlink("loop", "loop") == 0);
	CHECK(mkfifo("pipe", 0666) == 0);
	CHECK(chdir("/") == 0);
}

/* What rightly outlives its maker. */
static void objects_remove(void)
{
	struct shmid_ds segment;
	struct msqid_ds queue;
	struct semid_ds set;
	int id;

	for (int i = 0; i < 4096; i++) {
		if ((id = shmctl(i, SHM_STAT, &segment)) >= 0)
			shmctl(id, IPC_RMID, NULL);
		if ((id = msgctl(i, MSG_STAT, &queue)) >= 0)
			msgctl(id, IPC_RMID, NULL);
		if ((id = semctl(i, 0, SEM_STAT, &set)) >= 0)
			semctl(id, 0, IPC_RMID);
	}
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
	if (fd >= 0) {
		if (write(fd, "3", 1) != 1)
			perror("drop_caches");
		close(fd);
	}
}

int main(int argc, char **argv)
{
	long before, after;

	setvbuf(stdout, NULL, _IOLBF, 0);
	first_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	volatile uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	shared_calls = shared;
	shared_number = shared + 1;
	files_make();
	/* The first calls make the kernel load and cache what stays. */
	round_of_calls(20000, false);
	objects_remove();
	before = memory_available();
	round_of_calls(CALLS - ROOT_CALLS, false);
	round_of_calls(ROOT_CALLS, true);
	printf("the kernel is up\n");
	objects_remove();
	for (int tries = 0; tries < 50; tries++) {
		after = memory_available();
		if (after > before - SLACK_KIB)
			break;
		pause_ms(100);
	}
	fprintf(stderr, "available: %ld KiB before, %ld KiB after\n", before, after);
	CHECK(before > 0 && after > before - SLACK_KIB);
	printf("its memory came back\n");
	return CHECK_RESULT();
}
