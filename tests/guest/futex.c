// SPDX-License-Identifier: MIT
// cflags: -Wno-parentheses
// Futexes: waiting, waking, bitsets, requeueing, the wake with an operation, timeouts, sharing, robust lists; and what
// glibc builds on them.
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static uint32_t word, second;

static long futex(uint32_t *address, int op, uint32_t value, const void *timeout, uint32_t *address2, uint32_t value3)
{
	return syscall(SYS_futex, address, op, value, timeout, address2, value3);
}

static void errors(void)
{
	struct timespec zero = {0, 0}, bad = {0, 2000000000}, negative = {-1, 0};

	word = 5;
	SHOW(futex(&word, FUTEX_WAIT, 4, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT, 5, &zero, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 5, &zero, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT, 5, &bad, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT, 5, &negative, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT, 5, (void *)8, NULL, 0));
	SHOW(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 5, NULL, NULL, 0));
	SHOW(futex((uint32_t *)4096, FUTEX_WAIT, 5, NULL, NULL, 0));
	SHOW(futex((uint32_t *)4096, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 5, NULL, NULL, 0));
	SHOW(futex((uint32_t *)4096, FUTEX_WAKE, 5, NULL, NULL, 0));
	SHOW(futex((uint32_t *)4096, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 5, NULL, NULL, 0));
	SHOW(futex((uint32_t *)0xffff000000001000ul, FUTEX_WAKE, 5, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT_BITSET, 5, &zero, NULL, 0));
	SHOW(futex(&word, FUTEX_WAIT_BITSET, 5, &zero, NULL, 1));
	SHOW(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 5, &zero, NULL, ~0u));
	SHOW(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_REQUEUE, -1, NULL, &second, 0));
	SHOW(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &second, 4));
	SHOW(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &second, 5));
	SHOW(futex(&word, 77, 1, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_FD, 1, NULL, NULL, 0));
}

/* --- waiters --- */

struct waiter {
	pthread_t thread;
	uint32_t *address;
	uint32_t bitset;
	int op;
	volatile int result;
	volatile int done;
};

static void *wait_in_thread(void *arg)
{
	struct waiter *w = arg;

	w->result = futex(w->address, w->op, *w->address, NULL, NULL, w->bitset) ? errno : 0;
	w->done = 1;
	return NULL;
}

static void start(struct waiter *w, uint32_t *address, uint32_t bitset)
{
	*w = (struct waiter){.address = address, .bitset = bitset, .op = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG};
	CHECK(pthread_create(&w->thread, NULL, wait_in_thread, w) == 0);
	usleep(20000);
}

static void show_done(struct waiter *w, int n)
{
	usleep(20000);
	printf("done:");
	for (int i = 0; i < n; i++)
		printf(" %d", w[i].done);
	printf("\n");
}

static void wakes(void)
{
	struct waiter w[4];

	word = 0;
	for (int i = 0; i < 4; i++)
		start(&w[i], &word, ~0u);
	SHOW(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 2, NULL, NULL, 0));
	show_done(w, 4);
	SHOW(futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0)); /* not the same word, though the same memory */
	show_done(w, 4);
	SHOW(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 0));
	show_done(w, 4);
	for (int i = 0; i < 4; i++)
		pthread_join(w[i].thread, NULL);

	start(&w[0], &word, 1);
	start(&w[1], &word, 2);
	start(&w[2], &word, 3);
	SHOW(futex(&word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 4));
	SHOW(futex(&word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 2));
	show_done(w, 3);
	SHOW(futex(&word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 1));
	for (int i = 0; i < 3; i++)
		pthread_join(w[i].thread, NULL);

	for (int i = 0; i < 4; i++)
		start(&w[i], &word, ~0u);
	SHOW(futex(&word, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 1, (void *)2, &second, 0));
	show_done(w, 4);
	SHOW(futex(&second, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 0));
	SHOW(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 0));
	for (int i = 0; i < 4; i++)
		pthread_join(w[i].thread, NULL);

	/* the operation: word2 |= 0x10, wake its waiters if it was 3 */
	second = 3;
	start(&w[0], &word, ~0u);
	start(&w[1], &second, ~0u);
	SHOW(futex(&word, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, (void *)1, &second, FUTEX_OP(FUTEX_OP_OR, 0x10, FUTEX_OP_CMP_EQ, 4)));
	printf("second %#x\n", second);
	show_done(w, 2);
	start(&w[0], &word, ~0u);
	SHOW(futex(&word, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, (void *)1, &second,
		FUTEX_OP(FUTEX_OP_ADD, 0xfff, FUTEX_OP_CMP_GT, 0x12)));
	printf("second %#x\n", second);
	show_done(w, 2);
	SHOW(futex(&word, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, (void *)1, &second, FUTEX_OP(7, 1, FUTEX_OP_CMP_GT, 1)));
	SHOW(futex(&word, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, (void *)1, &second, FUTEX_OP((FUTEX_OP_SET | 8), 5, FUTEX_OP_CMP_GT, 1)));
	printf("second %#x\n", second);
	second = 0;
}

