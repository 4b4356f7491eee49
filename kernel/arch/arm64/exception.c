/* SPDX-License-Identifier: MIT */
/*
 * Exceptions in C. Of user mode: sorted into system calls, page faults and the program's own mistakes (process.h). Of the
 * kernel: a fault on user memory goes to the exception table, anything else is the kernel's end.
 */
#include <lichen/cpu.h>
#include <lichen/debug.h>
#include <lichen/printk.h>
#include <lichen/process.h>
#include <asm/errno.h>
#include <lichen/uaccess.h>
#include <arch/exception.h>
#include <arch/extable.h>
#include <arch/thread.h>
#include <arch/memory.h>
#include <arch/sysreg.h>

extern char text_start[], text_end[], rodata_end[], image_end[];

static struct thread *context_thread(struct user_context *context)
{
	return container_of(context, struct thread, user);
}

static bool is_page_fault(u64 esr)
{
	u64 fsc = ESR_FSC(esr);

	/* Translation, access flag and permission faults, of any level. */
	return fsc >= 0x04 && fsc <= 0x0f;
}

void user_exception(struct user_context *context, u64 esr, u64 far)
{
	struct thread *thread = context_thread(context);
	u32 access;

	context->esr = esr;
	context->fault_address = far;
	thread->syscall = -1;
	switch (ESR_EC(esr)) {
	case EC_FP_ACCESS:
	case EC_SVE:
		if (ESR_EC(esr) == EC_FP_ACCESS) {
			thread_fp_trap(thread);
			return;
		}
		break;
	case EC_INSTRUCTION_ABORT_USER:
	case EC_DATA_ABORT_USER:
		if (!is_page_fault(esr))
			break;
		if (ESR_EC(esr) == EC_INSTRUCTION_ABORT_USER)
			access = FAULT_EXEC;
		else
			access = (esr & ESR_WNR) && !(esr & ESR_CM) ? FAULT_WRITE : FAULT_READ;
		if (thread_page_fault(thread, far, access, esr) == PENDING)
			executor_resume_other();
		return;
	}
	thread_exception(thread, esr, far);
}

void user_interrupt(struct user_context *context)
{
	context_thread(context)->syscall = -1;
	irq_dispatch();
}

void user_system_error(struct user_context *context, u64 esr)
{
	struct thread *thread = context_thread(context);

	thread->syscall = -1;
	context->esr = esr;
	context->fault_address = 0;
	log_ratelimited(LOG_ERR, "system error in user mode: pid %d, syndrome %#llx, pc %#llx", thread->tid,
		(unsigned long long)esr, (unsigned long long)context->pc);
	thread_exception(thread, esr, 0);
}

static void show_frame(const struct kernel_frame *frame, u64 esr, u64 far)
{
	log_err("pc %016llx  lr %016llx  sp %016llx  pstate %llx", (unsigned long long)frame->pc,
		(unsigned long long)frame->x[30], (unsigned long long)frame->sp, (unsigned long long)frame->pstate);
	log_err("syndrome %llx (class %llx)  address %016llx", (unsigned long long)esr,
		(unsigned long long)ESR_EC(esr), (unsigned long long)far);
	for (int i = 0; i < 30; i += 3)
		log_err("x%-2d %016llx  x%-2d %016llx  x%-2d %016llx", i, (unsigned long long)frame->x[i], i + 1,
			(unsigned long long)frame->x[i + 1], i + 2, (unsigned long long)frame->x[i + 2]);
}

void kernel_exception(struct kernel_frame *frame, u64 esr, u64 far)
{
	u64 fixup;

	if (ESR_EC(esr) == EC_DATA_ABORT && (fixup = exception_fixup(frame->pc))) {
		struct task *task = cpus_ready ? this_cpu()->current : NULL;

		if (task && task->flags & TASK_THREAD && is_page_fault(esr) && far < USER_END &&
			!(frame->pstate & PSTATE_IRQ)) {
			struct thread *thread = thread_of(task);
			long done = -EFAULT;

			irq_restore(0);
			if (thread->mm)
				done = mm_fault_fast(thread->mm, far, esr & ESR_WNR ? FAULT_WRITE : FAULT_READ);
			irq_save();
			if (!done)
				return;
		}
		frame->pc = fixup;
		return;
	}
	irq_save();
	show_frame(frame, esr, far);
	panic(ESR_EC(esr) == EC_BRK ? "break instruction in the kernel"
				    : "unexpected exception in the kernel, address %#llx",
		(unsigned long long)far);
}

void kernel_system_error(struct kernel_frame *frame, u64 esr)
{
	show_frame(frame, esr, 0);
	panic("system error (an access that the machine refused)");
}

void kernel_bad_entry(struct kernel_frame *frame, u64 esr)
{
	show_frame(frame, esr, 0);
	panic("exception by a vector that is never used");
}

void kernel_stack_overflow(u64 esr)
{
	struct cpu *cpu = this_cpu();

	log_err("kernel stack overflow on CPU %u: sp %#llx, pc %#llx, address %#llx", cpu->id,
		(unsigned long long)cpu->arch.overflow[0], (unsigned long long)cpu->arch.overflow[1],
		(unsigned long long)cpu->arch.overflow[2]);
	debug_arch_backtrace((void *)cpu->arch.overflow[3]);
	panic("kernel stack overflow, syndrome %#llx", (unsigned long long)esr);
}

void kernel_early_fault(u64 esr, u64 pc, u64 far)
{
	panic("fault before the CPUs were set up: syndrome %#llx, pc %#llx, address %#llx", (unsigned long long)esr,
		(unsigned long long)pc, (unsigned long long)far);
}

void debug_arch_backtrace(const void *frame_pointer)
{
	const u64 *fp = frame_pointer ? frame_pointer : __builtin_frame_address(0);

	for (int i = 0; i < 40 && (u64)fp >= KERNEL_VIRT && is_aligned((u64)fp, 8); i++) {
		const u64 *next = (const u64 *)fp[0];
		u64 pc = fp[1];

		if (pc < (u64)text_start || pc >= (u64)text_end)
			break;
		log_err("    %016llx", (unsigned long long)pc);
		if (next <= fp || (u64)next - (u64)fp > STACK_SIZE)
			break;
		fp = next;
	}
}

bool debug_arch_readable(const void *p, size_t bytes)
{
	u64 a = (u64)p;

	if (!is_aligned(a, 8))
		return false;
	if (a >= KERNEL_VIRT)
		return a >= (u64)text_start && a + bytes <= (u64)image_end;
	return a >= LINEAR_BASE && phys_page(a - LINEAR_BASE);
}

bool debug_arch_constant(const void *p, size_t bytes)
{
	return is_aligned((u64)p, 8) && (u64)p >= (u64)text_end && (u64)p + bytes <= (u64)rodata_end;
}
