/* SPDX-License-Identifier: MIT */
/*
 * Code of the kernel's that runs in user mode, mapped into every program (vdso(7)): the time without a system call. It reads the
 * counter and one page of numbers that lies before it, written by proc/vdso.c under a sequence lock.
 */
#include <lichen/types.h>
#include <linux/time.h>
#include <asm/unistd.h>
#include <arch/vdso.h>

#define NSEC 1000000000ull

extern const struct vdso_data vdso_data __attribute__((visibility("hidden")));

static __always_inline long syscall2(long number, long a, long b)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
	return x0;
}

/* ns since boot, or since 1970 */
static __always_inline u64 now(bool realtime)
{
	const volatile struct vdso_data *data = &vdso_data;
	u32 sequence;
	u64 ns;

	for (;;) {
		u64 ticks;

		sequence = data->sequence;
		if (sequence & 1) {
			__asm__ volatile("yield");
			continue;
		}
		__asm__ volatile("dmb ishld\n\tisb\n\tmrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
		ns = (u64)((unsigned __int128)(ticks - data->boot_ticks) * data->ns_per_tick_32 >> 32);
		if (realtime)
			ns += data->realtime_offset;
		__asm__ volatile("dmb ishld" : : : "memory");
		if (data->sequence == sequence)
			return ns;
	}
}

static __always_inline bool clock_known(int clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_BOOTTIME ||
	       clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_TAI;
}

int __kernel_clock_gettime(int clock, struct __kernel_timespec *t)
{
	u64 ns;

	if (!clock_known(clock))
		return syscall2(__NR_clock_gettime, clock, (long)t);
	ns = now(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI);
	t->tv_sec = ns / NSEC;
	t->tv_nsec = ns % NSEC;
	return 0;
}

int __kernel_clock_getres(int clock, struct __kernel_timespec *t)
{
	if (!clock_known(clock))
		return syscall2(__NR_clock_getres, clock, (long)t);
	if (t) {
		t->tv_sec = 0;
		t->tv_nsec = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE ? VDSO_COARSE_NS : 1;
	}
	return 0;
}

int __kernel_gettimeofday(struct __kernel_old_timeval *t, struct timezone *zone)
{
	if (t) {
		u64 ns = now(true);

		t->tv_sec = ns / NSEC;
		t->tv_usec = ns % NSEC / 1000;
	}
	if (zone) {
		zone->tz_minuteswest = 0;
		zone->tz_dsttime = 0;
	}
	return 0;
}