/* --- between processes --- */

static void shared(void)
{
	uint32_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t *twin, *private;
	int fd = syscall(SYS_memfd_create, "futex", 0), status;
	pid_t child;

	CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
	fflush(stdout);
	child = fork();
	if (!child) {
		long result = futex(&page[5], FUTEX_WAIT, 0, NULL, NULL, 0);
		_exit(result == 0 && page[6] == 9 ? 0 : 1);
	}
	usleep(30000);
	page[6] = 9;
	SHOW(futex(&page[6], FUTEX_WAKE, 1, NULL, NULL, 0));
	SHOW(futex(&page[5], FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0));
	SHOW(futex(&page[5], FUTEX_WAKE, 1, NULL, NULL, 0));
	waitpid(child, &status, 0);
	printf("shared memory: %#x\n", status);

	/* one file, two places */
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	twin = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
	child = fork();
	if (!child)
		_exit(futex(&page[1024 + 3], FUTEX_WAIT, 0, NULL, NULL, 0) ? 1 : 0);
	usleep(30000);
	SHOW(futex(&private[3], FUTEX_WAKE, 1, NULL, NULL, 0));
	SHOW(futex(&twin[3], FUTEX_WAKE, 1, NULL, NULL, 0));
	waitpid(child, &status, 0);
	printf("one file: %#x\n", status);

	/* Private memory of a forked child is another word. */
	word = 0;
	child = fork();
	if (!child) {
		struct timespec t = {0, 100000000};
		_exit(futex(&word, FUTEX_WAIT, 0, &t, NULL, 0) == -1 && errno == ETIMEDOUT ? 0 : 1);
	}
	usleep(30000);
	SHOW(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
	waitpid(child, &status, 0);
	printf("copied: %#x\n", status);
	close(fd);
}

/* --- glibc's --- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static long counter, turns;

static void *count(void *arg)
{
	for (int i = 0; i < 5000; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
	}
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&mutex);
		while (turns % 4 != (long)arg)
			pthread_cond_wait(&condition, &mutex);
		turns++;
		pthread_cond_broadcast(&condition);
		pthread_mutex_unlock(&mutex);
	}
	sem_post(&semaphore);
	return NULL;
}

static void *die_with_lock(void *lock)
{
	pthread_mutex_lock(lock);
	return NULL;
}

static void libraries(void)
{
	pthread_t threads[4];
	pthread_mutexattr_t attributes;
	pthread_mutex_t *robust = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct timespec t;
	int status;

	sem_init(&semaphore, 0, 0);
	for (long i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, count, (void *)i);
	for (int i = 0; i < 4; i++)
		sem_wait(&semaphore);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	printf("counter %ld turns %ld\n", counter, turns);
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += 20000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	printf("sem_timedwait %s\n", sem_timedwait(&semaphore, &t) ? strerrorname_np(errno) : "got");
	pthread_mutex_lock(&mutex);
	clock_gettime(CLOCK_REALTIME, &t);
	printf("cond_timedwait %s\n", strerrorname_np(pthread_cond_timedwait(&condition, &mutex, &t)));
	pthread_mutex_unlock(&mutex);

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(robust, &attributes);
	pthread_create(&threads[0], NULL, die_with_lock, robust);
	pthread_join(threads[0], NULL);
	printf("a thread died with it: %s\n", strerrorname_np(pthread_mutex_lock(robust)));
	pthread_mutex_consistent(robust);
	pthread_mutex_unlock(robust);
	for (int way = 0; way < 2; way++) {
		fflush(stdout);
		pid_t child = fork();
		if (!child) {
			pthread_mutex_lock(robust);
			usleep(50000);
			if (way)
				kill(getpid(), SIGKILL);
			_exit(0);
		}
		usleep(20000);
		/* waits until the owner dies */
		int result = pthread_mutex_lock(robust);
		printf("a process died with it: %s\n", result ? strerrorname_np(result) : "got");
		pthread_mutex_consistent(robust);
		pthread_mutex_unlock(robust);
		waitpid(child, &status, 0);
	}
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	errors();
	wakes();
	shared();
	libraries();
	return CHECK_RESULT();
}
