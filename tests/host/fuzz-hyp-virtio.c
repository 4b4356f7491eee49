/* SPDX-License-Identifier: MIT */
// sources: hyp/core/virtio.c hyp/core/trace.c hyp/core/layout.c hyp/core/config.c
// cflags: -Ihyp/include -Ivirtio/include -include hyp-shim.h
/*
 * The transport's state machine between a frontend that stores anything anywhere and a backend that calls anything. After every
 * step: what the backend is shown as a ready queue lies in the pool, a device that is not live has no ready ring that counts, the views'
 * sequence is even, and nothing was touched that is not the transport's (the sanitizer sees to that).
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "gic.h"
#include "log.h"
#include "mmu.h"
#include "virtio.h"

struct cpu cpus[HYP_CPUS];
struct domain domains[HYP_DOMAINS];
u32 domain_count = 3;
struct domain *driver_domain = &domains[0];

static const struct range_list pool = {{{0x60000000, 0x100000}, {0x70000000, 0x100000}}, 2};
static const struct range_list ram = {{{0x50000000, 0x100000}}, 1};
static struct domain_config configs[3] = {
	{.name = "driver", .driver = true, .cpus = 1},
	{.name = "one", .cpus = 6, .slots = 2, .signal_sgi = true},
	{.name = "two", .cpus = 8, .slots = 1, .share_memory = true},
};
static u64 stats[3][LICHEN_STATS_CAUSES];
static u32 pend[32];
static struct dt_backend backend;

void *boot_alloc(u64 size)
{
	void *memory = aligned_alloc(PAGE_SIZE, size);

	memset(memory, 0, size);
	return memory;
}

/* There is nothing else that caches here. */
void mmu_uncache(u64 base, u64 size)
{
	(void)base;
	(void)size;
}

u32 gic_version(void)
{
	return 3;
}

struct gic_spi gic_spare_take(struct domain *domain)
{
	static u32 next = 200;
	u32 intid = next++;

	(void)domain;
	return (struct gic_spi){(u64)&pend[intid / 32], 1u << intid % 32, intid};
}

struct cpu *cpu_find(const struct domain *domain, u64 mpidr)
{
	return mpidr < 4 && domain->config->cpus & BIT(mpidr) ? &cpus[mpidr] : NULL;
}

void domain_complain(struct domain *domain, const char *format, ...)
{
	(void)domain, (void)format;
}

void log_line(const char *format, ...)
{
	(void)format;
}

static void check_slot(u32 index)
{
	const struct lichen_device_view *view = (void *)(backend.views.base + index * PAGE_SIZE);
	const struct range_list *list = index == 2 ? &ram : &pool;

	if (view->sequence & 1)
		abort();
	for (u32 q = 0; q < view->queues; q++) {
		const struct lichen_queue_view *queue = &view->queue[q];
		u64 num = queue->num;

		if (queue->ready &&
			(!num || num > 32768 || num & (num - 1) ||
				!range_list_contains(list, queue->desc, 16 * num) ||
				!range_list_contains(list, queue->driver, 6 + 2 * num) ||
				!range_list_contains(list, queue->device, 6 + 8 * num)))
			abort();
		if (queue->channel >= backend.channels)
			abort();
	}
	/* DRIVER_OK only with FEATURES_OK, and of an attached device. */
	if (view->status & 4 && (!(view->status & 8) || !view->device_id))
		abort();
}

static void begin(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	for (u32 i = 0; i < 4; i++) {
		cpus[i].mpidr = i;
		cpus[i].domain = &domains[i ? (i + 1) / 2 : 0];
		cpus[i].stats = stats[(i + 1) / 2];
	}
	for (u32 i = 0; i < 3; i++) {
		domains[i].config = &configs[i];
		domains[i].state = DOMAIN_RUNNING;
		domains[i].ram = &ram;
	}
	virtio_init(&pool);
	virtio_describe_backend(&backend);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (u32 i = 0; i < 3; i++)
		virtio_detach(i);
	/* Steps of eight bytes: what, where, and a value. */
	for (; size >= 8; data += 8, size -= 8) {
		u32 value = data[4] | data[5] << 8 | data[6] << 16 | (u32)data[7] << 24;
		struct cpu *cpu = &cpus[1 + data[1] % 3];
		struct mmio mmio = {.addr = backend.registers.base + data[1] % 4 * PAGE_SIZE +
					    (data[2] | data[3] << 8) % PAGE_SIZE,
			.size = data[0] >> 4 < 13 ? 4 : 1 << (data[0] >> 6),
			.write = data[0] >> 4 != 12,
			.value = value};
		u64 slot = data[1] & 7;

		switch (data[0] & 15) {
		case 0 ... 6:
			/* Registers from 0 to 0xff, the queue's mostly */
			mmio.addr = ALIGN_DOWN(mmio.addr, PAGE_SIZE) + (data[2] & 0xfc);
			virtio_access(cpu, &mmio);
			break;
		case 7:
			virtio_access(cpu, &mmio);
			break;
		case 8:
			virtio_notify(cpu, mmio.addr, value & 0x7f);
			break;
		case 9:
			virtio_attach(slot, data[2], data[3], BIT(data[4] & 31),
				(u64)value << 24 | data[5]);
			break;
		case 10:
			virtio_detach(slot);
			break;
		case 11:
			virtio_reset_done(
				slot, slot < 3 && data[2] & 1
					      ? ((struct lichen_device_view *)(backend.views.base +
									       slot * PAGE_SIZE))
							->generation
					      : value);
			break;
		case 12:
			virtio_signal(slot, value);
			break;
		case 13:
			virtio_needs_reset(slot);
			break;
		case 14:
			virtio_queue_channel(slot, data[2], data[3]);
			break;
		case 15:
			if (data[2] & 1)
				virtio_frontend_gone(&domains[1 + (data[2] >> 1 & 1)]);
			else
				virtio_backend_gone();
			break;
		}
		for (u32 i = 0; i < 3; i++)
			check_slot(i);
	}
	return 0;
}
