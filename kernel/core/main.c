/* SPDX-License-Identifier: MIT */
/* The kernel's main: init calls by level, drivers, the other CPUs, then the executor. */
#include <lichen/boot.h>
#include <lichen/cpu.h>
#include <lichen/devicetree.h>
#include <lichen/executor.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <lichen/start.h>

extern const struct initcall initcall_start[], initcall_end[];

static void run_initcalls(enum init_level level)
{
	for (const struct initcall *i = initcall_start; i < initcall_end; i++)
		if (i->level == level)
			i->call();
}

void kernel_start(void)
{
	irq_restore(0);
	log_info("Lichen %s", boot_option("quiet") ? "" : boot_command_line);
	executor_online();
	run_initcalls(INIT_CORE);
	smp_arch_start();
	if (boot_option("selftest")) {
		selftest_start();
		executor_run();
	}
	run_initcalls(INIT_FS);
	run_initcalls(INIT_DEVICE);
	devicetree_probe();
	run_initcalls(INIT_LATE);
	slab_close();
	if (!task_spawn("start", &system_start_fn, NULL, 0))
		panic("no memory for the first task");
	executor_run();
}
