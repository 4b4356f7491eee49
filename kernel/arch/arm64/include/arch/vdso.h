/* SPDX-License-Identifier: MIT */
/* The page of numbers that the kernel shows to the vDSO, read-only, in every program. */
#ifndef ARCH_VDSO_H
#define ARCH_VDSO_H

#include <lichen/types.h>

struct vdso_data {
	u32 sequence; /* odd: being changed */
	u32 reserved;
	u64 boot_ticks;	     /* counter value at time 0 of CLOCK_MONOTONIC */
	u64 ns_per_tick_32;  /* 32 fractional bits */
	u64 realtime_offset; /* CLOCK_REALTIME minus CLOCK_MONOTONIC, ns */
};

#define VDSO_COARSE_NS 4000000 /* what clock_getres says of the coarse clocks: Linux's tick at HZ=250 */

/* vdso_image.S */
extern const char vdso_image_start[], vdso_image_end[];
extern const u64 vdso_sigreturn_offset;

#endif
