/* SPDX-License-Identifier: MIT */
/* The generic timer (Arm ARM D11): the virtual counter, and its comparator as the CPU's one-shot clock. */
#include <lichen/cpu.h>
#include <lichen/devicetree.h>
#include <lichen/printk.h>
#include <lichen/timer.h>
#include <arch/clock.h>
#include <arch/gic.h>
#include <arch/sysreg.h>
#include <lichen/spin.h>
#include <libfdt.h>

static u64 ns_per_tick_32; /* ns a tick, 32 fractional bits */
static u64 ticks_per_ns_32;
static u64 boot_ticks;
static u32 clock_irq;
static u64 frequency;

static u64 scale(u64 value, u64 by_32)
{
	return (u64)((unsigned __int128)value * by_32 >> 32);
}

static u64 ticks(void)
{
	u64 value;

	/* Ordered after what came before (Arm ARM D11.2.1). */
	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(value) : : "memory");
	return value;
}

nsec_t time_monotonic(void)
{
	return scale(ticks() - boot_ticks, ns_per_tick_32);
}

nsec_t thread_arch_user_time(void)
{
	struct cpu *cpu = this_cpu();
	u64 spent = cpu->arch.user_ticks;

	cpu->arch.user_ticks = 0;
	return scale(spent, ns_per_tick_32);
}

u64 clock_boot_ticks(void)
{
	return boot_ticks;
}

u64 clock_frequency(void)
{
	return frequency;
}

void clock_arch_arm(nsec_t deadline)
{
	if (!deadline) {
		sysreg_write(cntv_ctl_el0, 0);
	} else {
		/* Rounded up: an interrupt before the deadline would find nothing to do. */
		sysreg_write(cntv_cval_el0, boot_ticks + scale(deadline, ticks_per_ns_32) + 1);
		sysreg_write(cntv_ctl_el0, 1);
	}
	isb();
}

static void clock_interrupt(void *arg)
{
	timer_interrupt();
}

u64 clock_ticks_of(nsec_t ns)
{
	return scale(ns, ticks_per_ns_32);
}

void cpu_arch_spin(const volatile u16 *index, u16 seen, struct task *self, u64 deadline)
{
	struct cpu *cpu = this_cpu();
	const struct lichen_spin spin = {
		.index = index,
		.seen = seen,
		.stop = (const volatile u32 *)&cpu->queue.count,
		.flags = (const volatile u32 *)&self->flags,
		.mask = TASK_RESCHED | TASK_SIGNALLED | TASK_KILLED,
		.deadline = deadline,
	};

	cpu->spins += lichen_spin(&spin);
}

void clock_start_early(void)
{
	boot_ticks = ticks();
	frequency = sysreg_read(cntfrq_el0);
	if (frequency < 1000000 || frequency > 10000000000)
		frequency = 62500000; /* firmware left it unset */
	ns_per_tick_32 = ((u64)NSEC_PER_SEC << 32) / frequency;
	ticks_per_ns_32 = (frequency << 32) / NSEC_PER_SEC;
}

void clock_init(const void *dt)
{
	int node = fdt_node_offset_by_compatible(dt, -1, "arm,armv8-timer");
	u32 given;
	bool edge;

	if (node < 0)
		node = fdt_node_offset_by_compatible(dt, -1, "arm,armv7-timer");
	/* Interrupts of the binding: secure, non-secure, virtual, hypervisor. */
	if (node < 0 || irq_of_node(node, 2, &clock_irq, &edge) || clock_irq >= 32) {
		log_warn("device tree: no virtual timer interrupt: 27 is assumed");
		clock_irq = 27;
	}
	if (node >= 0 && devicetree_u32(dt, node, "clock-frequency", &given) && given != frequency)
		log_warn("device tree: clock-frequency %u ignored, the counter says %llu", given,
			(unsigned long long)frequency);
	irq_set_local(clock_irq, clock_interrupt, NULL, "timer");
}

void clock_cpu_init(void)
{
	sysreg_write(cntv_ctl_el0, 0);
	/* User mode reads the virtual counter and its frequency (CNTKCTL_EL1.EL0VCTEN), no timers. */
	sysreg_write(cntkctl_el1, 2);
	lichen_event_stream(10000);
	gic->enable(clock_irq, false, 0);
}
