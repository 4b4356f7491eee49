/* SPDX-License-Identifier: MIT */
/*
 * The system call table. A definition registers itself (linker section .syscalls); the table built from it at boot drives
 * dispatch, tracing and the support matrix in docs/. Numbers are Linux's __NR_*.
 *
 *     SYSCALL(getppid) { return ...; }                              never blocks: an ordinary function
 *     SYSCALL(kill, pid_t, pid, int, sig) { ... }
 *     SYSCALL_ASYNC(read, 3, SYS_ARG(int, fd) SYS_ARG(char __user *, buf) SYS_ARG(size_t, count) ssize_t n;)
 *     { ASYNC_BEGIN; ... }                                          a frame: arguments, then what outlives awaits
 *
 * The running thread is current_thread() (process.h), or (struct thread *)self.
 */
#ifndef LICHEN_SYSCALL_H
#define LICHEN_SYSCALL_H

#include <lichen/async.h>
#include <asm/unistd.h>
#include <asm/errno.h>

/* Never seen by programs: what becomes of an interrupted call is decided when the signal is delivered (signal.c). */
#define ERESTARTSYS	      512 /* restart if SA_RESTART or no handler runs, else EINTR */
#define ERESTARTNOINTR	      513 /* always restart */
#define ERESTARTNOHAND	      514 /* restart if no handler runs, else EINTR */
#define ERESTART_RESTARTBLOCK 516 /* as NOHAND, by restart_syscall with what thread->restart_* holds */
/*
 * A system call that yields -EINTR (what an interrupted wait yields) is treated as one that yields -ERESTARTSYS: that is
 * right for nearly all. Calls that Linux never restarts (epoll_wait, rt_sigtimedwait, semop ...) yield -EINTR_FINAL.
 */
#define EINTR_FINAL	      517

/* The arguments of a function that goes on with an interrupted call (thread->restart_fn). */
#define RESTART_ARGS u64 restart[4];
struct restart_args { RESTART_ARGS };

struct syscall {
	u16 number;
	u8 nargs;
	bool is_async;
	const char *name;
	union {
		long (*call)(u64, u64, u64, u64, u64, u64);
		const struct async_fn *fn;
	};
};

#define SYSCALL_ENTRY(sname, n, a, ...)                                                            \
	static const struct syscall syscall_entry_##sname __used __section(".syscalls")            \
		__aligned(8) = {.number = __NR_##sname, .nargs = (n), .is_async = (a),             \
			.name = #sname, __VA_ARGS__}

/* An argument register as its type. */
#define SYS_ARG(type, arg)                                                                         \
	union {                                                                                    \
		type arg;                                                                          \
		u64 arg##_register;                                                                \
	};

#define SYSCALL_ASYNC(sname, n, ...)                                                               \
	ASYNC_STATIC(sys_##sname, __VA_ARGS__);                                                    \
	SYSCALL_ENTRY(sname, n, true, .fn = &sys_##sname##_fn);                                    \
	ASYNC_STATIC_DEFINE(sys_##sname)

#define SYSCALL_COUNT_(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, count, ...) count
#define SYSCALL_COUNT(...) SYSCALL_COUNT_(0, ##__VA_ARGS__, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0)
#define SYSCALL_PASTE_(a, b) a##b
#define SYSCALL_PASTE(a, b)  SYSCALL_PASTE_(a, b)
#define SYSCALL_P0()			void
#define SYSCALL_P1(t1, a1)		t1 a1
#define SYSCALL_P2(t1, a1, ...)		t1 a1, SYSCALL_P1(__VA_ARGS__)
#define SYSCALL_P3(t1, a1, ...)		t1 a1, SYSCALL_P2(__VA_ARGS__)
#define SYSCALL_P4(t1, a1, ...)		t1 a1, SYSCALL_P3(__VA_ARGS__)
#define SYSCALL_P5(t1, a1, ...)		t1 a1, SYSCALL_P4(__VA_ARGS__)
#define SYSCALL_P6(t1, a1, ...)		t1 a1, SYSCALL_P5(__VA_ARGS__)
#define SYSCALL_V0()
#define SYSCALL_V1(t1, a1)				       (t1) r0
#define SYSCALL_V2(t1, a1, t2, a2)			       (t1) r0, (t2)r1
#define SYSCALL_V3(t1, a1, t2, a2, t3, a3)		       (t1) r0, (t2)r1, (t3)r2
#define SYSCALL_V4(t1, a1, t2, a2, t3, a3, t4, a4)	       (t1) r0, (t2)r1, (t3)r2, (t4)r3
#define SYSCALL_V5(t1, a1, t2, a2, t3, a3, t4, a4, t5, a5)     (t1) r0, (t2)r1, (t3)r2, (t4)r3, (t5)r4
#define SYSCALL_V6(t1, a1, t2, a2, t3, a3, t4, a4, t5, a5, t6, a6)                                 \
	(t1) r0, (t2)r1, (t3)r2, (t4)r3, (t5)r4, (t6)r5

#define SYSCALL(sname, ...) SYSCALL_N(sname, SYSCALL_COUNT(__VA_ARGS__), ##__VA_ARGS__)
#define SYSCALL_N(sname, n, ...)                                                                   \
	static long sys_##sname(SYSCALL_PASTE(SYSCALL_P, n)(__VA_ARGS__));                         \
	static long syscall_entered_##sname(u64 r0 __unused, u64 r1 __unused, u64 r2 __unused,     \
		u64 r3 __unused, u64 r4 __unused, u64 r5 __unused)                                 \
	{                                                                                          \
		return sys_##sname(SYSCALL_PASTE(SYSCALL_V, n)(__VA_ARGS__));                      \
	}                                                                                          \
	SYSCALL_ENTRY(sname, n, false, .call = syscall_entered_##sname);                           \
	static long sys_##sname(SYSCALL_PASTE(SYSCALL_P, n)(__VA_ARGS__))

#endif
