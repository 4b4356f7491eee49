/* SPDX-License-Identifier: MIT */
/*
 * Reads the domain's device tree. Addresses have two cells at the root in all the tests.
 */
#include <string.h>
#include <libfdt.h>

#include "guest.h"

static u64 read_pair(const fdt32_t *cells)
{
	return (u64)fdt32_to_cpu(cells[0]) << 32 | fdt32_to_cpu(cells[1]);
}

static struct window window(int node, u32 index)
{
	int size;
	const fdt32_t *reg = fdt_getprop(guest.fdt, node, "reg", &size);

	if (!reg || size < (int)(16 * (index + 1)))
		return (struct window){0};
	return (struct window){read_pair(reg + 4 * index), read_pair(reg + 4 * index + 2)};
}

static u32 spi(int node)
{
	const fdt32_t *irq = fdt_getprop(guest.fdt, node, "interrupts", NULL);

	return irq ? fdt32_to_cpu(irq[1]) + 32 : 0;
}

static int compatible(const char *name)
{
	return fdt_node_offset_by_compatible(guest.fdt, -1, name);
}

static void read_cpus(void)
{
	int cpus = fdt_path_offset(guest.fdt, "/cpus"), node;

	fdt_for_each_subnode(node, guest.fdt, cpus)
	{
		const char *type = fdt_getprop(guest.fdt, node, "device_type", NULL);
		const char *status = fdt_getprop(guest.fdt, node, "status", NULL);
		int size;
		const fdt32_t *reg = fdt_getprop(guest.fdt, node, "reg", &size);

		if (!type || strcmp(type, "cpu") || status)
			continue;
		guest.mpidr[guest.cpus++] = size == 4 ? fdt32_to_cpu(*reg) : read_pair(reg);
	}
}

void guest_read(const void *fdt)
{
	int node, sgi_size;
	const fdt32_t *sgi;

	guest.fdt = fdt;
	node = fdt_path_offset(fdt, "/chosen");
	guest.args = node < 0 ? NULL : fdt_getprop(fdt, node, "bootargs", NULL);
	if (!guest.args)
		guest.args = "";
	node = fdt_node_offset_by_prop_value(fdt, -1, "device_type", "memory", 7);
	for (u32 i = 0; i < ARRAY_SIZE(guest.memory) && window(node, i).size; i++)
		guest.memory[guest.memories++] = window(node, i);
	node = compatible("lichen,io-pool");
	if (node >= 0)
		guest.pool = window(node, 0);
	read_cpus();
	node = compatible("arm,gic-v3");
	guest.gic = node >= 0 ? 3 : 2;
	if (node < 0)
		node = compatible("arm,gic-400") >= 0 ? compatible("arm,gic-400")
						      : compatible("arm,cortex-a15-gic");
	guest.gicd = window(node, 0);
	guest.gicr = guest.gicc = window(node, 1);
	node = compatible("lichen,hypervisor");
	guest.info = (void *)window(node, 0).base;
	guest.stats = (void *)window(node, 1).base;
	guest.completion_sgi = -1;
	node = compatible("lichen,backend");
	if (node >= 0) {
		guest.is_driver = true;
		guest.control = (void *)window(node, 0).base;
		guest.bells = (void *)window(node, 1).base;
		guest.views = (void *)window(node, 2).base;
		guest.pages = (void *)window(node, 3).base;
		guest.channel_intid = spi(node);
		return;
	}
	for (node = compatible("virtio,mmio");
		node >= 0 && guest.devices < ARRAY_SIZE(guest.device);
		node = fdt_node_offset_by_compatible(fdt, node, "virtio,mmio")) {
		guest.device[guest.devices++] = (struct device){window(node, 0).base, spi(node)};
		sgi = fdt_getprop(fdt, node, "lichen,completion-sgi", &sgi_size);
		if (sgi && sgi_size == 4)
			guest.completion_sgi = fdt32_to_cpu(*sgi);
	}
}
