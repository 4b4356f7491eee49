/* SPDX-License-Identifier: MIT */
/*
 * Stage-2 tables and their registers (Arm ARM, VTCR_EL2, VTTBR_EL2).
 */
#include <string.h>

#include "gic.h"
#include "log.h"
#include "mmu.h"
#include "stage2.h"

#define VTCR_RES1 (1u << 31)

u32 stage2_bits(void)
{
	return MIN(physical_bits(), 40);
}

static u64 *alloc_table(void)
{
	return boot_alloc(PAGE_SIZE);
}

/* From level 1: two concatenated tables for 40 bits, one for 39 and fewer. */
void stage2_init(struct domain *domain)
{
	u32 bits = stage2_bits(), tables = bits > 39 ? 1u << (bits - 39) : 1;
	u64 root = (u64)boot_alloc(2 * tables * PAGE_SIZE);

	/* Concatenated tables are aligned to their size; at most half of the memory is lost. */
	root = ALIGN_UP(root, tables * PAGE_SIZE);
	domain->stage2 = (struct pagetable){(u64 *)root, 1, tables, alloc_table};
	domain->vttbr = root | (u64)(domain->index + 1) << 48;
}

static struct domain *hole_domain;

static void make_hole(u64 base, u64 size)
{
	stage2_map(hole_domain, base, size, 0);
}

void stage2_map_devices(struct domain *domain, const struct machine *machine)
{
	stage2_map(domain, 0, BIT(stage2_bits()), S2_MMIO);
	for (u32 i = 0; i < machine->rams; i++)
		stage2_map(domain, machine->ram[i].base, machine->ram[i].size, 0);
	for (u32 i = 0; i < machine->reserveds; i++)
		stage2_map(domain, machine->reserved[i].base, machine->reserved[i].size, S2_SHARED);
	hole_domain = domain;
	gic_holes(domain, make_hole);
	if (machine->uart.size)
		make_hole(machine->uart.base, machine->uart.size);
	if (machine->smmu.size)
		make_hole(machine->smmu.base, machine->smmu.size);
}

void stage2_load(const struct domain *domain)
{
	u64 range = MIN(read_sysreg(id_aa64mmfr0_el1) & 0xf, 5);

	/* PS, 4 KiB, inner shareable write-back walks, start at level 1 */
	write_sysreg(VTCR_RES1 | range << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 1 << 6 |
			     (64 - stage2_bits()),
		vtcr_el2);
	write_sysreg(domain->vttbr, vttbr_el2);
	isb();
	tlbi(vmalls12e1);
	dsb(nsh);
	isb();
}

void stage2_revoke(struct domain *domain)
{
	u64 own = read_sysreg(vttbr_el2);

	for (u32 i = 0; i < domain->stage2.tables * 512; i++)
		*(volatile u64 *)&domain->stage2.root[i] = 0;
	dsb(ish);
	/* TLB maintenance by VMID means the current one. */
	write_sysreg(domain->vttbr, vttbr_el2);
	isb();
	tlbi(vmalls12e1is);
	dsb(ish);
	isb();
	write_sysreg(own, vttbr_el2);
	isb();
}

bool stage2_fault_address(u64 esr, u64 far, u64 *ipa)
{
	if (FSC_IS_PERMISSION(esr) && !(esr & ISS_S1PTW))
		return stage2_translate(far, ipa);
	*ipa = (read_sysreg(hpfar_el2) & 0xffffffffff0ull) << 8 | (far & 0xfff);
	return true;
}
