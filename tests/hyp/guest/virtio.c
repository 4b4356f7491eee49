/* SPDX-License-Identifier: MIT */
/*
 * The frontend against the transport: probing, features, queues, kicks, completions, resets, and everything done wrong.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "guest.h"

#define PATIENCE_US 10000000 /* a busy host may stop one CPU for long */

static u64 page;

static u32 reg(u32 offset)
{
	return mmio_read32(page + offset);
}

static void set(u32 offset, u32 value)
{
	mmio_write32(page + offset, value);
}

static bool reset(void)
{
	set(VIRTIO_MMIO_STATUS, 0);
	for (u32 i = 0; i < PATIENCE_US; i++) {
		if (!reg(VIRTIO_MMIO_STATUS))
			return true;
		delay_us(1);
	}
	return false;
}

static void features(u64 value)
{
	set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set(VIRTIO_MMIO_DRIVER_FEATURES, value);
	set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(VIRTIO_MMIO_DRIVER_FEATURES, value >> 32);
	set(VIRTIO_MMIO_STATUS, reg(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_FEATURES_OK);
}

/* True when the queue became ready. */
static bool queue(u32 index, u64 desc, u64 driver, u64 device, u32 num)
{
	set(VIRTIO_MMIO_QUEUE_SEL, index);
	set(VIRTIO_MMIO_QUEUE_NUM, num);
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, desc);
	set(VIRTIO_MMIO_QUEUE_DESC_HIGH, desc >> 32);
	set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, driver);
	set(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, driver >> 32);
	set(VIRTIO_MMIO_QUEUE_USED_LOW, device);
	set(VIRTIO_MMIO_QUEUE_USED_HIGH, device >> 32);
	if (guest.completion_sgi >= 0)
		set(LICHEN_MMIO_QUEUE_CPU, read_sysreg(mpidr_el1) & 0xffffff);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	return reg(VIRTIO_MMIO_QUEUE_READY);
}

static void bad_queues(void)
{
	u64 pool = guest.pool.base, end = pool + guest.pool.size;

	check(!queue(0, pool, pool + 0x1000, pool + 0x2000, 0), "a queue of no entries");
	check(!queue(0, pool, pool + 0x1000, pool + 0x2000, 15), "a queue of 15 entries");
	check(!queue(0, pool, pool + 0x1000, pool + 0x2000, 512), "a queue that is too large");
	check(!queue(0, pool, pool + 0x1000, pool + 0x2000, 0x80000000),
		"a queue that is far too large");
	check(!queue(0, pool + 8, pool + 0x1000, pool + 0x2000, 16), "an unaligned table");
	check(!queue(0, guest.memory[0].base, pool + 0x1000, pool + 0x2000, 16),
		"a table in private memory");
	check(!queue(0, pool - 16, pool + 0x1000, pool + 0x2000, 16),
		"a table that begins before the pool");
	check(!queue(0, end - 16 * 16 + 16, pool + 0x1000, pool + 0x2000, 16),
		"a table that ends behind the pool");
	check(!queue(0, ~0ull & ~15ull, pool + 0x1000, pool + 0x2000, 16), "a table that wraps");
	check(!queue(0, pool, ~0ull & ~1ull, pool + 0x2000, 16), "an available ring that wraps");
	check(!queue(0, pool, pool + 0x1000, 0, 16), "a used ring at 0");
	check(!queue(4, pool, pool + 0x1000, pool + 0x2000, 16),
		"a queue that the device does not have");
	check(!queue(~0u, pool, pool + 0x1000, pool + 0x2000, 16), "a queue that cannot be");
	check(queue(0, end - 16 * 16, pool + 0x1000, pool + 0x2000, 16),
		"a table at the pool's very end");
}

static void odd_accesses(void)
{
	u64 before = fault.count;

	mmio_write8(page + VIRTIO_MMIO_STATUS, 0);
	mmio_write64(page + VIRTIO_MMIO_STATUS, 0);
	mmio_write32(page + 0x100, 1); /* config space */
	mmio_write32(page + 0xfec, 1);
	check(fault.count == before, "a store of an odd size faults");
	asm volatile("stp xzr, xzr, [%0]" : : "r"(page + 0x60) : "memory");
	check(fault.count == before + 1, "a pair store does not fault");
	check(reg(VIRTIO_MMIO_STATUS), "an odd store changed Status");
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 99);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, ~0u);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 3); /* not ready */
}

