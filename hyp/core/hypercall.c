/* SPDX-License-Identifier: MIT */
/*
 * The hypercalls of lichen/abi.h.
 */
#include <asm/errno.h>

#include "hypercall.h"
#include "log.h"
#include "trace.h"
#include "virtio.h"

static __attribute__((noinline)) void hypercall_log(struct cpu *cpu, struct regs *regs)
{
	u64 n = regs->x[1];

	cpu_count(cpu, LICHEN_STATS_LOG);
	regs->x[0] = n < 1 || n > LICHEN_LOG_BYTES ? -EINVAL : 0;
	if (!regs->x[0])
		log_domain(cpu->domain, (const char *)&regs->x[2], n);
}

static __attribute__((noinline)) void hypercall_signal(struct cpu *cpu, struct regs *regs)
{
	cpu_count(cpu, LICHEN_STATS_SIGNAL);
	if (trace_enabled())
		trace_put(cpu, LICHEN_TRACE_EL2_SIGNAL,
			LICHEN_TRACE_KEY(regs->x[1], 0xff, LICHEN_TRACE_NO_HEAD));
	regs->x[0] = cpu->domain == driver_domain ? virtio_signal(regs->x[1], regs->x[2]) : -EPERM;
}

static long hypercall_backend(struct cpu *cpu, const u64 *x)
{
	if (cpu->domain != driver_domain)
		return -EPERM;
	switch (x[0]) {
	case LICHEN_HVC_DEVICE_ATTACH:
		return virtio_attach(x[1], x[2], x[3], x[4], x[5]);
	case LICHEN_HVC_DEVICE_DETACH:
		return virtio_detach(x[1]);
	case LICHEN_HVC_BACKEND_READY:
		domain_backend_ready();
		return 0;
	case LICHEN_HVC_RESET_DONE:
		return virtio_reset_done(x[1], x[2]);
	case LICHEN_HVC_NEEDS_RESET:
		return virtio_needs_reset(x[1]);
	case LICHEN_HVC_QUEUE_CHANNEL:
		return virtio_queue_channel(x[1], x[2], x[3]);
	}
	return -EPERM; /* SMCCC: NOT_SUPPORTED */
}

static long hypercall_frontend(struct cpu *cpu, const u64 *x)
{
	if (cpu->domain == driver_domain)
		return -EPERM;
	if (x[0] == LICHEN_HVC_TRACE)
		return trace_switch(x[1]);
	return virtio_post_machine(LICHEN_MACHINE_SAMPLE);
}

static __attribute__((noinline)) void hypercall_other(struct cpu *cpu, struct regs *regs)
{
	cpu_count(cpu, LICHEN_STATS_HVC);
	if (regs->x[0] == LICHEN_HVC_TRACE || regs->x[0] == LICHEN_HVC_SAMPLE)
		regs->x[0] = hypercall_frontend(cpu, regs->x);
	else
		regs->x[0] = hypercall_backend(cpu, regs->x);
}

/* Calls in tail position, so that the shortest way has no frame of its own. */
void hypercall(struct cpu *cpu, struct regs *regs)
{
	u64 function = regs->x[0];

	if (function == LICHEN_HVC_SIGNAL) {
		hypercall_signal(cpu, regs);
	} else if (function == LICHEN_HVC_VERSION) {
		cpu_count(cpu, LICHEN_STATS_HVC);
		regs->x[0] = LICHEN_ABI_VERSION;
	} else if (function == LICHEN_HVC_LOG) {
		hypercall_log(cpu, regs);
	} else {
		hypercall_other(cpu, regs);
	}
}
