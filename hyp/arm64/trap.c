/* SPDX-License-Identifier: MIT */
/*
 * Every entry to EL2 by an instruction of a domain ends here, is counted, and is either done or answered with an exception in
 * the domain that caused it. Nothing here loops on what a domain says.
 */
#include "arm64.h"
#include "domain.h"
#include "gic.h"
#include "hypercall.h"
#include "log.h"
#include "mmu.h"
#include "psci.h"
#include "stage2.h"
#include "stop.h"
#include "trap.h"
#include "uart.h"
#include "virtio.h"

#define SPSR_AARCH32  (1 << 4)
#define SPSR_NZCV     (0xfull << 28)
#define SPSR_DIT      (1ull << 24)
#define SPSR_PAN      (1ull << 22)
#define SPSR_SSBS     (1ull << 12)
#define SCTLR_SPAN    (1ull << 23)
#define SCTLR_DSSBS   (1ull << 44)
#define VIRTIO_NOTIFY 0x50 /* VIRTIO_MMIO_QUEUE_NOTIFY */
#define VIRTIO_ACK    0x64 /* VIRTIO_MMIO_INTERRUPT_ACK */

/* Takes the exception `esr` to the domain's EL1, as the hardware would have (Arm ARM, AArch64.TakeException). */
static void inject(u32 esr, u64 far)
{
	u64 spsr = read_sysreg(spsr_el2), sctlr = read_sysreg(sctlr_el1);
	u64 offset, flags = spsr & (SPSR_NZCV | SPSR_DIT | SPSR_PAN);

	if (spsr & SPSR_AARCH32)
		offset = 0x600;
	else if ((spsr & 0xf) == 0)
		offset = 0x400;
	else
		offset = spsr & 1 ? 0x200 : 0x000;
	if ((read_sysreg(id_aa64mmfr1_el1) >> 20 & 0xf) && !(sctlr & SCTLR_SPAN))
		flags |= SPSR_PAN;
	if (sctlr & SCTLR_DSSBS)
		flags |= SPSR_SSBS;
	write_sysreg(esr, esr_el1);
	write_sysreg(far, far_el1);
	write_sysreg(read_sysreg(elr_el2), elr_el1);
	write_sysreg(spsr, spsr_el1);
	write_sysreg(read_sysreg(vbar_el1) + offset, elr_el2);
	write_sysreg(SPSR_EL1H_MASKED | flags, spsr_el2);
}

static bool from_el0(void)
{
	u64 spsr = read_sysreg(spsr_el2);

	return spsr & SPSR_AARCH32 || (spsr & 0xf) == 0;
}

/* A synchronous external abort, on the access or on the walk to it. */
static void inject_abort(u64 esr)
{
	u32 class = ESR_EC(esr) == EC_IABT_LOW ? EC_IABT_LOW : EC_DABT_LOW;
	u32 iss = FSC_EXTERNAL | (esr & ISS_WNR);

	if (esr & ISS_S1PTW)
		iss = (FSC_EXTERNAL + 4) | (esr & 3);
	if (!from_el0())
		class ++; /* the class of the same exception level */
	inject(class << 26 | ESR_IL | iss, read_sysreg(far_el2));
}

static void inject_undefined(u64 esr)
{
	inject(EC_UNKNOWN << 26 | (esr & ESR_IL), 0);
}

static void skip_instruction(u64 esr)
{
	write_sysreg(read_sysreg(elr_el2) + (esr & ESR_IL ? 4 : 2), elr_el2);
}

static void bad_access(struct cpu *cpu, u64 esr, u64 ipa)
{
	const char *what = ESR_EC(esr) == EC_IABT_LOW ? "instruction fetch"
			   : esr & ISS_S1PTW	      ? "table walk"
			   : esr & ISS_CM	      ? "cache maintenance"
			   : esr & ISS_WNR	      ? "store"
						      : "load";

	cpu_count(cpu, LICHEN_STATS_ABORT);
	domain_complain(cpu->domain, "CPU %u: %s at %lx (virtual %lx, pc %lx): external abort",
		cpu->index, what, (unsigned long)ipa, (unsigned long)read_sysreg(far_el2),
		(unsigned long)read_sysreg(elr_el2));
	inject_abort(esr);
}

/* The value of a load goes to its register, extended as the instruction says. */
static void finish_load(u64 esr, struct regs *regs, const struct mmio *mmio)
{
	u32 bits = 8 * mmio->size;
	u64 value = bits < 64 ? mmio->value & (BIT(bits) - 1) : mmio->value;

	if (esr & ISS_SSE && bits < 64 && value >> (bits - 1))
		value |= ~0ull << bits;
	if (!(esr & ISS_SF))
		value = (u32)value;
	if (ISS_SRT(esr) != 31)
		regs->x[ISS_SRT(esr)] = value;
}

static void data_abort(struct cpu *cpu, u64 esr, struct regs *regs)
{
	struct mmio mmio;
	u64 ipa;

	if (domain_stopping(cpu->domain))
		cpu_stopped(cpu);
	if (!stage2_fault_address(esr, read_sysreg(far_el2), &ipa)) {
		/* The domain changed its own tables meanwhile: let it fault again. */
		cpu_count(cpu, LICHEN_STATS_OTHER);
		return;
	}
	if (!(esr & ISS_ISV) || esr & (ISS_CM | ISS_S1PTW)) {
		bad_access(cpu, esr, ipa);
		return;
	}
	mmio = (struct mmio){.addr = ipa, .size = 1 << ISS_SAS(esr), .write = esr & ISS_WNR};
	mmio.value = regs->x[ISS_SRT(esr)];
	if (mmio.size < 8)
		mmio.value &= BIT(8 * mmio.size) - 1;
	if (virtio_access(cpu, &mmio)) {
		;
	} else if (uart_access(cpu->domain, &mmio)) {
		cpu_count(cpu, LICHEN_STATS_OTHER);
	} else if (!gic_access(cpu->domain, &mmio)) {
		bad_access(cpu, esr, ipa);
		return;
	}
	if (unlikely(mmio.again)) {
		/* The domain waits, with its interrupts as it has them, not EL2. */
		cpu_relax();
		return;
	}
	if (!mmio.write)
		finish_load(esr, regs, &mmio);
	skip_instruction(esr);
}

