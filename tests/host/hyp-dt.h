/* SPDX-License-Identifier: MIT */
/*
 * A firmware's device tree, with what real ones have: devices on a bus that translates, three ways to name an interrupt.
 */
#ifndef TEST_HYP_DT_H
#define TEST_HYP_DT_H

#include <stdlib.h>
#include <libfdt.h>

static inline void put_reg(void *fdt, uint64_t base, uint64_t size)
{
	fdt64_t reg[2] = {cpu_to_fdt64(base), cpu_to_fdt64(size)};

	fdt_property(fdt, "reg", reg, sizeof(reg));
}

static inline void put_cells(void *fdt, const char *name, int n, const uint32_t *cells)
{
	fdt32_t out[16];

	for (int i = 0; i < n; i++)
		out[i] = cpu_to_fdt32(cells[i]);
	fdt_property(fdt, name, out, n * sizeof(*out));
}

#define PUT_CELLS(fdt, name, ...) \
	put_cells(fdt, name, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (uint32_t[]){__VA_ARGS__})

/* In a block of exactly its size; the caller frees it. */
static inline void *make_firmware(void)
{
	static const unsigned char seed[32] = {1, 2, 3};
	void *fdt = malloc(16384);

	fdt_create(fdt, 16384);
	fdt_add_reservemap_entry(fdt, 0x4f000000, 0x10000);
	fdt_finish_reservemap(fdt);
	fdt_begin_node(fdt, "");
	fdt_property_u32(fdt, "#address-cells", 2);
	fdt_property_u32(fdt, "#size-cells", 2);
	fdt_property_u32(fdt, "interrupt-parent", 1);

	fdt_begin_node(fdt, "chosen");
	fdt_property_string(fdt, "stdout-path", "serial0:115200n8");
	fdt_property_u32(fdt, "linux,initrd-start", 0x48000000);
	fdt_property_u64(fdt, "linux,initrd-end", 0x48100000);
	fdt_property(fdt, "rng-seed", seed, sizeof(seed));
	fdt_property_u64(fdt, "kaslr-seed", 99);
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "aliases");
	fdt_property_string(fdt, "serial0", "/soc/pl011@0");
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "memory@40000000");
	fdt_property_string(fdt, "device_type", "memory");
	put_reg(fdt, 0x40000000, 0x40000000);
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "reserved-memory");
	fdt_property_u32(fdt, "#address-cells", 2);
	fdt_property_u32(fdt, "#size-cells", 2);
	fdt_property(fdt, "ranges", "", 0);
	fdt_begin_node(fdt, "firmware@50000000");
	put_reg(fdt, 0x50000000, 0x100000);
	fdt_property(fdt, "no-map", "", 0);
	fdt_end_node(fdt);
	fdt_end_node(fdt);

	fdt_begin_node(fdt, "cpus");
	fdt_property_u32(fdt, "#address-cells", 1);
	fdt_property_u32(fdt, "#size-cells", 0);
	for (int i = 0; i < 4; i++) {
		char name[] = "cpu@0";

		name[4] = (char)('0' + i);
		fdt_begin_node(fdt, name);
		fdt_property_string(fdt, "device_type", "cpu");
		fdt_property_u32(fdt, "reg", i);
		fdt_end_node(fdt);
	}
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "psci");
	fdt_property_string(fdt, "compatible", "arm,psci-1.0");
	fdt_property_string(fdt, "method", "smc");
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "intc@8000000");
	fdt_property_string(fdt, "compatible", "arm,gic-v3");
	fdt_property_u32(fdt, "phandle", 1);
	fdt_property_u32(fdt, "#interrupt-cells", 3);
	fdt_property_u32(fdt, "#address-cells", 2);
	fdt_property_u32(fdt, "#size-cells", 2);
	fdt_property(fdt, "ranges", "", 0);
	PUT_CELLS(fdt, "reg", 0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0xf60000);
	fdt_begin_node(fdt, "its@8080000");
	fdt_property_string(fdt, "compatible", "arm,gic-v3-its");
	put_reg(fdt, 0x8080000, 0x20000);
	fdt_end_node(fdt);
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "timer");
	fdt_property_string(fdt, "compatible", "arm,armv8-timer");
	PUT_CELLS(fdt, "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "pmu");
	fdt_property_string(fdt, "compatible", "arm,armv8-pmuv3");
	PUT_CELLS(fdt, "interrupts", 1, 7, 4);
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "soc");
	fdt_property_string(fdt, "compatible", "simple-bus");
	fdt_property_u32(fdt, "#address-cells", 1);
	fdt_property_u32(fdt, "#size-cells", 1);
	PUT_CELLS(fdt, "ranges", 0, 0, 0x9000000, 0x100000);
	fdt_begin_node(fdt, "pl011@0");
	fdt_property_string(fdt, "compatible", "arm,pl011");
	PUT_CELLS(fdt, "reg", 0, 0x1000);
	PUT_CELLS(fdt, "interrupts", 0, 1, 4);
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "extended@10000");
	PUT_CELLS(fdt, "reg", 0x10000, 0x1000);
	PUT_CELLS(fdt, "interrupts-extended", 1, 0, 4, 4);
	fdt_end_node(fdt);
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "pcie@10000000");
	fdt_property_string(fdt, "compatible", "pci-host-ecam-generic");
	fdt_property_u32(fdt, "#address-cells", 3);
	fdt_property_u32(fdt, "#size-cells", 2);
	fdt_property_u32(fdt, "#interrupt-cells", 1);
	put_reg(fdt, 0x10000000, 0x1000000);
	PUT_CELLS(fdt, "interrupt-map", 0, 0, 0, 1, 1, 0, 0, 0, 3, 4);
	fdt_end_node(fdt);
	fdt_end_node(fdt);
	fdt_finish(fdt);
	return realloc(fdt, fdt_totalsize(fdt));
}

#endif
