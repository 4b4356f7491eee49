// SPDX-License-Identifier: MIT
/*
 * What a request costs: one static arm64 program, the same on every system.
 *
 *     latency [-m] [-n PERCENT] [-d DEVICE] [TEST...]     all tests, or those named
 *
 * -m: marks begin and end of what is measured by supervisor calls that tests/bench/count-entries.c sees from outside.
 *
 * Prints one JSON object a test and line. Times are CLOCK_MONOTONIC in ns; `instructions` is the mean of instructions retired
 * by the whole machine a request, read from event counter 0 (virtio/include/lichen/pmu.h: under QEMU -icount it counts
 * all CPUs and exception levels; what sleeps counts nothing); `el2_entries` the mean of entries into the hypervisor, from
 * /proc/lichen/el2 (0 where there is no hypervisor). From /proc/lichen/counters, the same way: `spin`, instructions of both domains in loops that
 * wait for the other side (part of `instructions`); `interrupts`, all that Lichen took; `doorbells`, those that the driver domain
 * took for kicks; `device_interrupts`, those of the physical device. Absent figures are null.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>

#define BLOCK 4096
#define DEPTH 32
#define MAX_SAMPLES 100000

static const char *device = "/dev/vdb";
static bool marks;
static unsigned percent = 100; /* of the usual number of requests */
static uint64_t samples[MAX_SAMPLES];

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "latency: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- counters --- */

static sigjmp_buf no_counter;
static bool have_instructions;

static void on_sigill(int signal)
{
	siglongjmp(no_counter, signal);
}

static uint32_t instructions(void)
{
	uint64_t value = 0;

	if (have_instructions)
		__asm__ volatile("isb; mrs %0, pmevcntr0_el0" : "=r"(value)::"memory");
	return (uint32_t)value; /* 32 bits wide: differences are taken modulo 2^32 */
}

/* On Linux the counter is opened by a module, which is given beside the program. */
static void find_instruction_counter(void)
{
	int fd = open("/root/pmu.ko", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
			fprintf(stderr, "latency: pmu.ko: %s\n", strerror(errno));
		close(fd);
	}
	signal(SIGILL, on_sigill);
	if (!sigsetjmp(no_counter, 1)) {
		uint32_t first;

		have_instructions = true;
		first = instructions();
		for (volatile int i = 0; i < 1000; i++)
			;
		have_instructions = instructions() != first;
	} else {
		have_instructions = false;
	}
	signal(SIGILL, SIG_DFL);
}

