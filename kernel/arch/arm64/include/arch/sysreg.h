/* SPDX-License-Identifier: MIT */
/* System registers, and the exception classes of ESR_EL1 (Arm ARM D19.2.37). */
#ifndef ARCH_SYSREG_H
#define ARCH_SYSREG_H

#include <lichen/types.h>

#define sysreg_read(reg)                                                                           \
	({                                                                                         \
		u64 _v;                                                                            \
		__asm__ volatile("mrs %0, " #reg : "=r"(_v) : : "memory");                         \
		_v;                                                                                \
	})
#define sysreg_write(reg, value)                                                                   \
	__asm__ volatile("msr " #reg ", %x0" : : "rZ"((u64)(value)) : "memory")
#define isb()	 __asm__ volatile("isb" : : : "memory")
#define dsb(opt) __asm__ volatile("dsb " #opt : : : "memory")
#define dmb(opt) __asm__ volatile("dmb " #opt : : : "memory")

enum {
	EC_UNKNOWN = 0x00,
	EC_WFX = 0x01,
	EC_FP_ACCESS = 0x07,
	EC_ILLEGAL_STATE = 0x0e,
	EC_SVC64 = 0x15,
	EC_SYSREG = 0x18,
	EC_SVE = 0x19,
	EC_INSTRUCTION_ABORT_USER = 0x20,
	EC_INSTRUCTION_ABORT = 0x21,
	EC_PC_ALIGNMENT = 0x22,
	EC_DATA_ABORT_USER = 0x24,
	EC_DATA_ABORT = 0x25,
	EC_SP_ALIGNMENT = 0x26,
	EC_FP_EXCEPTION = 0x2c,
	EC_SERROR = 0x2f,
	EC_BREAKPOINT_USER = 0x30,
	EC_STEP_USER = 0x32,
	EC_WATCHPOINT_USER = 0x34,
	EC_BRK = 0x3c,
};
#define ESR_EC(esr)  (((esr) >> 26) & 0x3f)
#define ESR_ISS(esr) ((esr) & 0x1ffffff)
#define ESR_WNR	     (1u << 6)
#define ESR_CM	     (1u << 8)
#define ESR_FSC(esr) ((esr) & 0x3f)

#define PSTATE_N_TO_V 0xf0000000ull
#define PSTATE_IRQ    (1ull << 7)

#endif
