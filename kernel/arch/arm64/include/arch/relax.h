/* SPDX-License-Identifier: MIT */
/* Waiting for another CPU to write a word: an exclusive load arms the monitor, WFE sleeps until it is written. */
#ifndef ARCH_RELAX_H
#define ARCH_RELAX_H

#include <lichen/types.h>

static inline u16 relax_load_u16(_Atomic u16 *word)
{
	u32 value;

	__asm__ volatile("ldaxrh %w0, %1" : "=r"(value) : "Q"(*word) : "memory");
	return (u16)value;
}

static inline void relax_wait(void)
{
	__asm__ volatile("wfe" : : : "memory");
}

/* A store to the word clears the monitor, which is an event by itself. */
static inline void relax_notify(void)
{
}

/* In loops that poll without a word to watch. */
static inline void relax(void)
{
	__asm__ volatile("yield" : : : "memory");
}

#endif
