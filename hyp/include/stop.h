/* SPDX-License-Identifier: MIT */
/*
 * Taking CPUs back from a domain (see domain_stop).
 */
#ifndef HYP_STOP_H
#define HYP_STOP_H

#include "cpu.h"

/* The calling CPU was taken back: it leaves its domain and is off. */
void cpu_stopped(struct cpu *cpu) __attribute__((noreturn));

#endif
