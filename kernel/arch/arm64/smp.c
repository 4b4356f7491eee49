/* SPDX-License-Identifier: MIT */
/* The CPUs of the device tree: numbered in its order, this one first. */
#include <lichen/cpu.h>
#include <lichen/debug.h>
#include <lichen/devicetree.h>
#include <lichen/page.h>
#include <lichen/pmu.h>
#include <lichen/printk.h>
#include <lichen/slab.h>
#include <lichen/start.h>
#include <lichen/string.h>
#include <arch/clock.h>
#include <arch/exception.h>
#include <arch/gic.h>
#include <arch/kernel_map.h>
#include <arch/memory.h>
#include <arch/psci.h>
#include <arch/relax.h>
#include <arch/smp.h>
#include <arch/sysreg.h>
#include <libfdt.h>

#define MPIDR_AFFINITY 0xff00ffffffull

extern char boot_secondary[];

static u32 cpus_found = 1;

u32 cpu_count(void)
{
	return cpus_found;
}

u32 cpu_id(void)
{
	return cpus_ready ? this_cpu()->id : 0;
}

u64 cpu_hardware_id(u32 cpu)
{
	return cpu < cpus_found ? cpus[cpu].arch.mpidr : 0;
}

void smp_init(void)
{
	const void *dt = device_tree();
	int parent = fdt_path_offset(dt, "/cpus"), node, cells;
	u64 self = sysreg_read(mpidr_el1) & MPIDR_AFFINITY;

	cpus[0].arch.mpidr = self;
	sysreg_write(tpidr_el1, &cpus[0]);
	cpus_ready = true;
	if (parent < 0) {
		log_warn("device tree: no /cpus: one CPU");
		return;
	}
	cells = fdt_address_cells(dt, parent);
	fdt_for_each_subnode(node, dt, parent) {
		const char *type;
		const void *reg;
		u64 mpidr;
		int length;

		if (!devicetree_string(dt, node, "device_type", &type) || strcmp(type, "cpu") ||
			!devicetree_enabled(dt, node))
			continue;
		reg = fdt_getprop(dt, node, "reg", &length);
		if (!reg || (cells != 1 && cells != 2) || length < cells * 4) {
			log_warn("device tree: a CPU without a usable reg is left out");
			continue;
		}
		mpidr = devicetree_cells(reg, cells) & MPIDR_AFFINITY;
		if (mpidr == self)
			continue;
		if (cpus_found == CPUS_MAX) {
			log_warn("device tree: more than %u CPUs: the others stay off", CPUS_MAX);
			break;
		}
		cpus[cpus_found].id = cpus_found;
		cpus[cpus_found].arch.mpidr = mpidr;
		cpus_found++;
	}
}

bool smp_give_stacks(struct cpu *cpu)
{
	struct page *emergency = page_alloc(0, 0);

	cpu->stack_top = mmu_stack(cpu->id);
	if (!emergency || !cpu->stack_top)
		return false;
	cpu->arch.emergency_top = (char *)page_address(emergency) + EMERGENCY_STACK;
	return true;
}

/* CPU features that each CPU must set for itself. */
void smp_cpu_setup(void)
{
	sysreg_write(cpacr_el1, 1ull << 20); /* vectors: the kernel only, until a thread wants them */
	sysreg_write(mdscr_el1, 0);
	if (lichen_pmu_present())
		lichen_pmu_enable();
	isb();
}

static void start_one(struct cpu *cpu)
{
	struct cpu_start *start = kzalloc(sizeof(*start));
	nsec_t deadline;
	long error;

	if (!start || !smp_give_stacks(cpu)) {
		log_err("CPU %u: no memory to start it", cpu->id);
		return;
	}
	start->ttbr1 = mmu_kernel_root();
	start->stack = (u64)cpu->stack_top;
	start->cpu = (u64)cpu;
	/* It reads this with its caches off. */
	for (size_t i = 0; i < sizeof(*start); i += 4)
		__asm__ volatile("dc cvac, %0" : : "r"((char *)start + i) : "memory");
	dsb(sy);
	error = psci_cpu_on(cpu->arch.mpidr, mmu_image_phys(boot_secondary), address_phys(start));
	if (error) {
		log_err("CPU %u (%#llx): the firmware does not start it: %ld", cpu->id,
			(unsigned long long)cpu->arch.mpidr, error);
		return;
	}
	deadline = time_monotonic() + 2 * NSEC_PER_SEC;
	while (!cpu->online && time_monotonic() < deadline)
		relax();
	if (!cpu->online)
		log_err("CPU %u (%#llx) was started and does not answer", cpu->id,
			(unsigned long long)cpu->arch.mpidr);
}

void smp_arch_start(void)
{
	u32 online = 1;

	for (u32 i = 1; i < cpus_found; i++) {
		start_one(&cpus[i]);
		online += cpus[i].online;
	}
	log_info("%u of %u CPUs run", online, cpus_found);
}

void arch_start_secondary(void)
{
	sysreg_write(ttbr0_el1, mmu_empty_root());
	isb();
	__asm__ volatile("tlbi vmalle1\n\tdsb nsh\n\tisb" : : : "memory");
	smp_cpu_setup();
	gic->cpu_init();
	clock_cpu_init();
	irq_restore(0);
	executor_run();
}

void cpu_arch_idle(void)
{
	dsb(sy);
	__asm__ volatile("wfi" : : : "memory");
	/* Taken here and now: cheaper than an exception. */
	irq_dispatch();
}

void cpu_arch_halt(void)
{
	irq_save();
	for (;;)
		__asm__ volatile("wfi");
}
