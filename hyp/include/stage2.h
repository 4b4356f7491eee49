/* SPDX-License-Identifier: MIT */
/*
 * Stage 2: which physical pages a domain reaches. Identity mapped; built at boot, only ever taken away later.
 */
#ifndef HYP_STAGE2_H
#define HYP_STAGE2_H

#include "domain.h"
#include "machine.h"

/* Bits of an intermediate physical address: 40, or fewer when the CPUs have fewer. */
u32 stage2_bits(void);

/* Empty tables. */
void stage2_init(struct domain *domain);
static inline void stage2_map(struct domain *domain, u64 base, u64 size, u64 attributes)
{
	pagetable_map(&domain->stage2, base, size, attributes);
}
/* Everything that is neither RAM, nor the interrupt controller's, nor the console: the driver domain's devices. */
void stage2_map_devices(struct domain *domain, const struct machine *machine);

/* Makes the domain's tables those of the calling CPU. */
void stage2_load(const struct domain *domain);

/* Takes everything away, at once and on all CPUs of the domain: their next access or fetch aborts. */
void stage2_revoke(struct domain *domain);

/* What the domain's stage 1 makes of a virtual address, on the calling CPU. False: it does not translate. */
static inline bool stage2_translate(u64 addr, u64 *ipa)
{
	u64 saved = read_sysreg(par_el1), par;

	asm volatile("at s1e1r, %0" : : "r"(addr) : "memory");
	isb();
	par = read_sysreg(par_el1);
	write_sysreg(saved, par_el1);
	*ipa = (par & PTE_ADDR) | (addr & 0xfff);
	return !(par & 1);
}

/*
 * The intermediate physical address of a fault on the calling CPU. HPFAR_EL2 holds it, but not after a permission fault: that asks the
 * domain's own stage 1. False: stage 1 does not translate it (any more).
 */
bool stage2_fault_address(u64 esr, u64 far, u64 *ipa);

#endif
