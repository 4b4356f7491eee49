/* SPDX-License-Identifier: MIT */
/*
 * The instructions and system-register fields of Armv8-A that the hypervisor uses (Arm ARM DDI 0487).
 */
#ifndef HYP_ARM64_H
#define HYP_ARM64_H

/* Offsets that assembly shares with C. */
#define REGS_SIZE 256 /* struct regs */

/* SCTLR_EL2 (E2H = 0): RES1 bits, then M, C, I, WXN, SA. */
#define SCTLR_EL2_RES1 0x30c50830
#define SCTLR_EL2_ON   (SCTLR_EL2_RES1 | 1 << 0 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19)
/* SCTLR_EL1 at the start of a domain: RES1 bits only: MMU and caches off, little endian. */
#define SCTLR_EL1_RES1 0x30d00800

#define HCR_VM	  (1ull << 0)
#define HCR_SWIO  (1ull << 1)
#define HCR_TWI	  (1ull << 13)
#define HCR_TID0  (1ull << 15)
#define HCR_TSC	  (1ull << 19)
#define HCR_TIDCP (1ull << 20)
#define HCR_TACR  (1ull << 21)
#define HCR_TSW	  (1ull << 22)
#define HCR_RW	  (1ull << 31)
#define HCR_APK	  (1ull << 40)
#define HCR_API	  (1ull << 41)

#define SPSR_EL1H_MASKED 0x3c5 /* EL1h, DAIF set */

/* ESR_ELx */
#define ESR_EC(esr)		((esr) >> 26 & 0x3f)
#define ESR_IL			(1u << 25)
#define EC_UNKNOWN		0x00
#define EC_WFX			0x01
#define EC_HVC64		0x16
#define EC_SMC64		0x17
#define EC_SYSREG		0x18
#define EC_IABT_LOW		0x20
#define EC_IABT_SAME		0x21
#define EC_DABT_LOW		0x24
#define EC_DABT_SAME		0x25
#define ISS_FSC(esr)		((esr)&0x3f)
#define ISS_WNR			(1u << 6)
#define ISS_S1PTW		(1u << 7)
#define ISS_CM			(1u << 8)
#define ISS_EA			(1u << 9)
#define ISS_FNV			(1u << 10)
#define ISS_SF			(1u << 15)
#define ISS_SRT(esr)		((esr) >> 16 & 0x1f)
#define ISS_SSE			(1u << 21)
#define ISS_SAS(esr)		((esr) >> 22 & 3)
#define ISS_ISV			(1u << 24)
#define FSC_EXTERNAL		0x10
#define FSC_IS_PERMISSION(esr)	(((esr)&0x3c) == 0x0c)
#define FSC_IS_TRANSLATION(esr) (((esr)&0x3c) == 0x04)
#define FSC_IS_ACCESS(esr)	(((esr)&0x3c) == 0x08)

#ifndef __ASSEMBLER__
#include "types.h"

#define read_sysreg(reg)                                                   \
	({                                                                 \
		u64 value_;                                                \
		asm volatile("mrs %0, " #reg : "=r"(value_) : : "memory"); \
		value_;                                                    \
	})
#define write_sysreg(value, reg) asm volatile("msr " #reg ", %x0" : : "rZ"((u64)(value)) : "memory")

#define isb()	       asm volatile("isb" : : : "memory")
#define dsb(scope)     asm volatile("dsb " #scope : : : "memory")
#define wfe()	       asm volatile("wfe" : : : "memory")
#define wfi()	       asm volatile("wfi" : : : "memory")
#define cpu_relax()    asm volatile("yield" : : : "memory")
#define tlbi(op)       asm volatile("tlbi " #op : : : "memory")
#define tlbi_va(op, x) asm volatile("tlbi " #op ", %0" : : "r"(x) : "memory")

/* Since the counter began, which is the machine's reset. */
static inline unsigned long microseconds(void)
{
	return read_sysreg(cntpct_el0) / (read_sysreg(cntfrq_el0) / 1000000);
}

/* Device registers: single accesses of the stated size, so that a fault or an emulator can decode them. */
static inline u32 mmio_read32(u64 addr)
{
	u32 value;

	asm volatile("ldr %w0, %1" : "=r"(value) : "Qo"(*(volatile u32 *)addr) : "memory");
	return value;
}

static inline void mmio_write32(u64 addr, u32 value)
{
	asm volatile("str %w1, %0" : "=Qo"(*(volatile u32 *)addr) : "rZ"(value) : "memory");
}

static inline u64 mmio_read64(u64 addr)
{
	u64 value;

	asm volatile("ldr %0, %1" : "=r"(value) : "Qo"(*(volatile u64 *)addr) : "memory");
	return value;
}

static inline void mmio_write64(u64 addr, u64 value)
{
	asm volatile("str %x1, %0" : "=Qo"(*(volatile u64 *)addr) : "rZ"(value) : "memory");
}

static inline u8 mmio_read8(u64 addr)
{
	u8 value;

	asm volatile("ldrb %w0, %1" : "=r"(value) : "Qo"(*(volatile u8 *)addr) : "memory");
	return value;
}

static inline void mmio_write8(u64 addr, u8 value)
{
	asm volatile("strb %w1, %0" : "=Qo"(*(volatile u8 *)addr) : "rZ"(value) : "memory");
}
#endif
#endif
