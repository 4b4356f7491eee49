// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Samples of this domain's counters of instructions and cycles (lichen/pmu.h, turned on by pmu.ko), taken when a frontend asks, and
 * shown in every register page (LICHEN_MMIO_SAMPLE). Nothing is done unasked.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/cpu.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <lichen/pmu.h>
#include "lichen.h"

struct counted {
	u64 instructions, cycles;
	u32 last; /* reading of the counter of instructions */
	bool counts;
};
static DEFINE_PER_CPU(struct counted, counted);
static u32 sequence; /* channel 0's thread alone */

static void sample_cpu(void *unused)
{
	struct counted *own = this_cpu_ptr(&counted);
	u32 now;

	own->counts = lichen_pmu_present() && lichen_pmu_enabled();
	if (!own->counts)
		return;
	now = lichen_pmu_instructions();
	own->instructions += now - own->last;
	own->last = now;
	own->cycles = lichen_pmu_cycles();
}

/* A sum that left a CPU out would be none: then there is nothing. */
static struct lichen_sample sample_sum(void)
{
	struct lichen_sample sum = {};
	unsigned int cpu;

	cpus_read_lock();
	on_each_cpu(sample_cpu, NULL, 1);
	for_each_online_cpu(cpu) {
		const struct counted *one = per_cpu_ptr(&counted, cpu);

		if (!one->counts) {
			sum = (struct lichen_sample){};
			break;
		}
		sum.cpus++;
		sum.instructions += one->instructions;
		sum.cycles += one->cycles;
	}
	cpus_read_unlock();
	return sum;
}

static struct lichen_sample *shown(unsigned int slot)
{
	return window_registers(slot) + LICHEN_MMIO_SAMPLE;
}

static void sequence_next(void)
{
	unsigned int slot;

	wmb();
	sequence++;
	for (slot = 0; slot < lichen_window.slots; slot++)
		WRITE_ONCE(shown(slot)->sequence, sequence);
	wmb();
}

void sample_take(void)
{
	struct lichen_sample sum;
	unsigned int slot;

	sequence_next();
	sum = sample_sum();
	for (slot = 0; slot < lichen_window.slots; slot++) {
		WRITE_ONCE(shown(slot)->cpus, sum.cpus);
		WRITE_ONCE(shown(slot)->instructions, sum.instructions);
		WRITE_ONCE(shown(slot)->cycles, sum.cycles);
	}
	sequence_next();
}
