// SPDX-License-Identifier: MIT
// cflags: -Wno-array-bounds
// The signal frame, word by word: what a handler finds on its stack, and what becomes of what it changes there.
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <asm/sigcontext.h>
#include "check.h"

static uintptr_t interrupted_sp, vdso_start;
static int how;

struct record {
	uint32_t magic, size;
};

static void show(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uintptr_t frame = (uintptr_t)info, sp = uc->uc_mcontext.sp;
	register uintptr_t x29 __asm__("x29");
	struct record *r = (void *)uc->uc_mcontext.__reserved;

	(void)x29;
	printf("signal %d: info at frame + 0, context at + %ld, aligned %d\n", signal, (long)((uintptr_t)uc - frame),
		frame % 16 == 0);
	if (!interrupted_sp || how == 1)
		printf("frame %s the interrupted stack\n", frame < sp && sp - frame < 65536 ? "below" : "not on");
	else
		printf("frame %ld below the interrupted stack pointer\n", (long)(interrupted_sp - frame));
	printf("mcontext at + %ld, reserved at + %ld\n", (long)((uintptr_t)&uc->uc_mcontext - frame),
		(long)((uintptr_t)uc->uc_mcontext.__reserved - frame));
	printf("flags %lu link %p pstate mode %#lx\n", uc->uc_flags, (void *)uc->uc_link, (long)(uc->uc_mcontext.pstate & 0x1ff));
	for (;; r = (void *)((char *)r + r->size)) {
		printf("record %.4s%s size %u at %ld\n", r->magic ? "" : "end", "", r->size,
			(long)((char *)r - (char *)uc->uc_mcontext.__reserved));
		printf("  magic %#x\n", r->magic);
		if (!r->magic)
			break;
		if (r->magic == 0x45535201)
			printf("  class %#lx\n", (long)(((struct esr_context *)r)->esr >> 26));
	}
	printf("stack flags %d size %zu\n", uc->uc_stack.ss_flags, uc->uc_stack.ss_size);
	uint64_t mask;
	memcpy(&mask, &uc->uc_sigmask, 8);
	printf("mask %#lx\n", (long)mask);
	/* the frame record that links this frame to the interrupted one */
	uintptr_t *link = __builtin_frame_address(0);
	uintptr_t *above = (uintptr_t *)link[0];
	printf("link: fp %s, lr %s\n", above[0] == uc->uc_mcontext.regs[29] ? "x29" : "other",
		above[1] == uc->uc_mcontext.regs[30] ? "x30" : "other");
	printf("record at frame + %ld\n", (long)((uintptr_t)above - frame));
	printf("returns into the vdso: %d\n", link[1] - vdso_start < 8192);
	fflush(stdout);
}

/* Registers with known values around a signal. */
static void registers(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	struct fpsimd_context *fp = (void *)uc->uc_mcontext.__reserved;
	long good = 0;

	(void)signal;
	(void)info;
	for (int i = 9; i < 29; i++)
		good += i != 18 && uc->uc_mcontext.regs[i] == 0x1000u + i;
	printf("general registers as they were: %ld\n", good);
	good = 0;
	for (int i = 0; i < 32; i++)
		good += (uint64_t)fp->vregs[i] == 0x2000u + i;
	printf("vector registers as they were: %ld\n", good);
	printf("magic %#x size %u\n", fp->head.magic, fp->head.size);
	for (int i = 9; i < 29; i++)
		if (i != 18)
			uc->uc_mcontext.regs[i] = 0x3000u + i;
	for (int i = 0; i < 32; i++)
		fp->vregs[i] = 0x4000u + i;
	uc->uc_mcontext.pc += 4; /* over the brk */
	uc->uc_mcontext.pstate |= 0x60000000; /* Z and C */
	/* and clobbers them here: they come from the frame, not from what the handler leaves */
	__asm__ volatile("movi v8.2d, #0\n\tmovi v9.2d, #0\n\tmovi v31.2d, #0" : : : "v8", "v9", "v31");
}

static void register_test(void)
{
	static uint64_t general[32], vector[32], flags;
	struct sigaction action = {.sa_sigaction = registers, .sa_flags = SA_SIGINFO};

	sigaction(SIGTRAP, &action, NULL);
	__asm__ volatile(
		".irp n,9,10,11,12,13,14,15,16,17,20,21,22,23,24,25,26,27,28\n\t"
		"mov x\\n, #(0x1000 + \\n)\n\t"
		".endr\n\t"
		"mov x8, #0x2000\n\t"
		".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
		"add x7, x8, #\\n\n\t"
		"fmov d\\n, x7\n\t"
		".endr\n\t"
		"stp x19, x29, [sp, #-32]!\n\t"
		"str %2, [sp, #16]\n\t"
		"mov x19, #0x1013\n\t"
		"brk #7\n\t"
		"mov x7, %0\n\t"
		".irp n,9,10,11,12,13,14,15,16,17,19,20,21,22,23,24,25,26,27,28\n\t"
		"str x\\n, [x7, #(\\n * 8)]\n\t"
		".endr\n\t"
		"mov x7, %1\n\t"
		".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
		"str d\\n, [x7, #(\\n * 8)]\n\t"
		".endr\n\t"
		"mrs x8, nzcv\n\t"
		"ldr x7, [sp, #16]\n\t"
		"str x8, [x7]\n\t"
		"ldp x19, x29, [sp], #32\n\t"
		:
		: "r"(general), "r"(vector), "r"(&flags)
		: "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x20", "x21", "x22", "x23", "x24",
		"x25", "x26", "x27", "x28", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13",
		"v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
		"v30", "v31", "memory", "cc");
	long good = 0;
	for (int i = 9; i < 29; i++)
		good += i != 18 && general[i] == 0x3000u + i;
	printf("general registers as the handler set them: %ld\n", good);
	good = 0;
	for (int i = 0; i < 32; i++)
		good += vector[i] == 0x4000u + i;
	printf("vector registers as the handler set them: %ld\n", good);
	printf("flags %#lx\n", (long)(flags >> 28));
}

