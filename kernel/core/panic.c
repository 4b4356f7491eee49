/* SPDX-License-Identifier: MIT */
/* The end: message, registers' and stack's story, the tasks' async backtraces, then nothing more or a restart (panic=N). */
#include <lichen/cpu.h>
#include <lichen/debug.h>
#include <lichen/printk.h>
#include <lichen/task.h>

static void show_running(struct task *task)
{
	static char trace[1024];
	char *line = trace;

	task_backtrace(task, trace, sizeof(trace));
	for (char *p = trace; *p; p++) {
		if (*p != '\n')
			continue;
		*p = '\0';
		log_err("    %s", line);
		line = p + 1;
	}
}

void __noreturn panic(const char *format, ...)
{
	char text[200];
	va_list args;

	irq_save();
	if (!log_panic_begin())
		cpu_arch_halt();
	cpu_arch_stop_others();
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_err("panic on CPU %u: %s", cpu_id(), text);
	debug_arch_backtrace(NULL);
	if (cpus_ready && this_cpu()->current) {
		log_err("running task %p, its async backtrace:", (void *)this_cpu()->current);
		show_running(this_cpu()->current);
	}
	if (boot_option("panic"))
		machine_restart();
	cpu_arch_halt();
}
