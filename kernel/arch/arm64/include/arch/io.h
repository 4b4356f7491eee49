/* SPDX-License-Identifier: MIT */
/*
 * Device registers. The plainest addressing mode: a load or store that also updates its base register has no valid
 * syndrome (Arm ARM D19.2.37, ISV), and a hypervisor cannot emulate it.
 */
#ifndef ARCH_IO_H
#define ARCH_IO_H

#include <lichen/types.h>

static inline u8 io_read8(const volatile void *address)
{
	u32 value;

	__asm__ volatile("ldrb %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
	return (u8)value;
}

static inline u32 io_read32(const volatile void *address)
{
	u32 value;

	__asm__ volatile("ldr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline void io_write32(volatile void *address, u32 value)
{
	__asm__ volatile("str %w0, [%1]" : : "rZ"(value), "r"(address) : "memory");
}

#endif
