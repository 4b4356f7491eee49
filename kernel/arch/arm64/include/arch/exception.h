/* SPDX-License-Identifier: MIT */
/* What entry.S saves of the kernel's own registers, and the functions that it calls. */
#ifndef ARCH_EXCEPTION_H
#define ARCH_EXCEPTION_H

#include <lichen/types.h>

struct task;
struct user_context;

/* An interrupt fills x0-x18, x29, x30, pc and pstate alone. */
struct kernel_frame {
	u64 x[31], sp;
	u64 pc, pstate;
	u64 record[2];
};
_Static_assert(sizeof(struct kernel_frame) == 288, "FRAME_BYTES in entry.S");

void user_exception(struct user_context *context, u64 esr, u64 far);
void user_interrupt(struct user_context *context);
void user_system_error(struct user_context *context, u64 esr);
void kernel_exception(struct kernel_frame *frame, u64 esr, u64 far);
void __noreturn kernel_system_error(struct kernel_frame *frame, u64 esr);
void __noreturn kernel_bad_entry(struct kernel_frame *frame, u64 esr);
void __noreturn kernel_stack_overflow(u64 esr);
void __noreturn kernel_early_fault(u64 esr, u64 pc, u64 far);
/* Takes and handles all pending interrupts; interrupts masked. */
void irq_dispatch(void);
/* The flags of the thread's task ask for work. Returns when it may enter user mode, interrupts masked. */
void thread_return(struct task *task);

void __noreturn thread_context_enter(struct user_context *context);
void __noreturn stack_call(void *stack_top, void (*fn)(void));
void fp_store(void *fp);
void fp_load(const void *fp);

#endif
