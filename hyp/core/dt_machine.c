/* SPDX-License-Identifier: MIT */
/*
 * Reads the firmware's device tree into struct machine. It runs before there is a console to complain on, so it names what it misses.
 */
#include <string.h>
#include <asm/errno.h>
#include <libfdt.h>

#include "machine.h"

#define DEPTH_MAX 16

static u64 read_cells(const fdt32_t *cells, int n)
{
	u64 value = 0;

	while (n-- > 0)
		value = value << 32 | fdt32_to_cpu(*cells++);
	return value;
}

static bool cells_ok(int n)
{
	return n >= 0 && n <= 2;
}

/* Moves an address of the bus `bus` to the root's addresses. */
static int translate(const void *fdt, int bus, u64 *addr)
{
	for (int depth = 0; bus > 0; depth++) {
		int parent = fdt_parent_offset(fdt, bus);
		int child_cells = fdt_address_cells(fdt, bus), size_cells = fdt_size_cells(fdt, bus);
		int parent_cells = parent < 0 ? -1 : fdt_address_cells(fdt, parent);
		int size, step;
		const fdt32_t *ranges = fdt_getprop(fdt, bus, "ranges", &size);
		bool found = false;

		if (!ranges || parent < 0 || depth == DEPTH_MAX)
			return -EINVAL;
		if (size == 0) { /* the same addresses */
			bus = parent;
			continue;
		}
		if (!cells_ok(child_cells) || !cells_ok(parent_cells) || !cells_ok(size_cells))
			return -EINVAL;
		step = child_cells + parent_cells + size_cells;
		for (int i = 0; step && i + step <= size / 4; i += step) {
			u64 from = read_cells(ranges + i, child_cells);
			u64 to = read_cells(ranges + i + child_cells, parent_cells);
			u64 length = read_cells(ranges + i + child_cells + parent_cells, size_cells);

			if (*addr >= from && *addr - from < length) {
				*addr = *addr - from + to;
				found = true;
				break;
			}
		}
		if (!found)
			return -EINVAL;
		bus = parent;
	}
	return 0;
}

int machine_node_reg(const void *fdt, int node, u32 index, struct range *range)
{
	int parent = fdt_parent_offset(fdt, node), size, address_cells, size_cells, step;
	const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &size);

	if (!reg)
		return -ENOENT;
	if (parent < 0)
		return -EINVAL;
	address_cells = fdt_address_cells(fdt, parent);
	size_cells = fdt_size_cells(fdt, parent);
	if (!cells_ok(address_cells) || !cells_ok(size_cells) || !address_cells)
		return -EINVAL;
	step = address_cells + size_cells;
	if (index >= (u32)(size / 4 / step))
		return -ENOENT;
	range->base = read_cells(reg + index * step, address_cells);
	range->size = read_cells(reg + index * step + address_cells, size_cells);
	if (range->base + range->size < range->base)
		return -EINVAL;
	return translate(fdt, parent, &range->base);
}

static bool node_okay(const void *fdt, int node)
{
	const char *status = fdt_getprop(fdt, node, "status", NULL);

	return !status || !strcmp(status, "okay") || !strcmp(status, "ok");
}

static u32 node_u32(const void *fdt, int node, const char *name, u32 otherwise)
{
	int size;
	const fdt32_t *value = fdt_getprop(fdt, node, name, &size);

	return value && size == 4 ? fdt32_to_cpu(*value) : otherwise;
}

static int reserve(struct machine *machine, const struct range *range)
{
	if (!range->size)
		return 0;
	if (machine->reserveds == MACHINE_RESERVED)
		return -ENOSPC;
	machine->reserved[machine->reserveds++] = *range;
	return 0;
}

static int read_memory(const void *fdt, struct machine *machine)
{
	int node, reserved = fdt_path_offset(fdt, "/reserved-memory");
	struct range range;

	fdt_for_each_subnode(node, fdt, 0) {
		const char *type = fdt_getprop(fdt, node, "device_type", NULL);

		if (!type || strcmp(type, "memory") || !node_okay(fdt, node))
			continue;
		for (u32 i = 0; !machine_node_reg(fdt, node, i, &range); i++) {
			if (machine->rams == HYP_RANGES)
				return -ENOSPC;
			if (range.size)
				machine->ram[machine->rams++] = range;
		}
	}
	for (int i = 0; i < fdt_num_mem_rsv(fdt); i++) {
		if (fdt_get_mem_rsv(fdt, i, &range.base, &range.size) ||
			range.base + range.size < range.base || reserve(machine, &range))
			return -EINVAL;
	}
	if (reserved >= 0)
		fdt_for_each_subnode(node, fdt, reserved)
			for (u32 i = 0; !machine_node_reg(fdt, node, i, &range); i++)
				if (reserve(machine, &range))
					return -ENOSPC;
	return machine->rams ? 0 : -ENODEV;
}

