/* SPDX-License-Identifier: MIT */
/* The atomic access to user memory that futexes need: PAN is opened around it where the CPU has it. */
#include <lichen/uaccess.h>
#include <arch/sysreg.h>
#include <asm/errno.h>

long uaccess_cmpxchg(u32 __user *address, u32 old, u32 new_value, u32 *seen);

static bool cpu_has_pan(void)
{
	return (sysreg_read(id_aa64mmfr1_el1) >> 20) & 0xf;
}

long user_cmpxchg_u32(u32 __user *address, u32 old, u32 new_value, u32 *seen)
{
	long error;

	if (!user_range_ok(address, sizeof(*address)) || ((__force u64)address & 3))
		return -EFAULT;
	if (!cpu_has_pan())
		return uaccess_cmpxchg(address, old, new_value, seen);
	/* msr pan, #0 and #1, for assemblers that don't know v8.1. An interrupt in between saves and restores the bit. */
	__asm__ volatile(".inst 0xd500409f" : : : "memory");
	error = uaccess_cmpxchg(address, old, new_value, seen);
	__asm__ volatile(".inst 0xd500419f" : : : "memory");
	return error;
}
