/* SPDX-License-Identifier: MIT */
/* Host: a CPU is a thread of the test program. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <pthread.h>

struct cpu;

struct cpu_arch {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	_Bool kicked;
};

extern __thread struct cpu *shim_cpu;

static inline struct cpu *this_cpu(void)
{
	return shim_cpu;
}

#endif