static int read_cpus(const void *fdt, struct machine *machine)
{
	int cpus = fdt_path_offset(fdt, "/cpus"), node;

	if (cpus < 0)
		return -ENODEV;
	fdt_for_each_subnode(node, fdt, cpus) {
		const char *type = fdt_getprop(fdt, node, "device_type", NULL);
		int size;
		const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &size);

		if (!type || strcmp(type, "cpu") || !reg || (size != 4 && size != 8))
			continue;
		if (machine->cpus < HYP_CPUS)
			machine->mpidr[machine->cpus++] = read_cells(reg, size / 4) & 0xff00ffffffull;
	}
	return machine->cpus ? 0 : -ENODEV;
}

static int find_gic(const void *fdt, struct machine *machine)
{
	static const char *const v2[] = {"arm,gic-400", "arm,cortex-a15-gic", "arm,cortex-a9-gic", "arm,cortex-a7-gic"};
	int node = fdt_node_offset_by_compatible(fdt, -1, "arm,gic-v3");

	machine->gic_version = 3;
	for (u32 i = 0; node < 0 && i < ARRAY_SIZE(v2); i++) {
		machine->gic_version = 2;
		node = fdt_node_offset_by_compatible(fdt, -1, v2[i]);
	}
	return node;
}

static int read_gic(const void *fdt, struct machine *machine)
{
	int node = find_gic(fdt, machine), frame;
	u32 regions;
	int size;
	const fdt32_t *stride;

	if (node < 0 || machine_node_reg(fdt, node, 0, &machine->gicd))
		return -ENODEV;
	machine->gic_phandle = fdt_get_phandle(fdt, node);
	if (machine->gic_version == 2) {
		frame = fdt_node_offset_by_compatible(fdt, -1, "arm,gic-v2m-frame");
		if (frame >= 0)
			machine_node_reg(fdt, frame, 0, &machine->v2m);
		return machine_node_reg(fdt, node, 1, &machine->gicc) ? -ENODEV : 0;
	}
	stride = fdt_getprop(fdt, node, "redistributor-stride", &size);
	if (stride && size == 8)
		machine->gicr_stride = read_cells(stride, 2);
	regions = node_u32(fdt, node, "#redistributor-regions", 1);
	for (u32 i = 0; i < regions && i < MACHINE_GICRS; i++) {
		if (machine_node_reg(fdt, node, 1 + i, &machine->gicr[i]))
			return -ENODEV;
		machine->gicrs++;
	}
	return machine->gicrs ? 0 : -ENODEV;
}

static bool is_pl011(const void *fdt, int node)
{
	return node >= 0 && !fdt_node_check_compatible(fdt, node, "arm,pl011");
}

static void read_uart(const void *fdt, struct machine *machine)
{
	int chosen = fdt_path_offset(fdt, "/chosen"), size, node = -1;
	const char *path = chosen < 0 ? NULL : fdt_getprop(fdt, chosen, "stdout-path", &size);

	if (path && size > 0) {
		int n = strnlen(path, size);
		const char *colon = memchr(path, ':', n);

		node = fdt_path_offset_namelen(fdt, path, colon ? colon - path : n);
	}
	if (!is_pl011(fdt, node))
		node = fdt_node_offset_by_compatible(fdt, -1, "arm,pl011");
	if (node < 0 || machine_node_reg(fdt, node, 0, &machine->uart) ||
		fdt_get_path(fdt, node, machine->uart_path, sizeof(machine->uart_path)))
		machine->uart.size = 0;
}

static u64 read_address(const void *fdt, int node, const char *name)
{
	int size;
	const fdt32_t *value = fdt_getprop(fdt, node, name, &size);

	return value && (size == 4 || size == 8) ? read_cells(value, size / 4) : 0;
}

static void read_chosen(const void *fdt, struct machine *machine)
{
	int chosen = fdt_path_offset(fdt, "/chosen"), size;
	const void *seed;
	u64 start, end;

	if (chosen < 0)
		return;
	start = read_address(fdt, chosen, "linux,initrd-start");
	end = read_address(fdt, chosen, "linux,initrd-end");
	if (end > start)
		machine->payload = (struct range){start, end - start};
	seed = fdt_getprop(fdt, chosen, "rng-seed", &size);
	if (seed && size > 0) {
		machine->rng_seed_size = MIN((size_t)size, sizeof(machine->rng_seed));
		memcpy(machine->rng_seed, seed, machine->rng_seed_size);
	}
}