/* --- broken frames: each kills its child --- */

static int breakage;

static void breaker(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	struct record *r = (void *)uc->uc_mcontext.__reserved;
	struct fpsimd_context *fp = (void *)r;

	(void)signal;
	(void)info;
	switch (breakage) {
	case 0:
		uc->uc_mcontext.pstate = (uc->uc_mcontext.pstate & ~0xful) | 5; /* EL1h */
		break;
	case 1:
		uc->uc_mcontext.pstate |= 0x10; /* 32 bit */
		break;
	case 2:
		uc->uc_mcontext.pstate |= 0x80; /* interrupts masked */
		break;
	case 3:
		r->magic = 0x12345678;
		break;
	case 4:
		r->size = 8;
		break;
	case 5:
		r->size = 0x10000;
		break;
	case 6:
		r->magic = r->size = 0; /* no vector state */
		break;
	case 7: {
		struct record *next = (void *)((char *)r + r->size);

		memmove(next, r, fp->head.size); /* twice */
		next = (void *)((char *)next + next->size);
		next->magic = next->size = 0;
		break;
	}
	case 8:
		uc->uc_mcontext.pc = 0xffff000000000000ul;
		break;
	case 9:
		uc->uc_mcontext.sp = 8; /* fine until it is used */
		break;
	case 10:
		uc->uc_mcontext.pc |= 2;
		break;
	case 11: /* from nowhere */
		__asm__ volatile("mov x9, #0\n\tmov sp, x9\n\tmov x8, #139\n\tsvc #0");
		break;
	case 12: /* misaligned */
		__asm__ volatile("mov x9, sp\n\tadd x9, x9, #8\n\tmov sp, x9\n\tmov x8, #139\n\tsvc #0");
		break;
	case 13: /* the mask may not hold these */
		memset(&uc->uc_sigmask, 0xff, 8);
		break;
	case 14: /* an impossible alternate stack is no reason to die */
		uc->uc_stack.ss_flags = 77;
		uc->uc_stack.ss_size = 1;
		break;
	case 15:
		uc->uc_mcontext.pstate |= 0x200; /* debug exceptions masked */
		break;
	case 16: /* single step, IL, what else is reserved: dropped, or it kills */
		uc->uc_mcontext.pstate |= 1ul << 20;
		break;
	}
}

static void broken(void)
{
	for (breakage = 0; breakage <= 16; breakage++) {
		int status = 0;
		pid_t child;

		fflush(stdout);
		child = fork();
		if (!child) {
			struct sigaction action = {.sa_sigaction = breaker, .sa_flags = SA_SIGINFO};
			uint64_t mask;

			alarm(10);
			sigaction(SIGUSR1, &action, NULL);
			raise(SIGUSR1);
			sigset_t set;
			sigprocmask(SIG_BLOCK, NULL, &set);
			memcpy(&mask, &set, 8);
			printf("  alive, mask %#lx\n", (long)mask);
			fflush(stdout);
			_exit(0);
		}
		waitpid(child, &status, 0);
		printf("breakage %d: %s %d\n", breakage, WIFSIGNALED(status) ? "killed by" : "ended with",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
	/* No room for the frame. */
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		struct sigaction action = {.sa_sigaction = breaker, .sa_flags = SA_SIGINFO};

		sigaction(SIGUSR1, &action, NULL);
		kill(getpid(), 0);
		__asm__ volatile("mov x9, #4096\n\tmov x19, sp\n\tmov x8, #172\n\tsvc #0\n\tmov x1, #10\n\tmov x8, #129\n\t"
				 "mov sp, x9\n\tsvc #0\n\tmov sp, x19" : : : "x0", "x1", "x8", "x9", "x19", "memory");
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	printf("no stack: killed by %d\n", WTERMSIG(status));
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = show, .sa_flags = SA_SIGINFO};
	stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};

	vdso_start = getauxval(AT_SYSINFO_EHDR);
	CHECK(vdso_start);
	printf("minimum stack %lu\n", getauxval(AT_MINSIGSTKSZ));
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaddset(&action.sa_mask, SIGHUP);
	action.sa_flags |= SA_ONSTACK;
	sigaction(SIGUSR2, &action, NULL);
	how = 1;
	raise(SIGUSR1);
	CHECK(sigaltstack(&stack, NULL) == 0);
	how = 2;
	raise(SIGUSR2);
	register_test();
	/* After a fault the syndrome is in the frame. */
	action.sa_flags = SA_SIGINFO | SA_RESETHAND;
	sigaction(SIGSEGV, &action, NULL);
	pid_t child = fork();
	if (!child) {
		*(volatile int *)8 = 1;
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	printf("killed by %d\n", WTERMSIG(status));
	broken();
	return CHECK_RESULT();
}
