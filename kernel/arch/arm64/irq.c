/* SPDX-License-Identifier: MIT */
/*
 * Interrupts: a table from numbers to handlers. An interrupt that nobody asked for (a spurious software interrupt from
 * another domain, say) is counted and ended, nothing more.
 */
#include <lichen/cpu.h>
#include <lichen/devicetree.h>
#include <lichen/lock.h>
#include <lichen/printk.h>
#include <arch/exception.h>
#include <arch/gic.h>
#include <arch/smp.h>
#include <arch/sysreg.h>
#include <asm/errno.h>
#include <libfdt.h>

enum { IRQS = 1020, COMPLETION_HANDLERS = 32, SGIS = 16 };

struct irq_action {
	irq_handler _Atomic handler; /* written last */
	void *arg;
	const char *name;
	_Atomic u64 count;
};

static struct irq_action actions[IRQS];
static struct {
	irq_handler handler;
	void *arg;
} completions[COMPLETION_HANDLERS];
static _Atomic u32 completion_count;
static spinlock_t irq_lock = SPINLOCK_INIT; /* the tables and the distributor */
const struct gic_ops *gic;
u32 gic_lines;
static _Atomic u64 unwanted;

unsigned long irq_save(void)
{
	unsigned long flags = sysreg_read(daif);

	__asm__ volatile("msr daifset, #3" : : : "memory");
	return flags;
}

void irq_restore(unsigned long flags)
{
	sysreg_write(daif, flags);
}

void irq_dispatch(void)
{
	struct cpu *cpu = this_cpu();

	for (;;) {
		u32 irq = gic->acknowledge();
		irq_handler handler;

		if (irq >= GIC_SPURIOUS)
			break;
		cpu->interrupts++;
		/* Ended first: an edge that comes while the handler runs makes it pending anew. */
		handler = atomic_load_explicit(&actions[irq].handler, memory_order_acquire);
		if (irq < 32) {
			gic->end(irq);
			if (handler)
				handler(actions[irq].arg);
		} else {
			if (handler)
				handler(actions[irq].arg);
			gic->end(irq);
		}
		atomic_fetch_add_explicit(handler ? &actions[irq].count : &unwanted, 1, memory_order_relaxed);
	}
}

static void set_action(u32 irq, irq_handler handler, void *arg, const char *name)
{
	actions[irq].arg = arg;
	actions[irq].name = name;
	atomic_store_explicit(&actions[irq].handler, handler, memory_order_release);
}

void irq_set_local(u32 irq, irq_handler handler, void *arg, const char *name)
{
	set_action(irq, handler, arg, name);
}

long irq_request(u32 irq, bool edge, u32 cpu, irq_handler handler, void *arg, const char *name)
{
	unsigned long flags;

	if (irq < 32 || irq >= gic_lines || irq >= IRQS || cpu >= cpu_count())
		return -EINVAL;
	flags = spin_lock_irqsave(&irq_lock);
	if (actions[irq].handler) {
		spin_unlock_irqrestore(&irq_lock, flags);
		return -EBUSY;
	}
	set_action(irq, handler, arg, name);
	gic->enable(irq, edge, cpu);
	spin_unlock_irqrestore(&irq_lock, flags);
	return 0;
}

void irq_free(u32 irq)
{
	unsigned long flags;

	if (irq < 32 || irq >= gic_lines || irq >= IRQS)
		return;
	flags = spin_lock_irqsave(&irq_lock);
	gic->disable(irq);
	atomic_store_explicit(&actions[irq].handler, NULL, memory_order_release);
	spin_unlock_irqrestore(&irq_lock, flags);
}

static void run_completions(void *arg)
{
	u32 n = atomic_load_explicit(&completion_count, memory_order_acquire);

	for (u32 i = 0; i < n; i++)
		completions[i].handler(completions[i].arg);
}

long irq_request_completion(u32 sgi, irq_handler handler, void *arg)
{
	unsigned long flags;
	long result = -EBUSY;
	u32 n;

	if (sgi >= SGIS || sgi == SGI_KICK || sgi == SGI_STOP)
		return -EINVAL;
	flags = spin_lock_irqsave(&irq_lock);
	n = completion_count;
	if (n < COMPLETION_HANDLERS && (!actions[sgi].handler || actions[sgi].handler == run_completions)) {
		completions[n].handler = handler;
		completions[n].arg = arg;
		atomic_store_explicit(&completion_count, n + 1, memory_order_release);
		set_action(sgi, run_completions, NULL, "completion");
		result = 0;
	}
	spin_unlock_irqrestore(&irq_lock, flags);
	return result;
}

/* Three cells: type (0 SPI, 1 PPI), number, flags (1 and 2: edges). GIC device-tree binding. */
long irq_of_node(int node, int index, u32 *irq, bool *edge)
{
	int length;
	const u8 *p = fdt_getprop(device_tree(), node, "interrupts", &length);
	u32 type, number;

	if (!p || index < 0 || length < (index + 1) * 12)
		return -EINVAL;
	p += index * 12;
	type = (u32)devicetree_cells(p, 1);
	number = (u32)devicetree_cells(p + 4, 1);
	if (type > 1 || number >= (type ? 16 : IRQS - 32))
		return -EINVAL;
	*irq = number + (type ? 16 : 32);
	*edge = devicetree_cells(p + 8, 1) & 3;
	return 0;
}

u64 irq_count(u32 cpu)
{
	return cpu < cpu_count() ? cpus[cpu].interrupts : 0;
}

size_t irq_show(char *buf, size_t bytes)
{
	size_t n = 0;

	for (u32 i = 0; i < IRQS; i++)
		if (actions[i].handler && n < bytes)
			n += (size_t)snprintf(buf + n, bytes - n, "%4u: %10llu  %s\n", i,
				(unsigned long long)actions[i].count, actions[i].name ? actions[i].name : "");
	if (n < bytes)
		n += (size_t)snprintf(buf + n, bytes - n, " ERR: %10llu\n", (unsigned long long)unwanted);
	return min(n, bytes);
}

static void kick(void *arg)
{
	executor_kicked();
}

static void stop(void *arg)
{
	for (;;) {
		irq_save();
		__asm__ volatile("wfi");
	}
}

void gic_init(const void *dt)
{
	static const char *const v3[] = {"arm,gic-v3"};
	static const char *const v2[] = {"arm,cortex-a15-gic", "arm,gic-400", "arm,cortex-a9-gic", "arm,cortex-a7-gic"};
	int node;

	for (u32 i = 0; i < ARRAY_SIZE(v3) && !gic; i++)
		if ((node = fdt_node_offset_by_compatible(dt, -1, v3[i])) >= 0)
			gic = gicv3_probe(dt, node);
	for (u32 i = 0; i < ARRAY_SIZE(v2) && !gic; i++)
		if ((node = fdt_node_offset_by_compatible(dt, -1, v2[i])) >= 0)
			gic = gicv2_probe(dt, node);
	if (!gic)
		panic("device tree: no interrupt controller that we know (GICv2, GICv3)");
	irq_set_local(SGI_KICK, kick, NULL, "reschedule");
	irq_set_local(SGI_STOP, stop, NULL, "stop");
}

void cpu_arch_kick(u32 cpu)
{
	gic->send(SGI_KICK, cpu);
}

void cpu_arch_stop_others(void)
{
	if (!gic)
		return;
	for (u32 i = 0; i < cpu_count(); i++)
		if (i != cpu_id() && cpus[i].online)
			gic->send(SGI_STOP, i);
}
