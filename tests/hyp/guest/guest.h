/* SPDX-License-Identifier: MIT */
/*
 * A bare EL1 program that plays a domain in the hypervisor's own tests: the driver domain or a frontend.
 */
#ifndef GUEST_H
#define GUEST_H

#include "arm64.h"
#include "types.h"

#include <lichen/abi.h>

struct window {
	u64 base, size;
};

struct device {
	u64 base;
	u32 intid;
};

/* What the device tree says. */
struct guest {
	const void *fdt;
	const char *args;
	bool is_driver;
	struct window memory[8], pool;
	u32 memories;
	u32 cpus;
	u64 mpidr[8];
	u32 gic;
	struct window gicd, gicc, gicr, its;
	struct lichen_info *info;
	u64 *stats;
	struct device device[32];
	u32 devices;
	int completion_sgi;
	struct lichen_control *control;
	struct lichen_doorbells *bells;
	struct lichen_device_view *views;
	u8 *pages;
	u32 channel_intid;
};
extern struct guest guest;

/* The last synchronous exception of this CPU. */
struct fault {
	u64 count, esr, far;
};
extern volatile struct fault fault;
/* Interrupts taken, by INTID. */
extern volatile u32 irqs[1024];

void guest_read(const void *fdt);

u64 hvc(u64 fn, u64 a, u64 b, u64 c, u64 d, u64 e);
u64 smc(u64 fn, u64 a, u64 b, u64 c);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Counts, and says what failed. */
void check(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern u32 checks, failures;

/* True when the named test is in the arguments. */
bool wanted(const char *test);
u64 number_arg(const char *name, u64 otherwise);

void gic_setup(void);
void gic_enable(u32 intid);
void irqs_on(void);
void irqs_off(void);
void delay_us(u64 us);
u64 stat(u32 cpu, enum lichen_stats_cause cause);
u32 own_row(void);

/* Instructions at EL2 of entry(arg), on average: under -icount, while other CPUs sleep. */
u64 el2_instructions(void (*entry)(u64), u64 arg, u32 rounds);

/* Starts CPU n of the domain in fn. */
long cpu_on(u32 n, void (*fn)(u32 n));

static inline u32 get32(u64 base, u64 offset)
{
	return mmio_read32(base + offset);
}

/* What the driver domain's side answers to LICHEN_HVC_SAMPLE, and the slot's number. */
#define SAMPLE_CYCLES 0x123456789aull

void frontend_tests(void);
void driver_tests(void);
void shared_tests(void);
/* Every kind of access to an address that is not the domain's. */
void forbidden(const char *name, u64 addr);
void virtio_tests(void);
void wild(void);
void orphaned(void);
void samples(void);
void early(void);
void stop_tests(void);

#endif
