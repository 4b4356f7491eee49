/* SPDX-License-Identifier: MIT */
/*
 * Trace rings: where they lie, who sees them, and the hypervisor's own records.
 */
#include <asm/errno.h>

#include "mmu.h"
#include "stage2.h"
#include "trace.h"
#include "virtio.h"

bool trace_on;
static struct range window;
static struct lichen_trace_header *header;

static struct lichen_trace_ring *ring_at(u32 index)
{
	return (void *)(window.base + LICHEN_TRACE_PAGE +
			index * lichen_trace_ring_bytes(header->records));
}

void trace_init(u32 cpu_count, u64 bytes)
{
	u32 records = bytes / sizeof(struct lichen_trace_record);

	if (!bytes)
		return;
	window.size = LICHEN_TRACE_PAGE + 2 * cpu_count * lichen_trace_ring_bytes(records);
	window.base = (u64)boot_alloc(window.size);
	header = (void *)window.base;
	*header = (struct lichen_trace_header){
		.magic = LICHEN_TRACE_MAGIC,
		.version = LICHEN_TRACE_VERSION,
		.rings = 2 * cpu_count,
		.records = records,
	};
}

/* What a domain writes is nobody else's; what it reads is its own, and for a frontend all. */
void trace_map(struct domain *domain)
{
	if (!window.size)
		return;
	stage2_map(domain, window.base, LICHEN_TRACE_PAGE, S2_SHARED_RO);
	for (u32 i = 0; i < header->rings; i++) {
		u64 size = lichen_trace_ring_bytes(header->records);

		if (i & 1 && cpus[i / 2].domain == domain)
			stage2_map(domain, (u64)ring_at(i), size, S2_SHARED);
		else if (domain != driver_domain)
			stage2_map(domain, (u64)ring_at(i), size, S2_SHARED_RO);
	}
}

struct range trace_window(void)
{
	return window;
}

long trace_switch(u64 on)
{
	if (!window.size)
		return -ENODEV;
	if (on > 1)
		return -EINVAL;
	trace_on = on;
	*(volatile u32 *)&header->on = on;
	/* Its points are branches that it patches. */
	virtio_post_machine(LICHEN_MACHINE_TRACE);
	return 0;
}

void trace_put(const struct cpu *cpu, u32 stage, u32 key)
{
	lichen_trace_write(ring_at(2 * cpu->index), header->records, stage, key, 0, 0);
}
