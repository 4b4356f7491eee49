/* SPDX-License-Identifier: MIT */
/*
 * AT_HWCAP and AT_HWCAP2 from the CPU's ID registers (Arm ARM D19.2; bits: Linux's uapi asm/hwcap.h). Listed is what works for
 * programs without the kernel's help; what needs registers to be switched with the thread (SVE, SME, pointer keys, memory
 * tags) is not, and HWCAP_CPUID is not, since user mode may not read ID registers here.
 */
#include "../../proc/exec.h"
#include <asm/hwcap.h>
#include <arch/sysreg.h>

enum id_register { ISAR0, ISAR1, PFR0, MMFR2, ID_REGISTERS };

struct feature {
	u8 reg, shift, minimum, word;
	u64 bit;
};

static const struct feature features[] = {
	{ISAR0, 4, 1, 0, HWCAP_AES},
	{ISAR0, 4, 2, 0, HWCAP_PMULL},
	{ISAR0, 8, 1, 0, HWCAP_SHA1},
	{ISAR0, 12, 1, 0, HWCAP_SHA2},
	{ISAR0, 12, 2, 0, HWCAP_SHA512},
	{ISAR0, 16, 1, 0, HWCAP_CRC32},
	{ISAR0, 20, 2, 0, HWCAP_ATOMICS},
	{ISAR0, 28, 1, 0, HWCAP_ASIMDRDM},
	{ISAR0, 32, 1, 0, HWCAP_SHA3},
	{ISAR0, 36, 1, 0, HWCAP_SM3},
	{ISAR0, 40, 1, 0, HWCAP_SM4},
	{ISAR0, 44, 1, 0, HWCAP_ASIMDDP},
	{ISAR0, 48, 1, 0, HWCAP_ASIMDFHM},
	{ISAR0, 52, 1, 0, HWCAP_FLAGM},
	{ISAR0, 52, 2, 1, HWCAP2_FLAGM2},
	{ISAR0, 60, 1, 1, HWCAP2_RNG},
	{ISAR1, 0, 1, 0, HWCAP_DCPOP},
	{ISAR1, 0, 2, 1, HWCAP2_DCPODP},
	{ISAR1, 12, 1, 0, HWCAP_JSCVT},
	{ISAR1, 16, 1, 0, HWCAP_FCMA},
	{ISAR1, 20, 1, 0, HWCAP_LRCPC},
	{ISAR1, 20, 2, 0, HWCAP_ILRCPC},
	{ISAR1, 32, 1, 1, HWCAP2_FRINT},
	{ISAR1, 36, 1, 0, HWCAP_SB},
	{ISAR1, 44, 1, 1, HWCAP2_BF16},
	{ISAR1, 48, 1, 1, HWCAP2_DGH},
	{ISAR1, 52, 1, 1, HWCAP2_I8MM},
	{MMFR2, 32, 1, 0, HWCAP_USCAT},
};

void arch_hwcaps(u64 caps[2])
{
	u64 value[ID_REGISTERS] = {
		[ISAR0] = sysreg_read(id_aa64isar0_el1),
		[ISAR1] = sysreg_read(id_aa64isar1_el1),
		[PFR0] = sysreg_read(id_aa64pfr0_el1),
		[MMFR2] = sysreg_read(s3_0_c0_c7_2), /* ID_AA64MMFR2_EL1 */
	};
	u64 fp = (value[PFR0] >> 16) & 15, simd = (value[PFR0] >> 20) & 15;

	caps[0] = caps[1] = 0;
	/* These two count from 0; 15 is absent. */
	if (fp < 15)
		caps[0] |= HWCAP_FP | (fp >= 1 ? HWCAP_FPHP : 0);
	if (simd < 15)
		caps[0] |= HWCAP_ASIMD | (simd >= 1 ? HWCAP_ASIMDHP : 0);
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++)
		if (((value[features[i].reg] >> features[i].shift) & 15) >= features[i].minimum)
			caps[features[i].word] |= features[i].bit;
}
