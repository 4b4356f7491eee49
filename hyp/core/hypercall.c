/* SPDX-License-Identifier: MIT */
/*
 * The hypercalls of lichen/abi.h.
 */
#include <asm/errno.h>

#include "hypercall.h"
#include "log.h"
#include "virtio.h"

static long hypercall_log(struct domain *domain, const struct regs *regs)
{
	u64 n = regs->x[1];

	if (n < 1 || n > LICHEN_LOG_BYTES)
		return -EINVAL;
	log_domain(domain, (const char *)&regs->x[2], n);
	return 0;
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

void hypercall(struct cpu *cpu, struct regs *regs)
{
	u64 *x = regs->x;

	switch (x[0]) {
	case LICHEN_HVC_SIGNAL:
		cpu_count(cpu, LICHEN_STATS_SIGNAL);
		x[0] = cpu->domain == driver_domain ? virtio_signal(x[1], x[2]) : -EPERM;
		return;
	case LICHEN_HVC_VERSION:
		cpu_count(cpu, LICHEN_STATS_HVC);
		x[0] = LICHEN_ABI_VERSION;
		return;
	case LICHEN_HVC_LOG:
		cpu_count(cpu, LICHEN_STATS_LOG);
		x[0] = hypercall_log(cpu->domain, regs);
		return;
	}
	cpu_count(cpu, LICHEN_STATS_HVC);
	x[0] = hypercall_backend(cpu, x);
}
