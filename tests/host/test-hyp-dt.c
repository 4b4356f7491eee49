/* SPDX-License-Identifier: MIT */
// sources: hyp/core/dt_machine.c hyp/core/dt_driver.c hyp/core/dt_frontend.c hyp/core/layout.c hyp/core/config.c hyp/core/text.c
// cflags: -Ihyp/include -Ivirtio/include
// libfdt: yes
/*
 * The hypervisor's device-tree code: what it reads from a firmware's tree, what it leaves of it for the driver domain, and what
 * it makes for a frontend.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <libfdt.h>

#include "check.h"
#include "dt.h"
#include "hyp-dt.h"

static void *firmware;

static void test_machine(void)
{
	struct machine m;
	const char *what;

	CHECK(machine_read(firmware, fdt_totalsize(firmware), &m, &what) == 0);
	CHECK(m.rams == 1 && m.ram[0].base == 0x40000000 && m.ram[0].size == GIB);
	CHECK(m.cpus == 4 && m.mpidr[3] == 3);
	CHECK(m.gic_version == 3 && m.gicd.base == 0x8000000 && m.gicrs == 1 &&
		m.gicr[0].base == 0x80a0000);
	CHECK(m.uart.base == 0x9000000 && !strcmp(m.uart_path, "/soc/pl011@0"));
	CHECK(m.payload.base == 0x48000000 && m.payload.size == 0x100000);
	CHECK(m.rng_seed_size == 32);
	CHECK(m.timer_cells == 12 && m.pmu_cells == 3);
	CHECK(!m.smmu.size);
	CHECK(m.reserveds == 2 && m.reserved[0].base == 0x4f000000 &&
		m.reserved[1].base == 0x50000000);
	CHECK(m.intid_used[0] >> 33 & 1); /* the UART */
	CHECK(m.intid_used[0] >> 35 & 1); /* by interrupt-map */
	CHECK(m.intid_used[0] >> 36 & 1); /* by interrupts-extended */
	CHECK(!(m.intid_used[0] >> 37 & 1));
}

/* A tree without this node or property is refused, by name. */
static void test_missing(void)
{
	static const char *const paths[] = {"/memory@40000000", "/cpus", "/intc@8000000", "/psci"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		void *fdt = make_firmware();
		struct machine m;
		const char *what = NULL;

		CHECK(fdt_del_node(fdt, fdt_path_offset(fdt, paths[i])) == 0);
		CHECK(machine_read(fdt, fdt_totalsize(fdt), &m, &what) < 0);
		CHECK(what && *what);
		free(fdt);
	}
}

static u64 property64(const void *fdt, int node, const char *name, int index)
{
	int size;
	const fdt64_t *value = fdt_getprop(fdt, node, name, &size);

	if (!value || size < (index + 1) * 8)
		return ~0ull;
	return fdt64_ld(value + index);
}

static bool has_string(const void *fdt, const char *path, const char *name, const char *wanted)
{
	const char *value = fdt_getprop(fdt, fdt_path_offset(fdt, path), name, NULL);

	return value && !strcmp(value, wanted);
}

static struct range_list ram = {{{0x40000000, 0x200000}, {0x40600000, 0xc000000}}, 2};
static struct range_list pool = {{{0x60000000, 0x10000000}}, 1};

static const struct dt_domain domain = {
	.cmdline = "quiet",
	.cpus = 0x5,
	.ram = &ram,
	.initrd = {0x44000000, 12345},
	.has_seed = true,
	.info = {0x40300000, 0x1000},
	.stats = {0x40301000, 0x1000},
	.pool = &pool,
};