static void completions(u32 intid)
{
	u32 row = own_row(), sgi = guest.completion_sgi;
	u64 entries;
	u32 before;

	gic_enable(intid);
	if (guest.completion_sgi >= 0)
		gic_enable(sgi);
	before = guest.completion_sgi >= 0 ? irqs[sgi] : irqs[intid];
	irqs_on();
	entries = stat(row, LICHEN_STATS_ENTRIES);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	for (u32 i = 0;
		i < PATIENCE_US && (guest.completion_sgi >= 0 ? irqs[sgi] : irqs[intid]) == before;
		i++)
		delay_us(1);
	entries = stat(row, LICHEN_STATS_ENTRIES) - entries;
	check((guest.completion_sgi >= 0 ? irqs[sgi] : irqs[intid]) == before + 1, "no completion");
	check(entries == 1, "a kick and its completion cost %lu entries here",
		(unsigned long)entries);
	if (guest.completion_sgi < 0) {
		check(reg(VIRTIO_MMIO_INTERRUPT_STATUS) == 1, "InterruptStatus %x",
			reg(VIRTIO_MMIO_INTERRUPT_STATUS));
		set(VIRTIO_MMIO_INTERRUPT_ACK, 1);
		check(reg(VIRTIO_MMIO_INTERRUPT_STATUS) == 0,
			"InterruptStatus is not acknowledged");
	}
	irqs_off();
}

