/* SPDX-License-Identifier: MIT */
// deadline: 120
// variants: linux-bare direct-cpus8 gic3
/*
 * Everything at once, on all CPUs: forks, execs, mappings, futexes, pipes, files and signals, chosen by a seed, each checked by
 * who does it. stress [SEED [SECONDS]]; `make stress` runs it for minutes. Says only that all went well.
 */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 6

static uint64_t state;
static double end;
static char directory[64];
static volatile sig_atomic_t signals;

static uint32_t number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int end_of(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* All of it, however it is cut to pieces. */
static ssize_t all(int fd, char *buf, size_t n, int writing)
{
	size_t done = 0;

	while (done < n) {
		ssize_t k = writing ? write(fd, buf + done, n - done) : read(fd, buf + done, n - done);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		done += (size_t)k;
	}
	return (ssize_t)done;
}

static void fill(char *buf, size_t n, uint32_t key)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)(key + i * 31 + (i >> 9));
}

static void do_exec(void)
{
	char code[8];
	int wanted = (int)(number() % 100);
	pid_t pid = fork();

	if (!pid) {
		snprintf(code, sizeof(code), "%d", wanted);
		execl("/proc/self/exe", "stress", "exit", code, (char *)NULL);
		_exit(126);
	}
	int status = end_of(pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == wanted);
}

static void do_pipe(void)
{
	static char out[70000], in[70000];
	size_t n = 1 + number() % sizeof(out);
	int fds[2];
	pid_t pid;

	fill(out, n, number());
	CHECK(!pipe(fds));
	pid = fork();
	if (!pid)
		_exit(all(fds[1], out, n, 1) != (ssize_t)n);
	close(fds[1]);
	CHECK(all(fds[0], in, n, 0) == (ssize_t)n && !memcmp(in, out, n));
	close(fds[0]);
	CHECK(end_of(pid) == 0);
}

/* Copy on write: neither sees what the other stores. */
static void do_mapping(void)
{
	size_t pages = 1 + number() % 200, at = number() % pages * 4096;
	char *p = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), key = (char)number();
	pid_t pid;

	CHECK(p != MAP_FAILED);
	for (size_t i = 0; i < pages; i++)
		p[i * 4096] = (char)(key + i);
	pid = fork();
	if (!pid) {
		for (size_t i = 0; i < pages; i++)
			if (p[i * 4096] != (char)(key + i))
				_exit(1);
		memset(p, 0x55, pages * 4096);
		munmap(p + at, 4096);
		_exit(0);
	}
	p[at + 1] = 77;
	CHECK(!mprotect(p, pages * 4096, PROT_READ));
	CHECK(end_of(pid) == 0);
	for (size_t i = 0; i < pages; i++)
		CHECK(p[i * 4096] == (char)(key + i));
	CHECK(p[at + 1] == 77 && !munmap(p, pages * 4096));
}

/* --- threads hand a turn round --- */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn, members, rounds;

static void *member(void *arg)
{
	int me = (int)(long)arg;

	for (int i = 0; i < rounds; i++) {
		pthread_mutex_lock(&lock);
		while (turn % members != me)
			pthread_cond_wait(&turned, &lock);
		turn++;
		pthread_cond_broadcast(&turned);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void do_threads(void)
{
	pthread_t threads[8];

	turn = 0;
	members = 2 + (int)(number() % 7);
	rounds = 1 + (int)(number() % 40);
	for (int i = 0; i < members; i++)
		CHECK(!pthread_create(&threads[i], NULL, member, (void *)(long)i));
	for (int i = 0; i < members; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(turn == members * rounds);
}

static void do_file(void)
{
	static char out[200000], in[200000];
	size_t n = 1 + number() % sizeof(out), cut = number() % n;
	char name[96], other[96];
	struct stat st;
	int fd;

	snprintf(name, sizeof(name), "%s/%u", directory, number() % 20);
	snprintf(other, sizeof(other), "%s/moved", directory);
	fill(out, n, number());
	fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0600);
	CHECK(fd >= 0 && all(fd, out, n, 1) == (ssize_t)n);
	if (number() % 8 == 0)
		CHECK(!fsync(fd));
	if (number() % 2) {
		char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		CHECK(p != MAP_FAILED);
		p[cut] = out[cut] = (char)number();
		CHECK(!munmap(p, n));
	}
	CHECK(!rename(name, other));
	CHECK(pread(fd, in, n, 0) == (ssize_t)n && !memcmp(in, out, n));
	CHECK(!ftruncate(fd, (off_t)cut) && !fstat(fd, &st) && st.st_size == (off_t)cut);
	CHECK(pread(fd, in, n, 0) == (ssize_t)cut && !memcmp(in, out, cut));
	close(fd);
	CHECK(number() % 2 ? !unlink(other) : !rename(other, name));
}

static void on_signal(int signal)
{
	signals += signal == SIGUSR1;
}

static void do_signals(void)
{
	int n = 1 + (int)(number() % 20), before = signals;
	pid_t pid = fork();

	if (!pid) {
		/* One at a time: each is there before kill returns. */
		for (int i = 0; i < n; i++)
			kill(getpid(), SIGUSR1);
		_exit(signals - before != n);
	}
	if (number() % 2) {
		kill(pid, SIGSTOP);
		kill(pid, SIGCONT);
	}
	CHECK(end_of(pid) == 0);
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	kill(pid, SIGKILL);
	int status = end_of(pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void worker(uint64_t seed)
{
	static void (*const works[])(void) = {do_exec, do_pipe, do_mapping, do_threads, do_file, do_signals};
	struct itimerval tick = {{0, 7000}, {0, 7000}};

	state = seed;
	snprintf(directory, sizeof(directory), "/root/stress.%d", getpid());
	CHECK(!mkdir(directory, 0700));
	signal(SIGALRM, on_signal);
	if (number() % 2)
		setitimer(ITIMER_REAL, &tick, NULL);
	while (now() < end && !check_failures)
		works[number() % (sizeof(works) / sizeof(*works))]();
	memset(&tick, 0, sizeof(tick));
	setitimer(ITIMER_REAL, &tick, NULL);
	for (int i = 0; i < 21; i++) {
		char name[96];

		snprintf(name, sizeof(name), i < 20 ? "%s/%d" : "%s/moved", directory, i);
		unlink(name);
	}
	CHECK(!rmdir(directory));
	fflush(stdout);
	_exit(check_failures != 0);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	pid_t pids[WORKERS];
	int bad = 0;

	if (argc > 2 && !strcmp(argv[1], "exit"))
		return atoi(argv[2]);
	end = now() + (argc > 2 ? atof(argv[2]) : 8);
	signal(SIGUSR1, on_signal);
	for (int i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (!pids[i])
			worker(seed * 1000003 + (uint64_t)i * 7919 + 1);
	}
	for (int i = 0; i < WORKERS; i++)
		bad += end_of(pids[i]) != 0;
	CHECK(!bad);
	printf("all went well\n");
	return CHECK_RESULT();
}
