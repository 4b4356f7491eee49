/* SPDX-License-Identifier: MIT */
/*
 * Instructions that may fault on user memory, and where to go on when they do: section .exceptions, an array of pairs of
 * 32-bit offsets, each relative to its own address. The data abort handler of EL1 asks exception_fixup().
 */
#ifndef ARCH_EXTABLE_H
#define ARCH_EXTABLE_H

#ifdef __ASSEMBLY__

/* The next instruction may fault: it goes on at \fixup, all registers as they were. */
	.macro	may_fault fixup, insn:vararg
8888:	\insn
	.pushsection .exceptions, "a"
	.balign	4
	.long	(8888b - .), (\fixup - .)
	.popsection
	.endm

#else

#include <lichen/types.h>

struct exception_entry {
	s32 instruction, fixup;
};

/* In C: a line of asm that says the same of two labels. */
#define EXCEPTION_ENTRY(instruction, fixup)                                                        \
	".pushsection .exceptions, \"a\"\n.balign 4\n.long (" instruction " - .), (" fixup         \
	" - .)\n.popsection\n"

/* The address to go on at after a fault of the kernel at `pc`; 0: none, the fault is a bug. */
u64 exception_fixup(u64 pc);

#endif
#endif
