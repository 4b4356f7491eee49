/* SPDX-License-Identifier: MIT */
/*
 * CLOCK_REALTIME: the monotonic clock plus an offset. The offset comes from what the boot loader knows (/chosen
 * lichen,realtime: seconds since 1970 when the tree was made), or from a PL031 (Arm DDI 0224) that is ours, or from a program.
 */
#include <lichen/devicetree.h>
#include <lichen/irq.h>
#include <lichen/lock.h>
#include <lichen/printk.h>
#include <lichen/timer.h>
#include <libfdt.h>

static _Atomic u64 realtime_offset; /* ns */

nsec_t time_realtime(void)
{
	return time_monotonic() + atomic_load_explicit(&realtime_offset, memory_order_relaxed);
}

nsec_t time_realtime_offset(void)
{
	return atomic_load_explicit(&realtime_offset, memory_order_relaxed);
}

void time_set_realtime(nsec_t now)
{
	atomic_store_explicit(&realtime_offset, now - time_monotonic(), memory_order_relaxed);
}

static void pl031_probe(const void *dt, int node)
{
	phys_addr_t base, size;
	volatile char *registers;

	if (realtime_offset || !devicetree_reg(dt, node, 0, &base, &size))
		return;
	registers = io_map(base, 0x1000);
	if (registers)
		time_set_realtime((nsec_t)io_read32(registers) * NSEC_PER_SEC);
}
DRIVER(pl031, "arm,pl031", pl031_probe);

static void realtime_init(void)
{
	const void *dt = device_tree(), *p;
	int node = fdt_path_offset(dt, "/chosen"), length;

	if (node >= 0 && (p = fdt_getprop(dt, node, "lichen,realtime", &length)) && (length == 4 || length == 8))
		time_set_realtime(devicetree_cells(p, length / 4) * NSEC_PER_SEC);
}
INITCALL(INIT_CORE, realtime_init);