/* The sum over all CPUs; -1: not known. No hypervisor: 0. */
static int64_t el2_entries(void)
{
	char buf[4096], *at;
	int64_t sum = 0;
	int fd = open("/proc/lichen/el2", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return n; /* empty: Lichen without a hypervisor */
	buf[n] = 0;
	/* lines: "cpuN entries hvc signal ..." after a head line */
	for (at = strchr(buf, '\n'); at && at[1]; at = strchr(at + 1, '\n')) {
		char *value = strchr(at + 1, ' ');

		if (value)
			sum += strtoll(value, NULL, 10);
	}
	return sum;
}

/* getppid, with an immediate that kernels do not look at. */
#define MARK(immediate)                                                                                          \
	do {                                                                                                     \
		register long number __asm__("x8") = SYS_getppid, result __asm__("x0");                          \
		if (marks)                                                                                       \
			__asm__ volatile("svc " #immediate : "=r"(result) : "r"(number) : "memory");             \
	} while (0)

/* Other counters of Lichen's; all -1 elsewhere. */
static const char *const counter_names[] = {"spin_instructions", "interrupts", "backend_doorbells", "backend_interrupts"};
static const char *const counter_keys[] = {"spin", "interrupts", "doorbells", "device_interrupts"};
#define COUNTERS (sizeof(counter_names) / sizeof(counter_names[0]))

static void read_counters(int64_t value[COUNTERS])
{
	char buf[4096];
	int fd = open("/proc/lichen/counters", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = 0;
	for (unsigned i = 0; i < COUNTERS; i++) {
		size_t length = strlen(counter_names[i]);
		char *line = buf;

		while (line && (strncmp(line, counter_names[i], length) || line[length] != ' '))
			line = (line = strchr(line, '\n')) ? line + 1 : NULL;
		value[i] = line ? strtoll(line + length, NULL, 10) : -1;
	}
}

/* --- results --- */

struct window {
	uint64_t time;
	uint32_t instructions;
	int64_t entries;
	int64_t reading_entries; /* what el2_entries() itself causes */
	int64_t counters[COUNTERS];
};

static struct window begin(void)
{
	struct window w;
	int64_t before = el2_entries();

	w.entries = el2_entries();
	w.reading_entries = w.entries - before;
	read_counters(w.counters);
	w.time = now();
	w.instructions = instructions();
	MARK(0x4d01);
	return w;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* What a window has cost. */
struct cost {
	uint64_t time;
	uint32_t instructions;
	int64_t entries; /* -1: not known, as below */
	int64_t counters[COUNTERS];
};

static struct cost stop(const struct window *w)
{
	struct cost cost;
	int64_t last[COUNTERS];

	MARK(0x4d02);
	cost.instructions = instructions() - w->instructions;
	cost.time = now() - w->time;
	cost.entries = el2_entries();
	cost.entries = cost.entries < 0 || w->entries < 0 ? -1 : cost.entries - w->entries - w->reading_entries;
	read_counters(last);
	for (unsigned i = 0; i < COUNTERS; i++)
		cost.counters[i] = last[i] < 0 ? -1 : last[i] - w->counters[i];
	return cost;
}

static void print_counters(const struct cost *cost, unsigned n)
{
	for (unsigned i = 0; i < COUNTERS; i++) {
		if (cost->counters[i] < 0)
			printf(",\"%s\":null", counter_keys[i]);
		else
			printf(",\"%s\":%.4f", counter_keys[i], (double)cost->counters[i] / n);
	}
}

/* `n` requests; their times are in samples[], or only the mean is known (n_samples 0). */
static void print(const char *test, struct cost cost, unsigned n, unsigned n_samples)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n_samples; i++)
		sum += samples[i];
	qsort(samples, n_samples, sizeof(samples[0]), compare);
	printf("{\"test\":\"%s\",\"unit\":\"ns\"", test);
	if (n_samples)
		printf(",\"p50\":%llu,\"p99\":%llu,\"mean\":%.1f", (unsigned long long)samples[n_samples / 2],
			(unsigned long long)samples[n_samples * 99ull / 100], (double)sum / n_samples);
	else
		printf(",\"p50\":null,\"p99\":null,\"mean\":%.1f", (double)cost.time / n);
	if (have_instructions)
		printf(",\"instructions\":%.1f", (double)cost.instructions / n);
	else
		printf(",\"instructions\":null");
	if (cost.entries < 0)
		printf(",\"el2_entries\":null");
	else
		printf(",\"el2_entries\":%.4f", (double)cost.entries / n);
	print_counters(&cost, n);
	printf(",\"n\":%u}\n", n);
	fflush(stdout);
}

static void end(const char *test, struct window w, unsigned n, unsigned n_samples)
{
	print(test, stop(&w), n, n_samples);
}

static unsigned scaled(unsigned n)
{
	n = n * percent / 100;
	return n < 1 ? 1 : n > MAX_SAMPLES ? MAX_SAMPLES : n;
}

/* --- block --- */

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int open_device(uint64_t *blocks)
{
	uint64_t bytes = 0;
	int fd = open(device, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes))
		die(device);
	*blocks = bytes / BLOCK;
	return fd;
}

static void *block_buffer(void)
{
	void *buf;

	if (posix_memalign(&buf, BLOCK, BLOCK))
		die("posix_memalign");
	memset(buf, 0x5a, BLOCK);
	return buf;
}

static void one_block(int fd, bool write, void *buf, uint64_t block)
{
	ssize_t n = write ? pwrite(fd, buf, BLOCK, block * BLOCK) : pread(fd, buf, BLOCK, block * BLOCK);

	if (n != BLOCK)
		die(write ? "pwrite" : "pread");
}

/*
 * Requests to a backend that sleeps, and with it the whole machine, before each: it has given up to expect one. What the pauses
 * cost themselves is measured without requests, and taken off.
 */
#define PAUSE_NS 2000000

static void pause_for(long ns)
{
	struct timespec t = {0, ns};

	nanosleep(&t, NULL);
}

static void cold(const char *test, void (*request)(int fd, void *buf), int fd)
{
	unsigned n = scaled(400);
	void *buf = block_buffer();
	struct cost pauses, all;
	struct window w;

	for (unsigned i = 0; i < 20; i++) {
		pause_for(PAUSE_NS);
		request(fd, buf);
	}
	w = begin();
	for (unsigned i = 0; i < n; i++) {
		uint64_t t;

		pause_for(PAUSE_NS);
		t = now();
		samples[i] = now() - t;
	}
	pauses = stop(&w);
	w = begin();
	for (unsigned i = 0; i < n; i++) {
		uint64_t t;

		pause_for(PAUSE_NS);
		t = now();
		request(fd, buf);
		samples[i] = now() - t;
	}
	all = stop(&w);
	all.instructions -= pauses.instructions;
	if (all.entries >= 0 && pauses.entries >= 0)
		all.entries -= pauses.entries;
	for (unsigned i = 0; i < COUNTERS; i++)
		if (all.counters[i] >= 0 && pauses.counters[i] >= 0)
			all.counters[i] -= pauses.counters[i];
	print(test, all, n, n);
	free(buf);
	close(fd);
}

static uint64_t disk_blocks;

static void cold_read(int fd, void *buf)
{
	one_block(fd, false, buf, next_random(&random_state) % disk_blocks);
}

static void read_cold(void)
{
	int fd = open_device(&disk_blocks);

	cold("read4k-cold", cold_read, fd);
}

/* --- the transport alone: lichen/abi.h, the echo device; only Lichen with a driver domain has one --- */

#define ECHO "/dev/echo"

static void echo_once(int fd, void *buf)
{
	if (read(fd, buf, BLOCK) != BLOCK)
		die(ECHO);
}

static int open_echo(void)
{
	int fd = open(ECHO, O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno != ENOENT && errno != ENXIO)
		die(ECHO);
	return fd;
}

static void echo_cold(void)
{
	int fd = open_echo();

	if (fd >= 0)
		cold("echo-cold", echo_once, fd);
}

static void echo_hot(void)
{
	unsigned n = scaled(20000);
	int fd = open_echo();
	struct window w;
	void *buf;

	if (fd < 0)
		return;
	buf = block_buffer();
	for (unsigned i = 0; i < 500; i++)
		echo_once(fd, buf);
	w = begin();
	for (unsigned i = 0; i < n; i++) {
		uint64_t t = now();

		echo_once(fd, buf);
		samples[i] = now() - t;
	}
	end("echo-hot", w, n, n);
	free(buf);
	close(fd);
}

static void block_qd1(const char *test, bool write)
{
	unsigned n = scaled(2000);
	uint64_t blocks, t;
	int fd = open_device(&blocks);
	void *buf = block_buffer();
	struct window w;

	for (unsigned i = 0; i < 100; i++)
		one_block(fd, write, buf, next_random(&random_state) % blocks);
	w = begin();
	for (unsigned i = 0; i < n; i++) {
		uint64_t block = next_random(&random_state) % blocks;

		t = now();
		one_block(fd, write, buf, block);
		samples[i] = now() - t;
	}
	end(test, w, n, n);
	free(buf);
	close(fd);
}

static void read_qd1(void)
{
	block_qd1("read4k-qd1", false);
}

static void write_qd1(void)
{
	block_qd1("write4k-qd1", true);
}

/* One at a time, asked to be polled for. */
static void read_hot(void)
{
	unsigned n = scaled(2000);
	uint64_t blocks;
	int fd = open_device(&blocks);
	void *buf = block_buffer();
	struct iovec vector = {buf, BLOCK};
	struct window w = {0};

	for (unsigned i = 0; i < n + 100; i++) {
		uint64_t t, at = next_random(&random_state) % blocks * BLOCK;

		if (i == 100)
			w = begin();
		t = now();
		if (preadv2(fd, &vector, 1, at, RWF_HIPRI) != BLOCK)
			die("preadv2");
		if (i >= 100)
			samples[i - 100] = now() - t;
	}
	end("read4k-hot", w, n, n);
	free(buf);
	close(fd);
}

struct reader {
	pthread_t thread;
	int fd;
	unsigned n, first;
	uint64_t blocks, state;
	pthread_barrier_t *start;
};

static void *reader_run(void *arg)
{
	struct reader *reader = arg;
	void *buf = block_buffer();

	for (unsigned i = 0; i < 4; i++)
		one_block(reader->fd, false, buf, next_random(&reader->state) % reader->blocks);
	pthread_barrier_wait(reader->start);
	pthread_barrier_wait(reader->start);
	for (unsigned i = 0; i < reader->n; i++) {
		uint64_t t = now();

		one_block(reader->fd, false, buf, next_random(&reader->state) % reader->blocks);
		samples[reader->first + i] = now() - t;
	}
	free(buf);
	return NULL;
}

/* 32 threads with one request each in flight. */
static void read_qd32(void)
{
	struct reader readers[DEPTH];
	pthread_barrier_t start;
	unsigned each = scaled(8000) / DEPTH;
	uint64_t blocks;
	int fd = open_device(&blocks);
	struct window w;

	each = each ? each : 1;
	pthread_barrier_init(&start, NULL, DEPTH + 1);
	for (unsigned i = 0; i < DEPTH; i++) {
		readers[i] = (struct reader){.fd = fd, .n = each, .first = i * each, .blocks = blocks,
			.state = 0x9e3779b97f4a7c15ull * (i + 1), .start = &start};
		if (pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]))
			die("pthread_create");
	}
	pthread_barrier_wait(&start);
	w = begin();
	pthread_barrier_wait(&start);
	for (unsigned i = 0; i < DEPTH; i++)
		pthread_join(readers[i].thread, NULL);
	end("read4k-qd32", w, each * DEPTH, each * DEPTH);
	close(fd);
}