static void test_driver(void)
{
	struct dt_backend backend = {
		.control = {0x40302000, 0x1000},
		.doorbells = {0x40303000, 0x2000},
		.views = {0x40305000, 0x8000},
		.registers = {0x4030d000, 0x8000},
		.channel = {287, 286},
		.channels = 2,
		.shared = {{{0x70000000, 0x1000000}}, 1},
	};
	struct machine m;
	const char *what;
	void *fdt = make_firmware();
	u32 size = fdt_totalsize(fdt);
	int node, memory, count;
	const fdt32_t *cells;

	fdt = realloc(fdt, size + DT_SLACK);
	CHECK(machine_read(fdt, size, &m, &what) == 0);
	CHECK(fdt_open_into(fdt, fdt, size + DT_SLACK) == 0);
	CHECK(dt_driver_edit(fdt, &m, &domain, &backend) == 0);
	fdt_pack(fdt);
	CHECK(fdt_check_full(fdt, fdt_totalsize(fdt)) == 0);

	memory = fdt_node_offset_by_prop_value(fdt, -1, "device_type", "memory", 7);
	CHECK(property64(fdt, memory, "reg", 2) == 0x40600000 &&
		property64(fdt, memory, "reg", 5) == 0x10000000);
	CHECK(property64(fdt, memory, "reg", 8) == ~0ull);
	CHECK(fdt_node_offset_by_prop_value(fdt, memory, "device_type", "memory", 7) < 0);
	CHECK(has_string(fdt, "/cpus/cpu@1", "status", "fail") &&
		has_string(fdt, "/cpus/cpu@3", "status", "fail"));
	CHECK(!fdt_getprop(fdt, fdt_path_offset(fdt, "/cpus/cpu@2"), "status", NULL));
	CHECK(has_string(fdt, "/soc/pl011@0", "status", "disabled"));
	CHECK(has_string(fdt, "/chosen", "bootargs", "quiet"));
	node = fdt_path_offset(fdt, "/chosen");
	CHECK(!fdt_getprop(fdt, node, "stdout-path", NULL) &&
		!fdt_getprop(fdt, node, "kaslr-seed", NULL));
	CHECK(property64(fdt, node, "linux,initrd-start", 0) == 0x44000000);
	CHECK(property64(fdt, node, "linux,initrd-end", 0) == 0x44000000 + 12345);

	node = fdt_node_offset_by_compatible(fdt, -1, "lichen,backend");
	CHECK(property64(fdt, node, "reg", 6) == 0x4030d000);
	cells = fdt_getprop(fdt, node, "interrupts", &count);
	CHECK(count == 24 && fdt32_ld(cells + 1) == 255 && fdt32_ld(cells + 4) == 254);
	cells = fdt_getprop(fdt, node, "memory-region", &count);
	CHECK(count == 8);
	node = fdt_node_offset_by_phandle(fdt, fdt32_ld(cells));
	CHECK(!fdt_node_check_compatible(fdt, node, "lichen,io-pool") &&
		property64(fdt, node, "reg", 0) == 0x60000000);
	CHECK(!fdt_getprop(fdt, node, "no-map", NULL));
	node = fdt_node_offset_by_phandle(fdt, fdt32_ld(cells + 1));
	CHECK(!fdt_node_check_compatible(fdt, node, "lichen,shared-memory"));
	CHECK(property64(fdt, fdt_node_offset_by_compatible(fdt, -1, "lichen,hypervisor"), "reg",
		      2) == 0x40301000);
	/* What was there stays there: the firmware's own reservation. */
	CHECK(fdt_path_offset(fdt, "/reserved-memory/firmware@50000000") >= 0);
	free(fdt);
}

static void test_frontend(void)
{
	static u8 buffer[DT_FRONTEND];
	struct dt_frontend frontend = {.devices = 2, .completion_sgi = 7};
	struct machine m, back;
	const char *what;
	int node, size;

	frontend.device[0] = (struct dt_device){0x4030d000, 287};
	frontend.device[1] = (struct dt_device){0x4030e000, 286};
	CHECK(machine_read(firmware, fdt_totalsize(firmware), &m, &what) == 0);
	CHECK(dt_frontend_make(buffer, sizeof(buffer), &m, &domain, &frontend) == 0);
	CHECK(fdt_check_full(buffer, sizeof(buffer)) == 0);
	node = fdt_node_offset_by_compatible(buffer, -1, "virtio,mmio");
	CHECK(property64(buffer, node, "reg", 0) == 0x4030d000 &&
		property64(buffer, node, "reg", 1) == 0x1000);
	CHECK(fdt32_ld((const fdt32_t *)fdt_getprop(
		      buffer, node, "lichen,completion-sgi", &size)) == 7);
	node = fdt_node_offset_by_compatible(buffer, -1, "lichen,io-pool");
	CHECK(property64(buffer, node, "reg", 0) == 0x60000000);
	node = fdt_node_offset_by_prop_value(buffer, -1, "device_type", "memory", 7);
	CHECK(property64(buffer, node, "reg", 0) == 0x40000000 &&
		property64(buffer, node, "reg", 4) == ~0ull);
	CHECK(fdt_path_offset(buffer, "/cpus/cpu@2") > 0 &&
		fdt_path_offset(buffer, "/cpus/cpu@1") < 0);
	/* It reads like a firmware's own, but for PSCI by HVC. */
	CHECK(machine_read(buffer, sizeof(buffer), &back, &what) == -ENODEV &&
		strstr(what, "PSCI"));
	CHECK(back.cpus == 2 && back.gicd.base == m.gicd.base &&
		back.gicr[0].base == m.gicr[0].base);

	/* As large as it gets, and too large. */
	frontend.devices = DT_DEVICES;
	for (u32 i = 0; i < DT_DEVICES; i++)
		frontend.device[i] = (struct dt_device){0x40400000 + i * PAGE_SIZE, 100 + i};
	m.cpus = HYP_CPUS;
	CHECK(dt_frontend_make(buffer, sizeof(buffer), &m,
		      &(struct dt_domain){.cmdline = "", .cpus = ~0ull, .ram = &ram, .pool = &pool},
		      &frontend) == 0);
	for (size_t n = 0; n < 2000; n += 7)
		CHECK(dt_frontend_make(buffer, n, &m, &domain, &frontend) == -ENOSPC);
}

int main(void)
{
	firmware = make_firmware();
	test_machine();
	test_missing();
	test_driver();
	test_frontend();
	free(firmware);
	return CHECK_RESULT();
}
