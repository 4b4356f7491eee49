/* SPDX-License-Identifier: MIT */
/*
 * What belongs to one CPU: its kernel stack, its run queue, its timers. Found through a register in a few cycles. Only
 * its own CPU writes it, but for what a lock or an atomic guards.
 */
#ifndef LICHEN_CPU_H
#define LICHEN_CPU_H

#include <lichen/irq.h>
#include <lichen/lock.h>
#include <lichen/rbtree.h>
#include <lichen/task.h>
#include <lichen/timer.h>
#include <arch/cpu.h>

struct run_queue {
	spinlock_t lock; /* interrupts masked */
	struct rb_tree tree; /* by vruntime */
	struct rb_node *first; /* of the tree */
	_Atomic u32 count;
	_Atomic u64 floor; /* vruntime of who ran last: newcomers start here, never behind */
};

struct timer_queue {
	spinlock_t lock; /* interrupts masked */
	struct rb_tree tree; /* by deadline */
	struct rb_node *first;
	struct timer *_Atomic running; /* its expire is being called */
	nsec_t armed; /* what the hardware was told; 0: off */
};

struct cpu {
	void *stack_top; /* of the kernel stack; entry code reads it */
	struct task *_Atomic current;
	u32 id;
	_Atomic bool online;
	_Atomic bool idle;
	struct run_queue queue;
	struct timer_queue timers;
	nsec_t run_start; /* when `current` began to run */
	nsec_t slice_end; /* 0: nobody else waits */
	u64 switches, idle_ns, interrupts;
	u64 spins; /* turns of the loop that waits for a device: lichen/spin.h */
	u64 bytes_copied; /* by kiov_read and kiov_write */
	struct lichen_trace_ring *trace; /* NULL: none. core/trace.c */
	struct cpu_arch arch;
} __aligned(64);

extern struct cpu cpus[CPUS_MAX];

/* this_cpu() is in arch/cpu.h: stable while interrupts... and the task do not change CPU, that is between awaits. */

/* --- what an architecture does for the core --- */
/* Waits for an interrupt, any; interrupts are masked, a pending one ends it. */
void cpu_arch_idle(void);
/*
 * Waits until *index is not `seen`, at most until the counter reaches `deadline` and only while no other task wants this CPU and
 * nothing is to be done for `self`. Sleeps in between (WFE); counts its turns in cpu->spins.
 */
void cpu_arch_spin(const volatile u16 *index, u16 seen, struct task *self, u64 deadline);
/* Makes a CPU look at its run queue: it leaves idle, or user mode. */
void cpu_arch_kick(u32 cpu);
/* Stops all other CPUs, for good. */
void cpu_arch_stop_others(void);
/* Tells the CPU's clock when to interrupt next; 0: never. Interrupts masked. */
void clock_arch_arm(nsec_t deadline);
/* A thread leaves its CPU: what is still in registers goes to its context; or comes to it. Interrupts masked. */
struct thread;
void thread_arch_save(struct thread *thread);
void thread_arch_load(struct thread *thread);
/* ns in user mode since the last call, of this CPU's running thread. Interrupts masked. */
nsec_t thread_arch_user_time(void);
/* Enters user mode with what thread->user says. The kernel stack starts anew with the next exception. */
void __noreturn thread_arch_enter(struct thread *thread);

/* --- executor.c and timer.c, for the architecture --- */
/* The running task cannot go on: picks another. Forgets the kernel stack. */
void __noreturn executor_resume_other(void);
/* The kick has come. */
void executor_kicked(void);
/* The clock has rung: interrupts masked. */
void timer_interrupt(void);
/* This CPU's slice_end was set: interrupts masked. */
void timer_slice(struct cpu *cpu);

#endif
