/* SPDX-License-Identifier: MIT */
/*
 * Address space identifiers. An address space gets one when it first runs, and keeps it while its generation lasts: mm->asid
 * is generation << 16 | ASID. When all are used a new generation begins: what runs now keeps its number (reserved), all
 * others get a new one at their next switch, and every CPU invalidates its TLB before it next uses one of the
 * new generation. Numbers are not given back when an address space dies, so that needs no TLB work. ASID 0 is nobody's.
 */
#include <lichen/irq.h>
#include <lichen/lock.h>
#include <lichen/mm.h>
#include <arch/kernel_map.h>
#include <arch/memory.h>
#include <arch/sysreg.h>

#define ASID_MAX   65536u
#define GENERATION 65536ull

static spinlock_t asid_lock = SPINLOCK_INIT; /* interrupts masked: see arch_mm_switch */
static _Atomic u64 generation = GENERATION;
static u64 used[ASID_MAX / 64];		   /* of this generation */
static _Atomic u64 active[CPUS_MAX];	   /* in the CPU's TTBR0; 0: it must ask */
static u64 reserved[CPUS_MAX];		   /* kept through the rollover */
static u64 flush_pending[CPUS_MAX / 64 + 1]; /* a bit a CPU */
static u32 cursor = 1;

static u32 asid_count(void)
{
	static u32 count;

	if (!count) /* ID_AA64MMFR0_EL1.ASIDBits: boot.S sets TCR_EL1.AS by it */
		count = ((sysreg_read(id_aa64mmfr0_el1) >> 4) & 0xf) == 2 ? ASID_MAX : 256;
	return count;
}

static bool test_and_use(u32 asid)
{
	u64 bit = BIT(asid % 64);
	bool was = used[asid / 64] & bit;

	used[asid / 64] |= bit;
	return was;
}

static void rollover(void) REQUIRES(&asid_lock)
{
	for (u32 i = 0; i < ARRAY_SIZE(used); i++)
		used[i] = 0;
	for (u32 cpu = 0; cpu < CPUS_MAX; cpu++) {
		u64 asid = atomic_exchange_explicit(&active[cpu], 0, memory_order_relaxed);

		if (asid) /* else it had been through a rollover and not asked since */
			reserved[cpu] = asid;
		if (reserved[cpu] & 0xffff)
			test_and_use(reserved[cpu] & 0xffff);
		flush_pending[cpu / 64] |= BIT(cpu % 64);
	}
	cursor = 1;
}

/* A number of another generation that some CPU runs with stays valid. */
static bool renew_reserved(u64 old, u64 new)
{
	bool hit = false;

	for (u32 cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (reserved[cpu] != old)
			continue;
		reserved[cpu] = new;
		hit = true;
	}
	return hit;
}

static u64 asid_new(struct arch_mm *mm) REQUIRES(&asid_lock)
{
	u64 old = atomic_load_explicit(&mm->asid, memory_order_relaxed);
	u64 now = atomic_load_explicit(&generation, memory_order_relaxed);
	u32 count = asid_count();

	if (old) {
		u64 same = now | (old & 0xffff);

		if (renew_reserved(old, same) || !test_and_use(old & 0xffff))
			return same;
	}
	while (cursor < count && test_and_use(cursor))
		cursor++;
	if (cursor == count) {
		now += GENERATION;
		atomic_store_explicit(&generation, now, memory_order_relaxed);
		rollover();
		while (test_and_use(cursor)) /* more numbers than CPUs */
			cursor++;
	}
	return now | cursor++;
}

void arch_mm_switch(struct arch_mm *mm)
{
	u32 cpu = cpu_id();
	u64 asid, was;

	if (!mm) {
		sysreg_write(ttbr0_el1, mmu_empty_root());
		isb();
		return;
	}
	asid = atomic_load_explicit(&mm->asid, memory_order_relaxed);
	was = atomic_load_explicit(&active[cpu], memory_order_relaxed);
	/* A rollover may come between: then `active` is 0 and the exchange fails. */
	if (unlikely(!was || (asid ^ atomic_load_explicit(&generation, memory_order_relaxed)) >= GENERATION ||
		    !atomic_compare_exchange_strong_explicit(
			    &active[cpu], &was, asid, memory_order_relaxed, memory_order_relaxed))) {
		unsigned long irq = spin_lock_irqsave(&asid_lock);

		asid = atomic_load_explicit(&mm->asid, memory_order_relaxed);
		if ((asid ^ atomic_load_explicit(&generation, memory_order_relaxed)) >= GENERATION) {
			asid = asid_new(mm);
			atomic_store_explicit(&mm->asid, asid, memory_order_relaxed);
		}
		if (flush_pending[cpu / 64] & BIT(cpu % 64)) {
			flush_pending[cpu / 64] &= ~BIT(cpu % 64);
			__asm__ volatile("tlbi vmalle1\n\tdsb nsh" : : : "memory");
			isb();
		}
		atomic_store_explicit(&active[cpu], asid, memory_order_relaxed);
		spin_unlock_irqrestore(&asid_lock, irq);
	}
	sysreg_write(ttbr0_el1, ((asid & 0xffff) << 48) | ((u64)mm->root - LINEAR_BASE));
	isb();
}