void virtio_tests(void)
{
	u64 pool = guest.pool.base;
	u32 status;

	check(guest.devices == 2, "%u devices", guest.devices);
	if (!guest.devices)
		return;
	page = guest.device[0].base;
	check(reg(VIRTIO_MMIO_MAGIC_VALUE) == 0x74726976 && reg(VIRTIO_MMIO_VERSION) == 2, "magic");
	check(reg(VIRTIO_MMIO_DEVICE_ID) == 2, "device %u", reg(VIRTIO_MMIO_DEVICE_ID));
	check(reg(LICHEN_MMIO_MAGIC) == LICHEN_MMIO_MAGIC_VALUE, "vendor registers");
	check(reset(), "the first reset");
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	check(reg(VIRTIO_MMIO_DEVICE_FEATURES) == (1u << 28 | 3), "features %x",
		reg(VIRTIO_MMIO_DEVICE_FEATURES));
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	check(reg(VIRTIO_MMIO_DEVICE_FEATURES) == 1, "features, high %x",
		reg(VIRTIO_MMIO_DEVICE_FEATURES));
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	check(reg(VIRTIO_MMIO_DEVICE_FEATURES) == 0, "features, none");

	features(1ull << 32 | 1ull << 5);
	check(!(reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK),
		"a feature that was not offered");
	check(reset(), "a reset");
	features(1);
	check(!(reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK),
		"features without VERSION_1");
	check(reset(), "a reset");
	features(1ull << 32 | 1ull << 28);
	check(reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK, "FEATURES_OK");
	bad_queues();
	odd_accesses();
	check(queue(1, pool, pool + 0x1000, pool + 0x2000, 256), "a good queue");
	set(VIRTIO_MMIO_QUEUE_SEL, 2);
	check(reg(VIRTIO_MMIO_QUEUE_READY) == 0 && reg(VIRTIO_MMIO_QUEUE_NUM_MAX) == 256,
		"the next queue");
	set(VIRTIO_MMIO_STATUS, reg(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	status = reg(VIRTIO_MMIO_STATUS);
	check(status == 15, "status %x", status);
	for (u32 i = 0; i < 20; i++)
		completions(guest.device[0].intid);

	check(reset(), "a reset with the backend's consent");
	check(!reg(VIRTIO_MMIO_QUEUE_READY), "a queue survived a reset");
	for (u32 i = 0; i < 50; i++) {
		features(1ull << 32 | 1ull << 28);
		check(queue(0, pool, pool + 0x1000, pool + 0x2000, 16), "a queue after reset %u",
			i);
		set(VIRTIO_MMIO_STATUS, reg(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
		set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		if (i < 49)
			check(reset(), "reset %u", i);
	}
	say("virtio: %u checks, %u failures", checks, failures);
}

/* The driver domain goes away under a live device: it says so, and a reset needs nobody's consent. */
void orphaned(void)
{
	u64 pool = guest.pool.base;
	u32 i;

	page = guest.device[0].base;
	check(reset(), "the first reset");
	features(1ull << 32);
	check(queue(0, pool, pool + 0x1000, pool + 0x2000, 16), "a queue");
	set(VIRTIO_MMIO_STATUS, reg(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	for (i = 0; i < 1000 && !(reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET); i++) {
		set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		delay_us(1000);
	}
	check(i < 1000, "the device does not say that it needs a reset");
	check((int)hvc(LICHEN_HVC_SAMPLE, 0, 0, 0, 0, 0) == -19, "who is gone can be asked");
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	set(VIRTIO_MMIO_STATUS, 0);
	check(reg(VIRTIO_MMIO_STATUS) == 0, "a reset waits for a backend that is gone");

	/* A driver that comes only now must not wait for ever either. */
	features(1ull << 32);
	check(queue(0, pool, pool + 0x1000, pool + 0x2000, 16), "a queue of an orphan");
	check(!(reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET), "it is not live yet");
	set(VIRTIO_MMIO_STATUS, reg(VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	check(reg(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, "a late driver is not told");
}

/* Asks, and waits for the answer of the device whose page it is. */
static bool sample_ask(void)
{
	u32 wanted = lichen_sample_wanted(reg(LICHEN_MMIO_SAMPLE));

	check(hvc(LICHEN_HVC_SAMPLE, 0, 0, 0, 0, 0) == 0, "a question");
	for (u32 i = 0; i < PATIENCE_US; i++) {
		if (lichen_sample_is_new(reg(LICHEN_MMIO_SAMPLE), wanted))
			return true;
		delay_us(1);
	}
	return false;
}

static void sample_check(void)
{
	volatile struct lichen_sample *sample = (void *)(page + LICHEN_MMIO_SAMPLE);

	check(sample->cpus == 1 && sample->cycles == SAMPLE_CYCLES + reg(LICHEN_MMIO_SLOT),
		"the answer is %lx of %u CPUs", (unsigned long)sample->cycles, sample->cpus);
}

/* A question has an answer, on every page; many have few; nobody but the backend writes it. */
void samples(void)
{
	u32 asked = 0, answers, refused = 0;

	for (u32 d = 0; d < guest.devices; d++, asked++) {
		page = guest.device[d].base;
		check(sample_ask(), "there is no answer");
		sample_check();
	}
	set(LICHEN_MMIO_SAMPLE + offsetof(struct lichen_sample, cycles), 0);
	sample_check();
	for (; asked < 20000; asked++)
		refused += hvc(LICHEN_HVC_SAMPLE, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull) != 0;
	check(!refused, "%u questions are refused", refused);
	check(sample_ask(), "there is no last answer");
	answers = reg(LICHEN_MMIO_SAMPLE) / 2;
	check(answers <= ++asked, "more answers than questions");
	say("samples: %u questions, %u answers", asked, answers);
}

/* Started before the backend: devices appear when they are attached. */
void early(void)
{
	u32 i;

	check(guest.devices == 2, "%u devices", guest.devices);
	page = guest.device[0].base;
	for (i = 0; i < PATIENCE_US && !reg(VIRTIO_MMIO_DEVICE_ID); i++)
		delay_us(1);
	check(reg(VIRTIO_MMIO_DEVICE_ID) == 2, "device %u", reg(VIRTIO_MMIO_DEVICE_ID));
	check(reset(), "a reset");
}

/* Whatever a frontend stores, the hypervisor and the other domain go on. */
void wild(void)
{
	u64 seed = 88172645463325252ull, rounds = number_arg("wild=", 20000);

	for (u64 i = 0; i < rounds; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		switch (seed >> 60) {
		case 0 ... 5:
			mmio_write32(guest.device[seed & 1].base + (seed >> 8 & 0xffc), seed >> 20);
			break;
		case 6 ... 8:
			mmio_write32(guest.device[seed & 1].base + (seed >> 8 & 0x7c),
				seed >> 20 & 0x1f);
			break;
		case 9 ... 11:
			mmio_write32(guest.gicd.base + (seed >> 8 & 0xffc), seed >> 20);
			break;
		case 12:
			(void)mmio_read32(guest.gicd.base + (seed >> 8 & 0xfffc));
			break;
		case 13:
			hvc(LICHEN_HVC(seed & 0x1f), seed >> 8, seed >> 16, seed >> 24, seed,
				seed >> 4);
			break;
		case 14:
			if ((seed & 0x1f) != 8 && (seed & 0x1f) != 9 && (seed & 0x1f) != 2 &&
				(seed & 0x1f) != 1)
				hvc(0x84000000 | (seed & 0x1f), seed >> 8, seed >> 16, seed >> 24,
					seed, 0);
			break;
		case 15:
			mmio_write32(seed & 0xffffffffcull, seed);
			break;
		}
	}
	say("wild: %lu rounds survived", (unsigned long)rounds);
}
