// SPDX-License-Identifier: MIT
/* A CPU in /proc/cpuinfo, as Linux shows an arm64 one. All CPUs are taken to be like the one that is asked. */
#include "../../proc/exec.h"
#include <lichen/irq.h>
#include <asm/hwcap.h>
#include <arch/sysreg.h>

static const struct {
	u64 bit;
	const char *name;
} names[] = {
	{HWCAP_FP, "fp"}, {HWCAP_ASIMD, "asimd"}, {HWCAP_EVTSTRM, "evtstrm"}, {HWCAP_AES, "aes"}, {HWCAP_PMULL, "pmull"},
	{HWCAP_SHA1, "sha1"}, {HWCAP_SHA2, "sha2"}, {HWCAP_CRC32, "crc32"}, {HWCAP_ATOMICS, "atomics"}, {HWCAP_FPHP, "fphp"},
	{HWCAP_ASIMDHP, "asimdhp"}, {HWCAP_CPUID, "cpuid"}, {HWCAP_ASIMDRDM, "asimdrdm"}, {HWCAP_JSCVT, "jscvt"},
	{HWCAP_FCMA, "fcma"}, {HWCAP_LRCPC, "lrcpc"}, {HWCAP_DCPOP, "dcpop"}, {HWCAP_SHA3, "sha3"}, {HWCAP_SM3, "sm3"},
	{HWCAP_SM4, "sm4"}, {HWCAP_ASIMDDP, "asimddp"}, {HWCAP_SHA512, "sha512"}, {HWCAP_ASIMDFHM, "asimdfhm"}, {HWCAP_DIT, "dit"},
	{HWCAP_USCAT, "uscat"}, {HWCAP_ILRCPC, "ilrcpc"}, {HWCAP_FLAGM, "flagm"}, {HWCAP_SSBS, "ssbs"}, {HWCAP_SB, "sb"},
};

size_t cpu_show(u32 cpu, char *buf, size_t bytes)
{
	u64 midr = sysreg_read(midr_el1), hz = sysreg_read(cntfrq_el0), caps[2];
	size_t n;

	arch_hwcaps(caps);
	n = (size_t)snprintf(buf, bytes, "processor\t: %u\nBogoMIPS\t: %llu.%02llu\nFeatures\t:", cpu, (unsigned long long)(hz / 500000),
		(unsigned long long)(hz / 5000 % 100));
	for (u32 i = 0; i < ARRAY_SIZE(names) && n < bytes; i++)
		if (caps[0] & names[i].bit)
			n += (size_t)snprintf(buf + n, bytes - n, " %s", names[i].name);
	if (n < bytes)
		n += (size_t)snprintf(buf + n, bytes - n,
			"\nCPU implementer\t: 0x%02x\nCPU architecture: 8\nCPU variant\t: 0x%x\nCPU part\t: 0x%03x\nCPU revision\t: %u\n\n", (u32)(midr >> 24) & 0xff,
			(u32)(midr >> 20) & 15, (u32)(midr >> 4) & 0xfff, (u32)midr & 15);
	return min(n, bytes - 1);
}
