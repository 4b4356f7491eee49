/* SPDX-License-Identifier: MIT */
/* Host: registers are memory. */
#ifndef ARCH_IO_H
#define ARCH_IO_H

#include <lichen/types.h>

static inline u8 io_read8(const volatile void *address)
{
	return *(const volatile u8 *)address;
}

static inline u32 io_read32(const volatile void *address)
{
	return *(const volatile u32 *)address;
}

static inline void io_write32(volatile void *address, u32 value)
{
	*(volatile u32 *)address = value;
}

#endif
