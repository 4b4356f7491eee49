// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The driver domain's trace rings (lichen/trace.h): the hypervisor's memory, there when its
 * configuration asks for it. It says whether records are written; the frontend reads them.
 */
#define pr_fmt(format) "lichen: " format

#include <linux/io.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <asm/cputype.h>
#include "lichen.h"
#include "trace.h"

DEFINE_STATIC_KEY_FALSE(trace_on);
static const u32 *trace_switch; /* the hypervisor's word */
static u32 ring_records;
static DEFINE_PER_CPU(struct lichen_trace_ring *, trace_ring);

void trace_put(u32 stage, u32 key, u64 value)
{
	struct lichen_trace_ring *ring;
	unsigned long flags;

	local_irq_save(flags);
	ring = __this_cpu_read(trace_ring);
	if (ring)
		lichen_trace_write(ring, ring_records, stage, key, 0, value);
	local_irq_restore(flags);
}

void trace_changed(void)
{
	if (trace_switch && READ_ONCE(*trace_switch))
		static_branch_enable(&trace_on);
	else
		static_branch_disable(&trace_on);
}

static void *window_of(struct device_node *node, int index, struct resource *res)
{
	if (of_address_to_resource(node, index, res))
		return NULL;
	return memremap(res->start, resource_size(res), MEMREMAP_WB);
}

struct search {
	char *window;
	const struct lichen_info *info;
	u32 rows;
};

/*
 * On each CPU: its ring is that of the row with its affinity. Only this domain's rings are mapped in
 * stage 2: the others' addresses are never used.
 */
static void ring_find(void *data)
{
	const struct search *search = data;
	u32 row;

	for (row = 0; row < search->rows; row++)
		if (search->info->cpu[row].mpidr == (read_cpuid_mpidr() & MPIDR_HWID_BITMASK))
			__this_cpu_write(trace_ring,
				(void *)(search->window + LICHEN_TRACE_PAGE +
					 (2 * row + 1) * lichen_trace_ring_bytes(ring_records)));
}

static void rings_find(char *window, size_t size, const struct lichen_info *info)
{
	const struct lichen_trace_header *header = (void *)window;
	struct search search = {window, info, header->rings / 2};

	if (header->magic != LICHEN_TRACE_MAGIC || header->version != LICHEN_TRACE_VERSION ||
		LICHEN_TRACE_PAGE + header->rings * lichen_trace_ring_bytes(header->records) >
			size ||
		search.rows > info->cpus)
		return;
	ring_records = header->records;
	on_each_cpu(ring_find, &search, 1);
	trace_switch = &header->on;
}

void trace_start(void)
{
	struct device_node *node = of_find_compatible_node(NULL, NULL, "lichen,hypervisor");
	struct resource res, info_res;
	struct lichen_info *info;
	void *window;

	if (!node)
		return;
	window = window_of(node, 2, &res);
	info = window ? window_of(node, 0, &info_res) : NULL;
	if (info)
		rings_find(window, resource_size(&res), info);
	of_node_put(node);
}
