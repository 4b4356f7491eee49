/* SPDX-License-Identifier: MIT */
/*
 * The registers of threads that are not saved at every entry: TPIDR_EL0 and the vector state.
 *
 * fp_live: this thread's state is in this CPU's registers, the unit is open, and they may be newer than user.fp.
 * fp_cpu:  number of the CPU where its state was loaded last, plus 1; 0: none. Together with cpu.arch.fp_owner it tells whether it is still there.
 * A thread that has not touched the unit since it came to the CPU runs with the unit closed: its first use traps.
 * One that had used it before it left gets its state with its CPU: a trap costs more than a load.
 */
#include <lichen/cpu.h>
#include <lichen/process.h>
#include <lichen/string.h>
#include <arch/exception.h>
#include <arch/sysreg.h>
#include <arch/thread.h>

#define CPACR_FP_KERNEL (1ull << 20)
#define CPACR_FP_ALL	(3ull << 20)

static void fp_set_open(struct cpu *cpu, bool open)
{
	if (cpu->arch.fp_open == open)
		return;
	cpu->arch.fp_open = open;
	sysreg_write(cpacr_el1, open ? CPACR_FP_ALL : CPACR_FP_KERNEL);
	isb();
}

static void fp_bring(struct thread *thread, struct cpu *cpu)
{
	if (cpu->arch.fp_owner != thread || thread->user.fp_cpu != cpu->id + 1) {
		fp_load(&thread->user.fp);
		cpu->arch.fp_owner = thread;
		thread->user.fp_cpu = cpu->id + 1;
	}
}

void thread_fp_trap(struct thread *thread)
{
	unsigned long flags = irq_save();

	fp_set_open(this_cpu(), true);
	fp_bring(thread, this_cpu());
	thread->user.fp_live = true;
	irq_restore(flags);
}

void thread_arch_save(struct thread *thread)
{
	thread->user.tls = sysreg_read(tpidr_el0);
	if (thread->user.fp_live)
		fp_store(&thread->user.fp);
}

void thread_arch_load(struct thread *thread)
{
	struct cpu *cpu = this_cpu();

	sysreg_write(tpidr_el0, thread->user.tls);
	fp_set_open(cpu, thread->user.fp_live);
	if (thread->user.fp_live)
		fp_bring(thread, cpu);
}

void thread_fp_save(struct thread *thread)
{
	thread_arch_save(thread);
}

void thread_fp_reload(struct thread *thread)
{
	unsigned long flags = irq_save();

	thread->user.fp_cpu = 0;
	thread_arch_load(thread);
	irq_restore(flags);
}

void thread_fp_reset(struct thread *thread)
{
	memset(&thread->user.fp, 0, sizeof(thread->user.fp));
	thread->user.tls = 0;
	thread_fp_reload(thread);
}

void thread_arch_enter(struct thread *thread)
{
	thread_context_enter(&thread->user);
}