static u32 read_interrupts(const void *fdt, const char *compatible, u32 *cells, u32 limit)
{
	int node = fdt_node_offset_by_compatible(fdt, -1, compatible), size;
	const fdt32_t *value = node < 0 ? NULL : fdt_getprop(fdt, node, "interrupts", &size);

	if (!value)
		return 0;
	limit = MIN(limit, (u32)size / 4);
	limit -= limit % 3;
	for (u32 i = 0; i < limit; i++)
		cells[i] = fdt32_to_cpu(value[i]);
	return limit;
}

static void mark_spi(struct machine *machine, const fdt32_t *cells)
{
	u32 intid = fdt32_to_cpu(cells[1]) + 32;

	if (fdt32_to_cpu(cells[0]) == 0 && intid >= 32 && intid < MACHINE_INTIDS)
		machine->intid_used[intid / 64] |= BIT(intid % 64);
}

/* interrupt-map: child address, child interrupt, parent's phandle, parent address, parent interrupt; repeated. */
static void mark_map(const void *fdt, int node, struct machine *machine, u32 gic_address_cells, u32 gic_cells)
{
	int size;
	const fdt32_t *map = fdt_getprop(fdt, node, "interrupt-map", &size);
	u32 child, step;

	if (!map)
		return;
	child = node_u32(fdt, node, "#address-cells", 2) + node_u32(fdt, node, "#interrupt-cells", 1);
	if (child > 8)
		return;
	step = child + 1 + gic_address_cells + gic_cells;
	for (u32 at = 0; at + step <= (u32)size / 4; at += step)
		if (fdt32_to_cpu(map[at + child]) == machine->gic_phandle)
			mark_spi(machine, map + at + child + 1 + gic_address_cells);
}

/* Which SPIs the tree wires, so that the hypervisor can choose among the others. */
static void read_wired_spis(const void *fdt, struct machine *machine)
{
	int gic = find_gic(fdt, machine), node, depth = 0;
	u32 parent[DEPTH_MAX + 1] = {0};
	u32 cells = node_u32(fdt, gic, "#interrupt-cells", 3);
	u32 address_cells = node_u32(fdt, gic, "#address-cells", 0);

	if (cells < 3 || cells > 4 || address_cells > 2)
		return;
	for (node = fdt_next_node(fdt, -1, &depth); node >= 0 && depth >= 0; node = fdt_next_node(fdt, node, &depth)) {
		int size;
		const fdt32_t *irq;
		u32 inherited;

		if (depth > DEPTH_MAX)
			continue;
		inherited = depth ? parent[depth - 1] : 0;
		parent[depth] = node_u32(fdt, node, "interrupt-parent", inherited);
		irq = fdt_getprop(fdt, node, "interrupts", &size);
		if (irq && parent[depth] == machine->gic_phandle)
			for (u32 i = 0; i + cells <= (u32)size / 4; i += cells)
				mark_spi(machine, irq + i);
		irq = fdt_getprop(fdt, node, "interrupts-extended", &size);
		for (u32 i = 0; irq && i + 1 + cells <= (u32)size / 4; i++)
			if (fdt32_to_cpu(irq[i]) == machine->gic_phandle)
				mark_spi(machine, irq + i + 1);
		mark_map(fdt, node, machine, address_cells, cells);
	}
}

int machine_read(const void *fdt, size_t limit, struct machine *machine, const char **what)
{
	int psci;

	memset(machine, 0, sizeof(*machine));
	*what = "device tree";
	if (limit < sizeof(struct fdt_header) || fdt_check_header(fdt) || fdt_totalsize(fdt) > limit)
		return -EINVAL;
	*what = "memory";
	if (read_memory(fdt, machine))
		return -ENODEV;
	*what = "cpus";
	if (read_cpus(fdt, machine))
		return -ENODEV;
	*what = "interrupt controller (GICv2 or GICv3)";
	if (read_gic(fdt, machine))
		return -ENODEV;
	read_wired_spis(fdt, machine);
	read_uart(fdt, machine);
	read_chosen(fdt, machine);
	machine->timer_cells = read_interrupts(fdt, "arm,armv8-timer", machine->timer, ARRAY_SIZE(machine->timer));
	machine->pmu_cells = read_interrupts(fdt, "arm,armv8-pmuv3", machine->pmu, ARRAY_SIZE(machine->pmu));
	machine->smmu = fdt_node_offset_by_compatible(fdt, -1, "arm,smmu-v3") >= 0;
	psci = fdt_path_offset(fdt, "/psci");
	machine->psci = psci >= 0;
	*what = "PSCI firmware (a /psci node with method smc)";
	if (psci >= 0) {
		const char *method = fdt_getprop(fdt, psci, "method", NULL);

		if (!method || strcmp(method, "smc"))
			return -ENODEV;
	}
	return machine->psci ? 0 : -ENODEV;
}
