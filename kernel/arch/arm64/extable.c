/* SPDX-License-Identifier: MIT */
/* Finds where the kernel goes on after a fault on user memory. */
#include <arch/extable.h>

extern const struct exception_entry exception_table_start[], exception_table_end[];

u64 exception_fixup(u64 pc)
{
	for (const struct exception_entry *e = exception_table_start; e < exception_table_end; e++)
		if ((u64)&e->instruction + (s64)e->instruction == pc)
			return (u64)&e->fixup + (s64)e->fixup;
	return 0;
}
