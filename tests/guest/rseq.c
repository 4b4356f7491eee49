// SPDX-License-Identifier: MIT
// Restartable sequences: registered by libc, the CPU's number in memory, sequences that are sent away when they are interrupted.
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static volatile int handled;

static void handler(int signal)
{
	(void)signal;
	handled++;
}

static struct rseq *area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Turns until it is sent away. */
static void turn(void)
{
	__asm__ volatile(
		".pushsection .data.rel.ro, \"aw\"\n\t"
		".balign 32\n"
		"9:\n\t"
		".word 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"adrp x9, 9b\n\t"
		"add x9, x9, :lo12:9b\n\t"
		"str x9, [%0]\n"
		"1:	b 1b\n"
		"2:	b 5f\n\t"
		".inst 0xd428bc00\n"
		"4:	nop\n"
		"5:\n\t"
		:
		: "r"(&area()->rseq_cs)
		: "x9", "memory");
}

/* The same with a signature that is wrong. */
static void turn_badly(void)
{
	__asm__ volatile(
		".pushsection .data.rel.ro, \"aw\"\n\t"
		".balign 32\n"
		"9:\n\t"
		".word 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"adrp x9, 9b\n\t"
		"add x9, x9, :lo12:9b\n\t"
		"str x9, [%0]\n"
		"1:	b 1b\n"
		"2:	b 5f\n\t"
		".inst 0xd428bc01\n"
		"4:	nop\n"
		"5:\n\t"
		:
		: "r"(&area()->rseq_cs)
		: "x9", "memory");
}

int main(void)
{
	struct itimerval t = {.it_value = {0, 20000}};
	struct rseq *other = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cpu_set_t set;
	int status;
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("registered %d\n", __rseq_size > 0 && (int)area()->cpu_id >= 0);
	printf("features %lu align %lu\n", getauxval(27), getauxval(28));
	SHOW(syscall(SYS_rseq, other, 32, 0, RSEQ_SIG));
	SHOW(syscall(SYS_rseq, area(), 32, 0, RSEQ_SIG));
	SHOW(syscall(SYS_rseq, area(), 32, 0, 1));
	SHOW(syscall(SYS_rseq, area(), 32, 99, RSEQ_SIG));
	SHOW(syscall(SYS_rseq, area(), 32, 1, 1));
	for (int cpu = 0; cpu < 2; cpu++) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			continue;
		unsigned int now = 99;
		syscall(SYS_getcpu, &now, NULL, NULL);
		CHECK(now == (unsigned int)cpu && area()->cpu_id == now && area()->cpu_id_start == now);
	}
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);

	/* sent away by a signal; the handler runs first */
	signal(SIGALRM, handler);
	setitimer(ITIMER_REAL, &t, NULL);
	while (!handled) /* or by whoever wants the CPU */
		turn();
	printf("after a signal: handled %d, sequence %lu\n", handled, (unsigned long)area()->rseq_cs);

	/* by another process that wants the CPU */
	child = fork();
	if (!child)
		for (;;)
			;
	turn();
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	printf("after losing the CPU: sequence %lu\n", (unsigned long)area()->rseq_cs);

	/* A wrong signature is deadly. */
	fflush(stdout);
	child = fork();
	if (!child) {
		signal(SIGALRM, handler);
		setitimer(ITIMER_REAL, &t, NULL);
		turn_badly();
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("wrong signature: killed by %d\n", WTERMSIG(status));
	child = fork();
	if (!child) {
		printf("a child has it: %d\n", (int)area()->cpu_id >= 0);
		SHOW(syscall(SYS_rseq, area(), 32, 1, RSEQ_SIG));
		printf("and then not: %d\n", (int)area()->cpu_id);
		SHOW(syscall(SYS_rseq, (char *)other + 8, 32, 0, RSEQ_SIG));
		SHOW(syscall(SYS_rseq, other, 16, 0, RSEQ_SIG));
		SHOW(syscall(SYS_rseq, 0xffff000000000000ul, 32, 0, RSEQ_SIG));
		SHOW(syscall(SYS_rseq, other, 32, 0, RSEQ_SIG));
		printf("elsewhere: %d\n", (int)other->cpu_id);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, &status, 0);
	return CHECK_RESULT();
}