/* --- the kernel itself --- */

static void getppid_test(void)
{
	unsigned n = scaled(20000);
	struct window w;

	for (unsigned i = 0; i < 100; i++)
		syscall(SYS_getppid);
	w = begin();
	for (unsigned i = 0; i < n; i++)
		syscall(SYS_getppid);
	end("getppid", w, n, 0);
}

/* One byte to another process and back. */
static void pipe_test(void)
{
	unsigned n = scaled(2000);
	int to[2], from[2];
	struct window w;
	char byte = 0;
	pid_t child;

	if (pipe(to) || pipe(from))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		close(to[1]);
		close(from[0]);
		while (read(to[0], &byte, 1) == 1)
			if (write(from[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	for (unsigned i = 0; i < 100; i++)
		if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
			die("pipe");
	w = begin();
	for (unsigned i = 0; i < n; i++) {
		uint64_t t = now();

		if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
			die("pipe");
		samples[i] = now() - t;
	}
	end("pipe", w, n, n);
	close(to[1]);
	close(from[0]);
	waitpid(child, NULL, 0);
}

/* Two processes on one CPU that yield to each other: the cost of one switch. */
static void switch_test(void)
{
	unsigned n = scaled(5000);
	pid_t child = fork();
	struct window w;

	if (child < 0)
		die("fork");
	if (!child)
		for (;;)
			sched_yield();
	for (unsigned i = 0; i < 100; i++)
		sched_yield();
	w = begin();
	for (unsigned i = 0; i < n; i++)
		sched_yield();
	end("switch", w, 2 * n, 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* fork, exec of this static program, which ends at once, and wait. */
static void fork_exec(void)
{
	unsigned n = scaled(200);
	struct window w = {0};

	for (int round = 0; round < 2; round++) {
		unsigned rounds = round ? n : 5;

		if (round)
			w = begin();
		for (unsigned i = 0; i < rounds; i++) {
			uint64_t t = now();
			int status;
			pid_t child = fork();

			if (child < 0)
				die("fork");
			if (!child) {
				execl("/proc/self/exe", "latency", "--exit", NULL);
				_exit(127);
			}
			if (waitpid(child, &status, 0) != child || status)
				die("fork-exec: child");
			samples[i] = now() - t;
		}
	}
	end("fork-exec", w, n, n);
}

/* --- */

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"getppid", getppid_test},
	{"pipe", pipe_test},
	{"switch", switch_test},
	{"fork-exec", fork_exec},
	{"echo-cold", echo_cold},
	{"echo-hot", echo_hot},
	{"read4k-cold", read_cold},
	{"read4k-hot", read_hot},
	{"read4k-qd1", read_qd1},
	{"write4k-qd1", write_qd1},
	{"read4k-qd32", read_qd32},
};
#define TESTS (sizeof(tests) / sizeof(tests[0]))

/* From the machine's reset to its first program, which tells when it began: the counter starts at zero under QEMU. */
static void boot_time(void)
{
	const char *given = getenv("BOOT_COUNTER");
	uint64_t frequency;

	if (!given)
		return;
	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
	printf("{\"test\":\"boot\",\"unit\":\"ns\",\"p50\":null,\"p99\":null,\"mean\":%.0f,\"instructions\":null,"
	       "\"el2_entries\":null,\"n\":1}\n", (double)strtoull(given, NULL, 10) * 1e9 / (double)frequency);
	fflush(stdout);
}

static bool wanted(const char *name, char **names, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return true;
	return !count;
}

int main(int argc, char **argv)
{
	cpu_set_t one;
	int option, cpu;

	if (argc > 1 && !strcmp(argv[1], "--exit"))
		_exit(0);
	while ((option = getopt(argc, argv, "mn:d:")) != -1) {
		if (option == 'm')
			marks = true;
		else if (option == 'n')
			percent = (unsigned)atoi(optarg);
		else if (option == 'd')
			device = optarg;
		else
			return 2;
	}
	if (wanted("boot", argv + optind, argc - optind))
		boot_time();
	/* One CPU: the counter of another has another offset. */
	cpu = sched_getcpu();
	CPU_ZERO(&one);
	CPU_SET(cpu < 0 ? 0 : cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("sched_setaffinity");
	find_instruction_counter();
	for (unsigned i = 0; i < TESTS; i++)
		if (wanted(tests[i].name, argv + optind, argc - optind))
			tests[i].run();
	return 0;
}
