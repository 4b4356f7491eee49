/* SPDX-License-Identifier: MIT */
/* Registers of threads that are not saved at every entry. */
#ifndef ARCH_THREAD_H
#define ARCH_THREAD_H
struct thread;
/* The first use of the vector unit since the thread came to this CPU. */
void thread_fp_trap(struct thread *thread);
#endif