static void instruction_abort(struct cpu *cpu, u64 esr)
{
	u64 ipa;

	if (domain_stopping(cpu->domain))
		cpu_stopped(cpu);
	if (!stage2_fault_address(esr, read_sysreg(far_el2), &ipa))
		ipa = ~0ull;
	bad_access(cpu, esr, ipa);
}

/* DC ISW, CSW, CISW: a domain that cleans by set and way means its own caches, which nobody can give it. They do nothing. */
static bool is_set_way(u64 esr)
{
	u32 op0 = esr >> 20 & 3, op1 = esr >> 14 & 7, crn = esr >> 10 & 15, crm = esr >> 1 & 15,
	    op2 = esr >> 17 & 7;

	return op0 == 1 && op1 == 0 && crn == 7 && op2 == 2 &&
	       (crm == 6 || crm == 10 || crm == 14) && !(esr & 1);
}

/* ACTLR_EL1 is the CPU's, not a domain's: reads as zero, ignores writes. */
static bool is_actlr(u64 esr)
{
	return (esr >> 1 & 0x1fffff & ~(0x1f << 4)) == ((3 << 19 | 1 << 16 | 0 << 13 | 1 << 9 | 0));
}

static void system_register(struct cpu *cpu, u64 esr, struct regs *regs)
{
	u32 rt = esr >> 5 & 0x1f;

	cpu_count(cpu, LICHEN_STATS_SYSREG);
	if (is_actlr(esr)) {
		if (esr & 1 && rt != 31)
			regs->x[rt] = 0;
	} else if (is_set_way(esr)) {
		domain_complain(cpu->domain,
			"CPU %u: cache maintenance by set and way does nothing", cpu->index);
	} else if (!gic_sysreg(cpu, esr, regs)) {
		inject_undefined(esr);
		return;
	}
	skip_instruction(esr);
}

static __attribute__((noinline)) void other_hypercall(struct cpu *cpu, u64 esr, struct regs *regs)
{
	if (!(esr & 0xffff) && psci_call(cpu, regs)) {
		cpu_count(cpu, LICHEN_STATS_PSCI);
		return;
	}
	cpu_count(cpu, LICHEN_STATS_HVC);
	regs->x[0] = SMCCC_NOT_SUPPORTED;
}

void trap_hypercall(u64 esr, struct regs *regs)
{
	if (likely(regs->x[0] >> 24 == 0xc6 && !(esr & 0xffff)))
		hypercall(this_cpu(), regs);
	else
		other_hypercall(this_cpu(), esr, regs);
}

void trap_sync(u64 esr, struct regs *regs)
{
	struct cpu *cpu = this_cpu();

	switch (ESR_EC(esr)) {
	case EC_DABT_LOW:
		data_abort(cpu, esr, regs);
		return;
	case EC_IABT_LOW:
		instruction_abort(cpu, esr);
		return;
	case EC_SMC64:
		skip_instruction(esr); /* a trapped SMC returns to itself */
		if (!(esr & 0xffff) && psci_call(cpu, regs)) {
			cpu_count(cpu, LICHEN_STATS_PSCI);
			return;
		}
		cpu_count(cpu, LICHEN_STATS_SMC);
		smc_filter(cpu, regs);
		return;
	case EC_SYSREG:
		system_register(cpu, esr, regs);
		return;
	case EC_WFX:
		cpu_count(cpu, LICHEN_STATS_OTHER);
		skip_instruction(esr);
		gic_wait();
		return;
	}
	cpu_count(cpu, LICHEN_STATS_OTHER);
	inject_undefined(esr);
}

/* A store of 32 bits that stage 2 forbids: nearly always a kick, or the acknowledgement of an interrupt. */
#define STORE_MASK (0x3ful << 26 | ISS_ISV | 3 << 22 | ISS_CM | ISS_S1PTW | ISS_WNR | 0x3c)
#define STORE	   ((u64)EC_DABT_LOW << 26 | ISS_ISV | 2 << 22 | ISS_WNR | 0x0c)

/* With no more registers saved than C may change, and those that a store may be of. */
bool trap_fast(u64 esr, struct regs *regs)
{
	u64 far = read_sysreg(far_el2), ipa;
	u32 rt = ISS_SRT(esr);

	if ((esr & STORE_MASK) != STORE)
		return false;
	if ((far & 0xfff) == VIRTIO_NOTIFY) {
		if (!stage2_translate(far, &ipa) || !virtio_notify(this_cpu(), ipa, regs->x[rt]))
			return false;
	} else if ((far & 0xfff) != VIRTIO_ACK || !stage2_translate(far, &ipa) ||
		   !virtio_acknowledge(this_cpu(), ipa, regs->x[rt])) {
		return false;
	}
	write_sysreg(read_sysreg(elr_el2) + 4, elr_el2);
	return true;
}

void trap_bad(u64 kind, u64 esr, u64 elr, u64 far)
{
	panic("exception %lu: ESR %lx, PC %lx (image + %lx), FAR %lx", (unsigned long)kind,
		(unsigned long)esr, (unsigned long)elr, (unsigned long)(elr - hyp_memory().base),
		(unsigned long)far);
}
