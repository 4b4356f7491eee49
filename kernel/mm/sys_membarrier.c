/* SPDX-License-Identifier: MIT */
/*
 * membarrier: every CPU passes a full barrier before the call returns. Each other CPU is interrupted, and it is waited
 * for the interrupt to be taken: entering and leaving an exception orders memory and synchronises the instruction stream.
 */
#include "internal.h"
#include <lichen/cpu.h>
#include <lichen/process.h>
#include <lichen/syscall.h>
#include <lichen/task.h>
#include <arch/relax.h>
#include <linux/membarrier.h>

#define GET_REGISTRATIONS (1u << 9) /* MEMBARRIER_CMD_GET_REGISTRATIONS: Debian 12's headers lack it */
#define REGISTER_COMMANDS                                                                          \
	(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |      \
		MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)
#define BARRIER_COMMANDS                                                                           \
	(MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED |         \
		MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)

/* What must have been registered for a command; 0: nothing. */
static u32 registration_for(u32 command)
{
	return command == MEMBARRIER_CMD_PRIVATE_EXPEDITED	     ? MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED :
	       command == MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE ? MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE :
								       0;
}

static bool wants_interrupt(u32 cpu)
{
	return cpu != cpu_id() && atomic_load_explicit(&cpus[cpu].online, memory_order_acquire) &&
	       !atomic_load_explicit(&cpus[cpu].idle, memory_order_seq_cst);
}

SYSCALL_ASYNC(membarrier, 3, SYS_ARG(u32, command) SYS_ARG(u32, flags) SYS_ARG(s32, where) struct mm *mm; u32 cpu; u64 taken;)
{
	ASYNC_BEGIN;
	f->mm = thread_of(self)->mm;
	if (f->flags)
		ASYNC_RETURN(-EINVAL);
	if (f->command == MEMBARRIER_CMD_QUERY)
		ASYNC_RETURN(BARRIER_COMMANDS | REGISTER_COMMANDS | GET_REGISTRATIONS);
	if (f->command == GET_REGISTRATIONS)
		ASYNC_RETURN(atomic_load(&f->mm->membarrier));
	if (f->command & (f->command - 1) || !(f->command & (BARRIER_COMMANDS | REGISTER_COMMANDS)))
		ASYNC_RETURN(-EINVAL);
	if (f->command & REGISTER_COMMANDS) {
		atomic_fetch_or(&f->mm->membarrier, f->command);
		ASYNC_RETURN(0);
	}
	if (registration_for(f->command) & ~atomic_load(&f->mm->membarrier))
		ASYNC_RETURN(-EPERM);
	atomic_thread_fence(memory_order_seq_cst);
	for (; f->cpu < cpu_count(); f->cpu++) {
		if (!wants_interrupt(f->cpu))
			continue;
		f->taken = irq_count(f->cpu);
		cpu_arch_kick(f->cpu);
		while (irq_count(f->cpu) == f->taken && wants_interrupt(f->cpu)) {
			relax();
			AWAIT(task_yield);
		}
	}
	atomic_thread_fence(memory_order_seq_cst);
	ASYNC_END;
}
