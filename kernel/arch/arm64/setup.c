/* SPDX-License-Identifier: MIT */
/* From boot.S to the kernel's main: in what order the machine is taken over. */
#include <lichen/boot.h>
#include <lichen/cpu.h>
#include <lichen/devicetree.h>
#include <lichen/printk.h>
#include <arch/clock.h>
#include <arch/console.h>
#include <arch/exception.h>
#include <arch/gic.h>
#include <arch/kernel_map.h>
#include <arch/psci.h>
#include <arch/smp.h>
#include <arch/sysreg.h>
#include <libfdt.h>

void arch_start(phys_addr_t fdt, phys_addr_t image);

static size_t tree_bytes(const void *dt)
{
	if (!dt || fdt_check_header(dt) || fdt_totalsize(dt) > (2u << 20))
		return 0;
	return fdt_totalsize(dt);
}

void arch_start(phys_addr_t fdt, phys_addr_t image)
{
	const void *dt;
	size_t bytes;

	clock_start_early();
	mmu_set_image(image);
	dt = mmu_map_fdt_early(fdt);
	bytes = tree_bytes(dt);
	/* Nothing can be printed without a tree that says where: but the message is in the ring for a debugger. */
	if (!bytes || fdt_check_full(dt, bytes))
		panic("x0 = %#llx is no device tree", (unsigned long long)fdt);
	devicetree_scan(dt);
	mmu_init(fdt, bytes);
	sysreg_write(ttbr0_el1, mmu_empty_root());
	__asm__ volatile("tlbi vmalle1\n\tdsb nsh\n\tisb" : : : "memory");
	console_init(dt);
	page_init();
	mmu_linear_ready();
	slab_init();
	smp_init();
	smp_cpu_setup();
	psci_init(dt);
	if (!smp_give_stacks(&cpus[0]))
		panic("no memory for the kernel stack");
	gic_init(dt);
	gic->cpu_init();
	clock_init(dt);
	clock_cpu_init();
	stack_call(cpus[0].stack_top, kernel_start);
}
